"""Find the exact smallest change of each weight that changes the greedy action, input by input, in a ReLU network."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

if __package__ != "Parameter_Selection.PerturbationTooling":  # started as a file, perhaps not installed
    sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from Neuron_Selection.command_line import Console, SuiteParser, add_shared_flags, number, script
from Neuron_Selection.FileFormats.agent_zip.agent_folder import CLEAN
from Parameter_Selection.PerturbationTooling.perturb_weights import add_weight_flags


def build_parser() -> argparse.ArgumentParser:
    """The flags of this script."""
    parser = SuiteParser(
        description=__doc__,
        example="python Parameter_Selection/PerturbationTooling/find_smallest_flips.py --agent_path my_agent \\\n"
        '      --weights "q_net.0.weight[61,5]; q_net.4.weight[0,3]"',
    )
    parser.add_argument("--agent_path", required=True, help="agent folder (with agent.zip), or a zip")
    add_weight_flags(parser)
    parser.add_argument("--inputs", default=CLEAN, metavar="FILE", help="inputs to decide on")
    parser.add_argument(
        "--input_ids", nargs="+", metavar="ID", help="only these inputs, or @FILE with one a line (default: all)"
    )
    parser.add_argument(
        "--largest_change",
        type=number,
        metavar="R",
        help="how far to look (default: 10 times the largest weight of the matrix)",
    )
    parser.add_argument("--output_dir", help="where the file goes (default: the agent's perturbation_results/)")
    parser.add_argument("--output_prefix", default="smallest_flips", help="name of the .json")
    add_shared_flags(parser)
    return parser


@script(build_parser)
def main(args: argparse.Namespace, console: Console) -> None:
    """Choose, search, write, tell."""
    from Neuron_Selection.FileFormats.agent_zip.agent_folder import output_folder
    from Neuron_Selection.FileFormats.inputs import ids_from_arguments
    from Neuron_Selection.FileFormats.results.patching_results import results_path
    from Neuron_Selection.FileFormats.weights.perturbation_results import PERTURBATIONS
    from Parameter_Selection.PerturbationTooling.exact_flips.relu_networks import open_relu_network
    from Parameter_Selection.PerturbationTooling.exact_flips.run import write_smallest_flips
    from Parameter_Selection.PerturbationTooling.next_steps import writing
    from Parameter_Selection.PerturbationTooling.weights.chosen_weights import choose_weights

    opened = open_relu_network(args.agent_path)
    folder = output_folder(args.output_dir, opened.folder.folder / PERTURBATIONS)
    path = results_path(folder, args.output_prefix)
    summary, written = write_smallest_flips(
        opened,
        opened.inputs(args.inputs).selected(ids_from_arguments(args.input_ids)),
        choose_weights(opened, args),
        path,
        largest_change=args.largest_change,
        overwrite=args.overwrite,
    )
    if not written:
        console.say(f"{path}: up to date, left as it is")
    smallest = summary["smallest"]
    told = "no change within the range flips any of them"
    if smallest is not None:
        told = f"smallest: {smallest['change']:.6g} on {smallest['target']}, input {smallest['input_id']}"
        told += " (a near tie: float noise alone can decide there)" * smallest["near_tie"]
    counts = f"{summary['pairs_that_flip']:,} of {summary['pairs']:,} pairs of weight and input can flip"
    doubtful = f"; {summary['not_verified']:,} more could not be verified" if summary["not_verified"] else ""
    lines = [f"{counts}, verified on both sides{doubtful}", told, str(path)]
    console.result({"file": str(path), "written": written, **summary}, lines)
    if smallest is not None:
        console.say(f"next: {writing(args.agent_path, smallest['target'], smallest['value_beyond'])}")


if __name__ == "__main__":
    sys.exit(main())
