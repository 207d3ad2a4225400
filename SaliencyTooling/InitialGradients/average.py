"""Average the magnitudes of gradients over inputs, from a weight_gradients file or from the agent."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

if __package__ != "SaliencyTooling.InitialGradients":  # started as a file, perhaps not installed
    sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from Neuron_Selection.command_line import (
    Console,
    SuiteParser,
    add_loading_flags,
    add_plot_flag,
    add_shared_flags,
    agent_options,
    script,
)


def build_parser() -> argparse.ArgumentParser:
    """The flags of this script."""
    parser = SuiteParser(
        description=__doc__,
        example="python SaliencyTooling/InitialGradients/average.py --gradients_path gradients/weight_gradients.json",
    )
    parser.add_argument("--gradients_path", metavar="FILE", help="weight_gradients.json or .npz of gradients.py")
    parser.add_argument(
        "--agent_path", help="agent folder or zip; alone it replaces the file, and it adds the gradients of the margin"
    )
    add_loading_flags(parser)
    parser.add_argument("--inputs", metavar="FILE", help="inputs, with --agent_path (default: clean_inputs.json)")
    parser.add_argument(
        "--output_dir", help="folder of the output (default: that of the gradients, or the agent's gradient_analysis/)"
    )
    add_plot_flag(parser, of="the mean gradient of each weight")
    add_shared_flags(parser)
    return parser


@script(build_parser)
def main(args: argparse.Namespace, console: Console) -> None:
    """Average the gradients and report the file."""
    from Neuron_Selection.DrawingTooling.plot_files import check_plot, save_plot
    from Neuron_Selection.PatchingTooling.opened_agent import OpenedAgent
    from SaliencyTooling.gradient_pictures import draw_average
    from SaliencyTooling.gradient_runs import average_gradients
    from SaliencyTooling.next_steps import command_after

    check_plot(args.plot)
    averages = average_gradients(
        OpenedAgent(args.agent_path, **agent_options(args)) if args.agent_path else None,
        gradients_path=args.gradients_path,
        inputs=args.inputs,
        output_dir=args.output_dir,
        overwrite=args.overwrite,
        progress=console.progress,
    )
    path = averages.files[0]
    if not averages.written:
        console.say(f"{path}: up to date, left as it is")
    plot = save_plot(args.plot, lambda: draw_average(path), overwrite=args.overwrite)
    lines = [f"average gradients: {path}", *(f"plot: {picture}" for picture in plot.values())]
    console.result({"file": str(path), "written": averages.written, **plot}, lines)
    console.say(f"next: {command_after('average', args.agent_path, loading=args)}")


if __name__ == "__main__":
    sys.exit(main())
