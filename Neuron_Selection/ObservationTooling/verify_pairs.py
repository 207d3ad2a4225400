"""Rebuild every clean and corrupted input of an agent folder from its id and edit, and compare bit for bit."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

if __package__ != "Neuron_Selection.ObservationTooling":  # started as a file, perhaps not installed
    sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from Neuron_Selection.command_line import Console, SuiteParser, add_shared_flags, script


def build_parser() -> argparse.ArgumentParser:
    """The flags of this script."""
    parser = SuiteParser(
        description=__doc__,
        example="python Neuron_Selection/ObservationTooling/verify_pairs.py --agent_path my_agent",
    )
    parser.add_argument("--agent_path", required=True, help="agent folder with inputs that generate_pairs.py wrote")
    add_shared_flags(parser, writes=False)
    return parser


@script(build_parser)
def main(args: argparse.Namespace, console: Console) -> None:
    """Load, rebuild, compare."""
    from Neuron_Selection.FileFormats.agent_zip.agent_folder import find_agent
    from Neuron_Selection.ObservationTooling.lava_crossing.pair_files import load_pairs
    from Neuron_Selection.ObservationTooling.lava_crossing.rebuilding import verify_pairs

    folder = find_agent(args.agent_path).folder
    pairs = load_pairs(folder)
    verify_pairs(pairs, where=folder)
    console.result({"pairs": len(pairs), "verified": True}, [f"{len(pairs)} pairs rebuilt, all bit for bit the same"])


if __name__ == "__main__":
    sys.exit(main())
