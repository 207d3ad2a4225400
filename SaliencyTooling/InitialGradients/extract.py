"""Choose candidate weights: the k of greatest average gradient of each important neuron, and m more of all together."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

if __package__ != "SaliencyTooling.InitialGradients":  # started as a file, perhaps not installed
    sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from Neuron_Selection.command_line import Console, SuiteParser, add_shared_flags, script, whole_number

USEFUL_NEURONS = "Neuron_Selection/ExperimentTooling/Definitions/useful_neurons.json"


def build_parser() -> argparse.ArgumentParser:
    """The flags of this script."""
    parser = SuiteParser(
        description=__doc__,
        example="python InitialGradients/extract.py --cross_metric_path cross_metric_summary.json "
        "--average_gradients_path gradients/average_gradients.json",
    )
    parser.add_argument(
        "--cross_metric_path", required=True, metavar="FILE", help="cross_metric_summary.json, of analyze_metrics.py"
    )
    parser.add_argument(
        "--average_gradients_path", required=True, metavar="FILE", help="average_gradients.json, of average.py"
    )
    add_selection_flags(parser)
    parser.add_argument("--agent_path", help="agent folder or zip, for --score weight_x_gradient")
    parser.add_argument("--output_dir", help="where the file goes (default: beside the average gradients)")
    add_shared_flags(parser)
    return parser


def add_selection_flags(parser: argparse.ArgumentParser) -> None:
    """The flags that decide the selection, shared with initial_test.py."""
    parser.add_argument(
        "--useful_neurons_path",
        metavar="FILE",
        help=f"definitions that keys such as exp_62_q_net.0 count in (default: the project's {USEFUL_NEURONS})",
    )
    parser.add_argument("--k", type=whole_number, default=2, help="weights of each important neuron")
    parser.add_argument("--m", type=whole_number, default=4, help="further weights of all of them together")
    parser.add_argument(
        "--score",
        choices=("gradient", "margin", "weight_x_gradient"),
        default="gradient",
        help="rank by mean |gradient| of the greatest Q-value, of the margin, or |weight| x mean |gradient|",
    )


def useful_neurons(path: str | None) -> Path:
    """The definitions file: as named, else the project's own, wherever the user stands."""
    return Path(path) if path else Path(__file__).resolve().parents[2] / USEFUL_NEURONS


@script(build_parser)
def main(args: argparse.Namespace, console: Console) -> None:
    """Select, save, show."""
    from Neuron_Selection.PatchingTooling.opened_agent import OpenedAgent
    from SaliencyTooling.gradient_runs import write_candidates

    opened = OpenedAgent(args.agent_path) if args.agent_path else None
    average_path = Path(args.average_gradients_path)
    path, metadata, written = write_candidates(
        Path(args.cross_metric_path),
        average_path,
        Path(args.output_dir) if args.output_dir else average_path.parent,
        definitions_path=useful_neurons(args.useful_neurons_path),
        score=args.score,
        weights=opened.online_weights if opened else None,
        k=args.k,
        m=args.m,
        overwrite=args.overwrite,
    )
    if not written:
        console.say(f"{path}: up to date, left as it is")
    console.result({"file": str(path), "written": written, **metadata}, selection_lines(path, metadata))
    agent = args.agent_path or "<agent>"
    script_path = "Parameter_Selection/PerturbationTooling/perturb_weights.py"
    console.say(f"next: python {script_path} --agent_path {agent} --candidates {path}")


def selection_lines(path: Path, metadata: dict[str, object]) -> list[str]:
    """The selection in a sentence, and what was asked for and not there."""
    chosen = (
        f"{metadata['total_weights_selected']} weights of {metadata['num_candidate_neurons']} neurons "
        f"({metadata['guaranteed_per_neuron']} guaranteed, {metadata['additional_selected']} additional): {path}"
    )
    fewer = metadata["additional_selected"] != metadata["additional_m"]
    return [chosen, f"fewer additional weights than asked for: {metadata['additional_m']}"] if fewer else [chosen]


if __name__ == "__main__":
    sys.exit(main())
