"""Draw pairs side by side: both grids, the agent's views, and its Q-values. Requires matplotlib."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

if __package__ != "Neuron_Selection.ObservationTooling":  # started as a file, perhaps not installed
    sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from Neuron_Selection.command_line import Console, SuiteParser, add_input_ids_flag, add_shared_flags, script


def build_parser() -> argparse.ArgumentParser:
    """The flags of this script."""
    parser = SuiteParser(
        description=__doc__,
        example="python Neuron_Selection/ObservationTooling/draw_pairs.py --agent_path my_agent \\\n"
        "      --input_ids MiniGrid-LavaCrossingS9N1-v0-81110-1,4,1-0000",
    )
    parser.add_argument("--agent_path", required=True, help="agent folder with inputs that generate_pairs.py wrote")
    add_input_ids_flag(parser, of="pairs")
    parser.add_argument("--output_dir", help="output folder (default: the agent's pair_drawings/)")
    add_shared_flags(parser)
    return parser


@script(build_parser)
def main(args: argparse.Namespace, console: Console) -> None:
    """Load, draw, save."""
    from Neuron_Selection.errors import InputError
    from Neuron_Selection.FileFormats.agent_zip.agent_folder import find_agent, output_folder
    from Neuron_Selection.FileFormats.inputs import ids_from_arguments
    from Neuron_Selection.FileFormats.storage.atomic_files import write_atomically
    from Neuron_Selection.FileFormats.storage.known_names import refuse_unknown
    from Neuron_Selection.ObservationTooling.drawing.lava_crossing import draw_pair
    from Neuron_Selection.ObservationTooling.lava_crossing.pair_files import load_pairs

    folder = find_agent(args.agent_path).folder
    pairs = {pair.input_id: pair for pair in load_pairs(folder)}
    ids = ids_from_arguments(args.input_ids) or list(pairs)
    refuse_unknown(ids, list(pairs), what="input id", where=folder)
    output = output_folder(args.output_dir, folder / "pair_drawings")
    paths = {input_id: output / f"{input_id}.png" for input_id in ids}
    for path in paths.values():
        if path.exists() and not args.overwrite:
            raise InputError(path, problem="already exists; pass --overwrite to replace it")
    for input_id, path in console.progress(paths.items(), total=len(paths), unit="pair"):
        write_atomically(path, draw_pair(pairs[input_id]))
    console.result({"written": [str(path) for path in paths.values()]}, map(str, paths.values()))


if __name__ == "__main__":
    sys.exit(main())
