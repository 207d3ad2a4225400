"""Choose candidate weights: the k of greatest average gradient of each important neuron, and m more of all together."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

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
    from Neuron_Selection.FileFormats.agent_zip.agent_folder import AgentFolder

USEFUL_NEURONS = "Neuron_Selection/ExperimentTooling/Definitions/useful_neurons.json"


def build_parser() -> argparse.ArgumentParser:
    """The flags of this script."""
    parser = SuiteParser(
        description=__doc__,
        example="python SaliencyTooling/InitialGradients/extract.py \\\n"
        "      --cross_metric_path my_agent/patching_results/cross_metric_summary.json \\\n"
        "      --average_gradients_path gradients/average_gradients.json",
    )
    parser.add_argument(
        "--cross_metric_path", required=True, metavar="FILE", help="cross_metric_summary.json, of analyze_metrics.py"
    )
    parser.add_argument(
        "--average_gradients_path", required=True, metavar="FILE", help="average_gradients.json, of average.py"
    )
    add_selection_flags(parser)
    parser.add_argument(
        "--agent_path",
        help="agent folder or zip, for --score weight_x_gradient, and where bare file names are looked for first; its "
        "weights are read, it is not run",
    )
    add_loading_flags(parser)  # for the next command: an agent that is not run needs none
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


def useful_neurons(name: str | None, folder: AgentFolder | None) -> Path:
    """The definitions file: as named, a bare name in the agent's folder first; else the project's own."""
    if name is None:
        return Path(__file__).resolve().parents[2] / USEFUL_NEURONS
    return folder.find(name, ".") if folder else Path(name)


@script(build_parser)
def main(args: argparse.Namespace, console: Console) -> None:
    """Select, save, show."""
    from Neuron_Selection.FileFormats.agent_zip.agent_folder import (
        GRADIENTS,
        RESULTS,
        AgentFolder,
        find_agent,
        output_folder,
    )
    from Neuron_Selection.FileFormats.agent_zip.agent_zip import read_agent_zip
    from SaliencyTooling.candidate_runs import Selection, write_candidates
    from SaliencyTooling.next_steps import agent_told_by, perturbing

    average_path, summary = Path(args.average_gradients_path), Path(args.cross_metric_path)
    folder = find_agent(args.agent_path) if args.agent_path else None
    agent = read_agent_zip(folder.zip_path) if folder else None
    if folder is not None:
        summary = folder.find(args.cross_metric_path, RESULTS, hint="analyze_metrics.py makes it")
        average_path = folder.find(args.average_gradients_path, GRADIENTS, hint="average.py makes it")
    elif summary.resolve().parent.name == RESULTS:
        home = summary.resolve().parents[1]
        folder = AgentFolder(zip_path=home / "agent.zip", folder=home)
    selection = Selection(
        cross_metric_path=summary,
        definitions=lambda: useful_neurons(args.useful_neurons_path, folder),
        score=args.score,
        k=args.k,
        m=args.m,
    )
    path, metadata, written = write_candidates(
        selection,
        average_path,
        output_folder(args.output_dir, average_path.parent),
        agent=agent,
        overwrite=args.overwrite,
    )
    if not written:
        console.say(f"{path}: up to date, left as it is")
    console.result({"file": str(path), "written": written, **metadata}, selection_lines(path, metadata))
    console.say(f"next: {perturbing(args, args.agent_path or agent_told_by(metadata), path)}")


def selection_lines(path: Path, metadata: dict[str, Any]) -> list[str]:
    """The selection in a sentence, and what was asked for and not there."""
    chosen = (
        f"{metadata['total_weights_selected']} weights of {metadata['num_candidate_neurons']} neurons "
        f"({metadata['guaranteed_per_neuron']} guaranteed, {metadata['additional_selected']} additional): {path}"
    )
    lines = [chosen]
    if metadata["guaranteed_per_neuron"] != metadata["k_per_neuron"] * metadata["num_candidate_neurons"]:
        lines.append(f"rows shorter than the {metadata['k_per_neuron']} weights asked for are taken whole")
    if metadata["additional_selected"] != metadata["additional_m"]:
        lines.append(f"fewer additional weights than asked for: {metadata['additional_m']}")
    return lines


if __name__ == "__main__":
    sys.exit(main())
