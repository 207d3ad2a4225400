"""Compute the gradient of every input's greatest Q-value with respect to every weight and bias."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if __package__ != "SaliencyTooling.InitialGradients":  # started as a file, perhaps not installed
    sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from Neuron_Selection.command_line import (
    Console,
    SuiteParser,
    add_agent_flags,
    add_shared_flags,
    agent_options,
    script,
)
from Neuron_Selection.FileFormats.agent_zip.agent_folder import CLEAN

if TYPE_CHECKING:
    from SaliencyTooling.gradient_runs import ComputedGradients

_SMALLEST_SAVING = 0.01  # share of the file from which on npz is recommended


def build_parser() -> argparse.ArgumentParser:
    """The flags of this script."""
    parser = SuiteParser(
        description=__doc__,
        example="python SaliencyTooling/InitialGradients/gradients.py --agent_path my_agent --output_dir gradients",
    )
    add_agent_flags(parser)
    add_gradient_flags(parser)
    add_shared_flags(parser)
    return parser


def add_gradient_flags(parser: argparse.ArgumentParser) -> None:
    """The flags that decide the gradients and their files, shared with initial_test.py."""
    parser.add_argument("--inputs", default=CLEAN, metavar="FILE", help="inputs file with the observations")
    parser.add_argument(
        "--format",
        choices=("json", "npz", "both"),
        default="json",
        help="write weight_gradients.json, .npz (smaller) or both",
    )
    parser.add_argument("--output_dir", help="folder of the outputs (default: the agent's gradient_analysis/)")


@script(build_parser)
def main(args: argparse.Namespace, console: Console) -> None:
    """Compute the gradients and report the files."""
    from Neuron_Selection.PatchingTooling.opened_agent import OpenedAgent
    from SaliencyTooling.gradient_runs import compute_gradients
    from SaliencyTooling.next_steps import command_after

    agent = OpenedAgent(args.agent_path, **agent_options(args))
    computed = compute_gradients(
        agent,
        inputs=args.inputs,
        output_dir=args.output_dir,
        format=args.format,
        overwrite=args.overwrite,
        progress=console.progress,
    )
    if not computed.written:
        console.say(f"{computed.files[0]}: up to date, left as it is")
    for line in agent.scores_described:
        console.say(line)
    files = {str(path): path.stat().st_size for path in computed.files}
    console.result(
        {
            "files": list(files),
            "bytes": list(files.values()),
            "written": computed.written,
            "gradients_by": computed.engine,
        },
        [f"weight gradients (engine {computed.engine}): {path} ({size:,} bytes)" for path, size in files.items()],
    )
    if args.format == "json":
        console.say(npz_remark(computed))
    console.say(f"next: {command_after('gradients', args.agent_path, loading=args)}")


def npz_remark(computed: ComputedGradients) -> str:
    """What the npz format saves of the JSON file."""
    saving = computed.npz_saving or 0.0
    return f"--format npz would save {f'about {saving:.0%} of it' if saving >= _SMALLEST_SAVING else 'no space here'}"


if __name__ == "__main__":
    sys.exit(main())
