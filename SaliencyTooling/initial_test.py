"""Run the whole gradient analysis: gradients, averages, candidate weights."""

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
    add_plot_flag,
    add_shared_flags,
    agent_options,
    script,
)
from SaliencyTooling.InitialGradients.extract import add_selection_flags, selection_lines
from SaliencyTooling.InitialGradients.gradients import add_gradient_flags, npz_remark


def build_parser() -> argparse.ArgumentParser:
    """The flags of this script."""
    parser = SuiteParser(
        description=__doc__, example="python SaliencyTooling/initial_test.py --agent_path my_agent --k 2 --m 4"
    )
    add_agent_flags(parser)
    add_selection_flags(parser)
    add_gradient_flags(parser)
    add_plot_flag(parser, of="the mean gradient of each weight")
    add_shared_flags(parser)
    return parser


@script(build_parser)
def main(args: argparse.Namespace, console: Console) -> None:
    """Run the three steps and report their files."""
    from Neuron_Selection.DrawingTooling.plot_files import check_plot, save_plot
    from Neuron_Selection.PatchingTooling.opened_agent import OpenedAgent
    from SaliencyTooling.candidate_selection import find_candidate_weights
    from SaliencyTooling.gradient_pictures import draw_average
    from SaliencyTooling.next_steps import command_after

    check_plot(args.plot)
    agent = OpenedAgent(args.agent_path, **agent_options(args))
    analysis = find_candidate_weights(
        agent,
        inputs=args.inputs,
        useful_neurons_path=args.useful_neurons_path,
        k=args.k,
        m=args.m,
        score=args.score,
        format=args.format,
        output_dir=args.output_dir,
        overwrite=args.overwrite,
        progress=console.progress,
    )
    for line in agent.scores_described:
        console.say(line)
    gradients, candidates = analysis.gradients, analysis.candidates
    files = []
    for step in (gradients, analysis.averages, candidates):
        for path in step.files:
            files.append(str(path))
            if not step.written:
                console.say(f"{path}: up to date, left as it is")
    averages = analysis.averages.files[0]
    files += save_plot(args.plot, lambda: draw_average(averages), overwrite=args.overwrite).values()
    console.result(
        {"files": files, "gradients_by": gradients.engine, **candidates.metadata},
        [f"gradients: engine {gradients.engine}", *files, *selection_lines(candidates)],
    )
    if args.format == "json":
        console.say(f"{gradients.files[0]}: {npz_remark(gradients)}")
    console.say(f"next: {command_after('initial_test', args.agent_path, loading=args)}")


if __name__ == "__main__":
    sys.exit(main())
