"""Find, for each weight and input, the smallest change of the weight that changes the greedy action.

Exact for MLPs with ReLU. For another activation function the result is a bracket: the action is the old one at its
inner end and another one at its outer end.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if __package__ != "Parameter_Selection.PerturbationTooling":  # started as a file, perhaps not installed
    sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from Neuron_Selection.command_line import (
    Console,
    SuiteParser,
    add_agent_flags,
    add_plot_flag,
    add_shared_flags,
    agent_options,
    number,
    script,
)
from Parameter_Selection.PerturbationTooling.perturb_weights import add_weight_flags

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

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
    add_plot_flag(parser, of="the share of decisions within reach of one weight")
    add_shared_flags(parser)
    return parser


@script(build_parser)
def main(args: argparse.Namespace, console: Console) -> None:
    """Find the smallest flips and report them."""
    from Neuron_Selection.DrawingTooling.plot_files import check_plot, save_plot
    from Neuron_Selection.FileFormats.inputs import ids_from_arguments
    from Neuron_Selection.FileFormats.weights.perturbation_results import load_perturbation_results
    from Parameter_Selection.PerturbationTooling.exact_flips.pictures import draw_flips
    from Parameter_Selection.PerturbationTooling.exact_flips.run import find_smallest_flips
    from Parameter_Selection.PerturbationTooling.exact_flips.supported_networks import open_supported_network
    from SaliencyTooling.next_steps import command_after

    check_plot(args.plot)
    agent = open_supported_network(args.agent_path, **agent_options(args))
    found = find_smallest_flips(
        agent,
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
    for line in agent.scores_described:
        console.say(line)
    path, summary = found.files[0], found.summary
    if not found.written:
        console.say(f"{path}: up to date, left as it is")
    plot = save_plot(args.plot, lambda: draw_flips(load_perturbation_results(path)), overwrite=args.overwrite)
    console.result(
        {"file": str(path), "written": found.written, **summary.fields, **plot},
        [*flip_lines(summary), str(path), *plot.values()],
    )
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
    smallest, brackets = summary.smallest, summary.brackets
    if brackets is not None and brackets["pairs"]:
        lines += bracket_lines(brackets)
    if smallest is None:
        searched = brackets is not None and brackets["no_flip_searched"]
        if searched:
            return [*lines, "no change within the range was found to flip any of them at this resolution"]
        return [*lines, "no change within the range flips any of them"]
    remark = " (a near tie: float noise alone can decide there)" if smallest["near_tie"] else ""
    change = f"{smallest['change']:.6g} on {smallest['target']}, input {smallest['input_id']}"
    return [*lines, f"smallest: {change}{remark}"]


def bracket_lines(brackets: Mapping[str, Any]) -> list[str]:
    """What is known about the pairs that were not searched exactly."""
    flips, none = (f"{brackets[f'{name}_certified']:,} certified" for name in ("flips", "no_flip"))
    if brackets["flips_searched"]:
        flips += f", {brackets['flips_searched']:,} searched (a nearer flip is not excluded)"
    if brackets["no_flip_searched"]:
        none += f", {brackets['no_flip_searched']:,} none found at this resolution"
    lines = [f"brackets: flips: {flips}; no flip within the range: {none}"]
    if brackets["flips_searched"] or brackets["no_flip_searched"]:
        steps = f"steps of at most {brackets['relative_step']:.0%} of the change"
        lines.append(f"resolution of the search: {steps}")
    return lines


if __name__ == "__main__":
    sys.exit(main())
