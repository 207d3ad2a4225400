"""Rebuild the clean and corrupted inputs of pairs from their records, and compare them bit for bit."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

if __package__ != "Neuron_Selection.ObservationTooling":  # started as a file, perhaps not installed
    sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from Neuron_Selection.command_line import (
    Console,
    SuiteParser,
    add_agent_flags,
    add_shared_flags,
    agent_options,
    script,
)
from Neuron_Selection.environment_flags import add_environment_flags, environment_options


def build_parser() -> argparse.ArgumentParser:
    """The flags of this script."""
    parser = SuiteParser(
        description=f"{__doc__} Pairs of visited states are rebuilt from the file of visited inputs; edited worlds are "
        "replayed, edited and observed again. The agent's decisions are compared with the recorded ones.",
        example="python Neuron_Selection/ObservationTooling/verify_pairs.py --agent_path my_agent",
    )
    add_agent_flags(parser)
    parser.add_argument(
        "--pairs", metavar="FOLDER", help="folder with pairs.json (default: the agent's activation_inputs/)"
    )
    parser.add_argument(
        "--inputs", metavar="FILE", help="the visited inputs (default: the file that make_pairs.py read)"
    )
    add_environment_flags(parser)
    add_shared_flags(parser, writes=False)
    return parser


@script(build_parser)
def main(args: argparse.Namespace, console: Console) -> None:
    """Load, rebuild, compare."""
    from Neuron_Selection.FileFormats.agent_zip.agent_folder import INPUTS, find_agent
    from Neuron_Selection.FileFormats.pairs_file import are_made_pairs

    agent_folder = find_agent(args.agent_path).folder
    folder = Path(args.pairs) if args.pairs else agent_folder / INPUTS
    if are_made_pairs(folder):
        from Neuron_Selection.ObservationTooling.pair_making.environments import environment_of_pairs
        from Neuron_Selection.ObservationTooling.pair_making.verification import verify_made_pairs
        from Neuron_Selection.PatchingTooling import open_agent

        agent = open_agent(args.agent_path, engine="auto", **agent_options(args))
        count = verify_made_pairs(
            agent, folder, inputs=args.inputs,
            environment=lambda files: environment_of_pairs(files, **environment_options(args)),
        )  # fmt: skip
    else:
        from Neuron_Selection.ObservationTooling.lava_crossing.pair_files import load_pairs
        from Neuron_Selection.ObservationTooling.lava_crossing.rebuilding import verify_pairs

        pairs = load_pairs(agent_folder)
        verify_pairs(pairs, where=agent_folder)
        count = len(pairs)
    console.result({"pairs": count, "verified": True}, [f"{count} pairs rebuilt, all bit for bit the same"])


if __name__ == "__main__":
    sys.exit(main())
