"""Flags of the scripts that patch pairs of inputs."""

from __future__ import annotations

import argparse

from Neuron_Selection.FileFormats.agent_zip.agent_folder import CLEAN, CORRUPTED


def add_pair_flags(parser: argparse.ArgumentParser) -> None:
    """Add ``--clean`` and ``--corrupted``."""
    parser.add_argument("--clean", default=CLEAN, metavar="FILE", help="inputs of the clean run")
    parser.add_argument("--corrupted", default=CORRUPTED, metavar="FILE", help="inputs of the corrupted run")


def add_direction_flag(
    parser: argparse.ArgumentParser, *, of: str = "clean into corrupted, corrupted into clean, or both"
) -> None:
    """Add ``--direction``, by default both.

    :param of: its help
    """
    parser.add_argument("--direction", choices=("denoising", "noising", "both"), default="both", help=of)


def pair_words(args: argparse.Namespace) -> list[str]:
    """The agent, its pairs and the folder of the results as words, for a suggested command."""
    words = ["--agent_path", args.agent_path, "--clean", args.clean, "--corrupted", args.corrupted]
    words += ["--input_ids", *args.input_ids] if args.input_ids else []
    return words + (["--output_dir", args.output_dir] if args.output_dir else [])
