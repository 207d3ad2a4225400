"""Write an agent that differs from another in a few weights only; Stable-Baselines3 loads it as it loads the other."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

if __package__ != "Parameter_Selection.PerturbationTooling":  # started as a file, perhaps not installed
    sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from Neuron_Selection.command_line import (
    Console,
    SuiteParser,
    add_agent_flags,
    add_shared_flags,
    agent_options,
    number,
    script,
)


def build_parser() -> argparse.ArgumentParser:
    """The flags of this script."""
    parser = SuiteParser(
        description=__doc__,
        example="python Parameter_Selection/PerturbationTooling/write_agent.py --agent_path my_agent \\\n"
        '      --edits "q_net.0.weight[61,5]=0.25; q_net.2.weight[0,3]=0" --output edited.zip',
    )
    add_agent_flags(parser)
    chosen = parser.add_mutually_exclusive_group(required=True)
    chosen.add_argument("--edits", metavar="SPEC|FILE", help='"q_net.0.weight[61,5]=0.25; ...", or an edits file')
    chosen.add_argument("--candidates", metavar="FILE", help="all candidate weights, with --mode and --value")
    parser.add_argument(
        "--mode", choices=("set", "add", "scale"), help="what --value does to the candidates (default: scale)"
    )
    parser.add_argument("--value", type=number, metavar="V", help="for --candidates; scale 0 zeroes them")
    parser.add_argument("--output", required=True, metavar="ZIP", help="the edited agent; the original stays as it is")
    add_shared_flags(parser)
    return parser


@script(build_parser)
def main(args: argparse.Namespace, console: Console) -> None:
    """Read the edits, write the agent, its manifest and its inverse."""
    from Neuron_Selection.errors import UsageError
    from Neuron_Selection.FileFormats.storage.atomic_files import is_there
    from Neuron_Selection.PatchingTooling.experiment import OpenedAgent
    from Parameter_Selection.PerturbationTooling.agent_edits import edits_from, manifest_paths, write_edited_agent
    from Parameter_Selection.PerturbationTooling.next_steps import restoring
    from Parameter_Selection.PerturbationTooling.weights.chosen_weights import candidates_of
    from Parameter_Selection.PerturbationTooling.weights.values import changes_of, chosen_values

    if (args.candidates is None) != (args.value is None):
        given, other = ("--value", "--candidates") if args.candidates is None else ("--candidates", "--value")
        raise UsageError(f"found {given} without {other}, expected both or none")
    if args.edits is not None and args.mode is not None:
        raise UsageError("found --mode beside --edits, expected it with --candidates only")
    mode = args.mode or "scale"
    opened = OpenedAgent(args.agent_path, **agent_options(args))
    if args.edits is not None:
        changes = edits_from(args.edits, opened)
        origin: dict[str, Any] = {"paths": [args.edits] if is_there(Path(args.edits)) else []}
    else:
        (value,) = chosen_values(mode, [args.value])
        chosen = candidates_of(opened, args.candidates)
        changes = changes_of(chosen.targets, opened.online_weights, mode, value)
        origin = {"paths": [str(path) for path in chosen.paths], "mode": mode, "value": value}
    output = Path(args.output)
    metadata, written = write_edited_agent(opened, changes, output, origin=origin, overwrite=args.overwrite)
    manifest, inverse = manifest_paths(output)
    if not written:
        console.say(f"{output}: up to date, left as it is")
    files = [str(output), str(manifest), str(inverse)]
    console.result(
        {
            "files": files,
            "written": written,
            "edits": len(changes),
            "edited_weights_sha256": metadata["edited_weights_sha256"],
        },
        [f"weights changed: {len(changes)}, in {output}", f"manifest: {manifest}", f"inverse: {inverse}"],
    )
    console.say(f"back again: {restoring(args, output, inverse)}")


if __name__ == "__main__":
    sys.exit(main())
