"""Draw pairs side by side: what can be seen of both inputs, what differs, and the scores. Requires matplotlib."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path

if __package__ != "Neuron_Selection.ObservationTooling":  # started as a file, perhaps not installed
    sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from Neuron_Selection.command_line import Console, SuiteParser, add_input_ids_flag, add_shared_flags, script
from Neuron_Selection.environment_flags import add_environment_flags, environment_options


def build_parser() -> argparse.ArgumentParser:
    """The flags of this script."""
    parser = SuiteParser(
        description=f"{__doc__} Edited worlds are drawn as MiniGrid draws them; visited states as the frames that "
        "record_inputs.py --frames keeps, where there are any, else as their image or view; and other entries as bars, "
        "with the names in encoding.json.",
        example="python Neuron_Selection/ObservationTooling/draw_pairs.py --agent_path my_agent \\\n"
        "      --input_ids MiniGrid-LavaCrossingS9N1-v0-81110-1,4,1-0000",
    )
    parser.add_argument("--agent_path", required=True, help="agent folder (with agent.zip), or a zip")
    parser.add_argument(
        "--pairs", metavar="FOLDER", help="folder with pairs.json (default: the agent's activation_inputs/)"
    )
    add_input_ids_flag(parser, of="pairs")
    parser.add_argument("--output_dir", help="output folder (default: the agent's pair_drawings/)")
    parser.add_argument("--trust", nargs="+", metavar="MODULE", help="the module of --env module:Id")
    add_environment_flags(parser)
    add_shared_flags(parser)
    return parser


@script(build_parser)
def main(args: argparse.Namespace, console: Console) -> None:
    """Load, draw, save."""
    from Neuron_Selection.errors import InputError
    from Neuron_Selection.FileFormats.agent_zip.agent_folder import INPUTS, find_agent, output_folder
    from Neuron_Selection.FileFormats.inputs import ids_from_arguments
    from Neuron_Selection.FileFormats.pairs_file import are_made_pairs
    from Neuron_Selection.FileFormats.storage.atomic_files import write_atomically
    from Neuron_Selection.FileFormats.storage.known_names import refuse_unknown
    from Neuron_Selection.ObservationTooling.drawing.panels import picture_names

    agent = find_agent(args.agent_path)
    pairs = Path(args.pairs) if args.pairs else agent.folder / INPUTS
    draw: Callable[[str], bytes]
    if are_made_pairs(pairs):
        from Neuron_Selection.ObservationTooling.drawing.made_pairs import pair_pictures

        pictures = pair_pictures(agent, pairs, **environment_options(args))
        known, draw = list(pictures.ids), pictures.draw
    else:
        from Neuron_Selection.ObservationTooling.drawing.lava_crossing import draw_pair
        from Neuron_Selection.ObservationTooling.lava_crossing.pair_files import load_pairs

        by_id = {pair.input_id: pair for pair in load_pairs(agent.folder)}
        known, draw = list(by_id), lambda input_id: draw_pair(by_id[input_id])
    ids = ids_from_arguments(args.input_ids) or known
    refuse_unknown(ids, known, what="input id", where=pairs)
    output = output_folder(args.output_dir, agent.folder / "pair_drawings")
    names = picture_names(known)
    paths = {input_id: output / names[input_id] for input_id in ids}
    for path in paths.values():
        if path.exists() and not args.overwrite:
            raise InputError(path, problem="already exists; pass --overwrite to replace it")
    for input_id, path in console.progress(paths.items(), total=len(paths), unit="pair"):
        write_atomically(path, draw(input_id))
    console.result({"written": [str(path) for path in paths.values()]}, map(str, paths.values()))


if __name__ == "__main__":
    sys.exit(main())
