"""Find, for each weight and input, the smallest change of the weight that changes the greedy action; ReLU only."""

from __future__ import annotations

import argparse
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

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
from Parameter_Selection.PerturbationTooling.perturb_weights import add_weight_flags

if TYPE_CHECKING:
    from Parameter_Selection.PerturbationTooling.exact_flips.run import FlipSummary


def build_parser() -> argparse.ArgumentParser:
    """The flags of this script."""
    parser = SuiteParser(
        description=__doc__,
        example="python Parameter_Selection/PerturbationTooling/find_smallest_flips.py --agent_path my_agent \\\n"
        '      --weights "q_net.0.weight[61,5]; q_net.4.weight[0,3]"',
    )
    add_agent_flags(parser)
    add_weight_flags(parser)
    parser.add_argument(
        "--largest_change",
        type=number,
        metavar="R",
        help="largest change considered (default: 10 times the largest weight of the matrix)",
    )
    parser.add_argument("--output_dir", help="folder of the output (default: the agent's perturbation_results/)")
    parser.add_argument("--output_prefix", default="smallest_flips", help="name of the .json")
    add_shared_flags(parser)
    return parser


@script(build_parser)
def main(args: argparse.Namespace, console: Console) -> None:
    """Find the smallest flips and report them."""
    from Neuron_Selection.FileFormats.inputs import ids_from_arguments
    from Parameter_Selection.PerturbationTooling.exact_flips.relu_networks import open_relu_network
    from Parameter_Selection.PerturbationTooling.exact_flips.run import find_smallest_flips
    from SaliencyTooling.next_steps import command_after

    found = find_smallest_flips(
        open_relu_network(args.agent_path, **agent_options(args)),
        candidates=args.candidates,
        weights=args.weights,
        all_weights=args.all_weights,
        inputs=args.inputs,
        input_ids=ids_from_arguments(args.input_ids),
        largest_change=args.largest_change,
        output_dir=args.output_dir,
        output_prefix=args.output_prefix,
        overwrite=args.overwrite,
        progress=console.progress,
    )
    if args.device.startswith("cuda") or args.dtype == "float32":
        console.say("computed in float64 on the cpu; --device and --dtype have no effect here")
    path, summary = found.files[0], found.summary
    if not found.written:
        console.say(f"{path}: up to date, left as it is")
    console.result({"file": str(path), "written": found.written, **asdict(summary)}, [*flip_lines(summary), str(path)])
    if summary.smallest is not None:
        edit = f"{summary.smallest['target']}={summary.smallest['value_beyond']!r}"
        words = ("--edits", edit, "--output", "edited.zip")
        command = command_after("find_smallest_flips", args.agent_path, *words, loading=args)
        console.say(f"next: {command}")


def flip_lines(summary: FlipSummary) -> list[str]:
    """The summary for people."""
    counts = f"{summary.pairs_that_flip:,} of {summary.pairs:,} pairs of weight and input can flip"
    doubtful = f"; {summary.not_verified:,} more could not be verified" if summary.not_verified else ""
    lines = [f"{counts}, verified on both sides{doubtful}"]
    smallest = summary.smallest
    if smallest is None:
        return [*lines, "no change within the range flips any of them"]
    remark = " (a near tie: float noise alone can decide there)" if smallest["near_tie"] else ""
    change = f"{smallest['change']:.6g} on {smallest['target']}, input {smallest['input_id']}"
    return [*lines, f"smallest: {change}{remark}"]


if __name__ == "__main__":
    sys.exit(main())
