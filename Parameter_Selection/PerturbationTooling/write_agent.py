"""Write a copy of an agent with some weights changed; Stable-Baselines3 loads it like the original."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

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
    """Write the agent and report the files."""
    from Neuron_Selection.PatchingTooling.opened_agent import OpenedAgent
    from Parameter_Selection.PerturbationTooling.weights.agent_edits import write_agent
    from SaliencyTooling.next_steps import command_after

    edited = write_agent(
        OpenedAgent(args.agent_path, **agent_options(args)),
        output=args.output,
        edits=args.edits,
        candidates=args.candidates,
        mode=args.mode,
        value=args.value,
        overwrite=args.overwrite,
    )
    output, manifest, inverse = edited.files
    if not edited.written:
        console.say(f"{output}: up to date, left as it is")
    console.result(
        {
            "files": [str(path) for path in edited.files],
            "written": edited.written,
            "edits": edited.edits,
            "edited_weights_sha256": edited.edited_weights_sha256,
        },
        [f"weights changed: {edited.edits}, in {output}", f"manifest: {manifest}", f"inverse: {inverse}"],
    )
    words = ("--edits", inverse, "--output", output.with_name(f"{output.stem}_restored.zip"))
    console.say(f"back again: {command_after('write_agent', output, *words, loading=args)}")


if __name__ == "__main__":
    sys.exit(main())
