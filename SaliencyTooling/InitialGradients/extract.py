"""Select candidate weights: of each important neuron the k with the greatest average gradient, and m more overall."""

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
    add_loading_flags,
    add_shared_flags,
    script,
    whole_number,
)

if TYPE_CHECKING:
    from SaliencyTooling.candidate_selection import SelectedWeights


def build_parser() -> argparse.ArgumentParser:
    """The flags of this script."""
    parser = SuiteParser(
        description=__doc__,
        example="python SaliencyTooling/InitialGradients/extract.py \\\n"
        "      --cross_metric_path my_agent/patching_results/cross_metric_summary.json \\\n"
        "      --average_gradients_path gradients/average_gradients.json",
    )
    parser.add_argument(
        "--cross_metric_path", required=True, metavar="FILE", help="cross_metric_summary.json of analyze_metrics.py"
    )
    parser.add_argument(
        "--average_gradients_path", required=True, metavar="FILE", help="average_gradients.json of average.py"
    )
    add_selection_flags(parser)
    parser.add_argument(
        "--agent_path",
        help="agent folder or zip; bare file names are looked for in its folder first, and --score weight_x_gradient "
        "reads its weights",
    )
    add_loading_flags(parser)  # without effect: the network is not built
    parser.add_argument("--output_dir", help="folder of the output (default: that of the average gradients)")
    add_shared_flags(parser)
    return parser


def add_selection_flags(parser: argparse.ArgumentParser) -> None:
    """The flags that decide the selection, shared with initial_test.py."""
    parser.add_argument(
        "--useful_neurons_path",
        metavar="FILE",
        help="definitions file that keys such as exp_62_q_net.0 count in (default: the project's useful_neurons.json)",
    )
    parser.add_argument("--k", type=whole_number, default=2, help="number of weights of each important neuron")
    parser.add_argument(
        "--m", type=whole_number, default=4, help="number of further weights of all important neurons together"
    )
    parser.add_argument(
        "--score",
        choices=("gradient", "margin", "weight_x_gradient"),
        default="gradient",
        help="rank by mean |gradient| of the greatest Q-value, of the margin, or |weight| x mean |gradient|",
    )


@script(build_parser)
def main(args: argparse.Namespace, console: Console) -> None:
    """Select the weights and report them."""
    from SaliencyTooling.candidate_selection import read_stored_agent, select_weights
    from SaliencyTooling.next_steps import command_after

    candidates = select_weights(
        read_stored_agent(args.agent_path) if args.agent_path else None,
        cross_metric_path=args.cross_metric_path,
        average_gradients_path=args.average_gradients_path,
        useful_neurons_path=args.useful_neurons_path,
        k=args.k,
        m=args.m,
        score=args.score,
        output_dir=args.output_dir,
        overwrite=args.overwrite,
        progress=console.progress,
    )
    path = candidates.files[0]
    if not candidates.written:
        console.say(f"{path}: up to date, left as it is")
    console.result(
        {"file": str(path), "written": candidates.written, **candidates.metadata}, selection_lines(candidates)
    )
    console.say(f"next: {command_after('extract', args.agent_path, loading=args)}")


def selection_lines(candidates: SelectedWeights) -> list[str]:
    """The numbers of weights, and where they are fewer than requested."""
    metadata = candidates.metadata
    chosen = (
        f"{metadata['total_weights_selected']} weights of {metadata['num_candidate_neurons']} neurons "
        f"({metadata['guaranteed_per_neuron']} guaranteed, {metadata['additional_selected']} additional)"
    )
    lines = [f"{chosen}: {candidates.files[0]}"]
    if metadata["guaranteed_per_neuron"] != metadata["k_per_neuron"] * metadata["num_candidate_neurons"]:
        lines.append(f"rows of fewer than {metadata['k_per_neuron']} weights are selected whole")
    if metadata["additional_selected"] != metadata["additional_m"]:
        lines.append(f"fewer additional weights than the {metadata['additional_m']} requested")
    return lines


if __name__ == "__main__":
    sys.exit(main())
