"""Run the whole gradient analysis: gradients, averages, candidate weights, in one process."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

if __package__ != "SaliencyTooling":  # started as a file, perhaps not installed
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from Neuron_Selection.command_line import (
    Console,
    SuiteParser,
    add_agent_flags,
    add_shared_flags,
    agent_options,
    script,
)
from Neuron_Selection.FileFormats.agent_zip.agent_folder import CLEAN
from SaliencyTooling.InitialGradients.extract import add_selection_flags, selection_lines, useful_neurons


def build_parser() -> argparse.ArgumentParser:
    """The flags of this script."""
    parser = SuiteParser(
        description=__doc__, example="python SaliencyTooling/initial_test.py --agent_path my_agent --k 2 --m 4"
    )
    add_agent_flags(parser)
    add_selection_flags(parser)
    parser.add_argument("--inputs", default=CLEAN, metavar="FILE", help="inputs to differentiate at")
    parser.add_argument(
        "--format",
        choices=("json", "npz", "both"),
        default="json",
        help="weight_gradients.json, .npz (smaller) or both",
    )
    parser.add_argument("--output_dir", help="where the files go (default: the agent's gradient_analysis/)")
    add_shared_flags(parser)
    return parser


@script(build_parser)
def main(args: argparse.Namespace, console: Console) -> None:
    """Three steps, each left alone where its file is up to date."""
    from Neuron_Selection.FileFormats.agent_zip.agent_folder import GRADIENTS, RESULTS, output_folder
    from Neuron_Selection.FileFormats.results.cross_metric_summary import SUMMARY_FILE
    from Neuron_Selection.PatchingTooling.experiment import OpenedAgent
    from SaliencyTooling.candidate_runs import Selection, check_candidates, write_candidates
    from SaliencyTooling.gradient_runs import (
        FORMATS,
        plan_averages,
        saving_of_npz,
        write_averages,
        write_weight_gradients,
    )
    from SaliencyTooling.next_steps import perturbing

    opened = OpenedAgent(args.agent_path, **agent_options(args))
    folder = output_folder(args.output_dir, opened.folder.folder / GRADIENTS)
    selection = Selection(
        cross_metric_path=opened.folder.folder / RESULTS / SUMMARY_FILE,
        definitions=lambda: useful_neurons(args.useful_neurons_path, opened.folder),
        score=args.score,
        k=args.k,
        m=args.m,
    )
    inputs = opened.inputs(args.inputs)
    agent = opened.agent_zip
    # what the later steps would refuse is refused before the first one writes
    check_candidates(selection, folder, agent, opened.online_weights, overwrite=args.overwrite)
    plan_averages(opened, inputs, folder, gradients_path=None, overwrite=args.overwrite)
    gradients, written, by = write_weight_gradients(
        opened,
        inputs,
        folder,
        formats=FORMATS[args.format],
        overwrite=args.overwrite,
        progress=lambda items, total: console.progress(items, total=total, unit="input"),
    )
    average, averaged = write_averages(opened, inputs, folder, gradients_path=None, overwrite=args.overwrite)
    candidates, metadata, chosen = write_candidates(selection, average, folder, agent=agent, overwrite=args.overwrite)
    files = [*gradients, average, candidates]
    for path, new in zip(files, [*[written] * len(gradients), averaged, chosen], strict=True):
        if not new:
            console.say(f"{path}: up to date, left as it is")
    console.result(
        {"files": [str(path) for path in files], "gradients_by": by, **metadata},
        [f"gradients: engine {by}", *(str(path) for path in files), *selection_lines(candidates, metadata)],
    )
    if args.format == "json":
        console.say(f"{gradients[0]}: {saving_of_npz(opened, len(inputs.ids), gradients[0])}")
    console.say(f"next: {perturbing(args, args.agent_path, candidates, inputs=args.inputs)}")


if __name__ == "__main__":
    sys.exit(main())
