"""Rank neurons by metrics and statistics of many patched runs, and write the summary that saliency starts from."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

if __package__ != "Neuron_Selection.AnalysisTooling":  # started as a file, perhaps not installed
    sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from Neuron_Selection.command_line import (
    Console,
    SuiteParser,
    add_cluster_flag,
    add_plot_flag,
    add_shared_flags,
    number,
    positive_int,
    script,
    whole_number,
)


def build_parser() -> argparse.ArgumentParser:
    """The flags of this script."""
    parser = SuiteParser(
        description=f"{__doc__} Reads a sweep of run_experiments.py, or own or published results by input.",
        example="python Neuron_Selection/AnalysisTooling/analyze_metrics.py --agent_path my_agent --max_neurons 8",
    )
    parser.add_argument("--agent_path", required=True, help="agent folder (with agent.zip), or a zip")
    parser.add_argument("--sweep", metavar="FILE", help="sweep written by run_experiments.py (default: sweep.npz)")
    parser.add_argument(
        "--by_input",
        action="store_true",
        help="read patching_results/denoising/ and noising/ instead of a sweep; the agent may then be missing",
    )
    parser.add_argument(
        "--clean",
        metavar="FILE",
        help="with --by_input: inputs that may name clusters (default: clean_inputs.json, if it exists)",
    )
    parser.add_argument(
        "--metrics",
        nargs="+",
        metavar="METRIC",
        help="metrics in the summary (default: all but the published selection metrics, which can be named too; for "
        "an actor also kl_divergence, reverse_kl_divergence and probability_shift, and none in units of return); "
        "neurons are ranked by margin_recovery and margin_damage, or, if neither is named, by the normalised mean of "
        "the named metrics",
    )
    parser.add_argument("--max_neurons", type=positive_int, default=8, help="largest number of important neurons")
    parser.add_argument(
        "--q_threshold", type=number, metavar="Q", help="largest false discovery rate of an important neuron"
    )
    add_cluster_flag(parser)
    parser.add_argument("--confidence", type=number, default=0.95, help="confidence level of the intervals")
    parser.add_argument(
        "--resamples", type=positive_int, default=9999, help="number of resamples for intervals and p values"
    )
    parser.add_argument("--seed", type=whole_number, default=0, help="seed of the resampling")
    parser.add_argument("--output_dir", help="output folder (default: the agent's patching_results/)")
    add_plot_flag(parser, of="the effect of each neuron on each pair; not with --by_input")
    add_shared_flags(parser)
    return parser


@script(build_parser)
def main(args: argparse.Namespace, console: Console) -> None:
    """Analyse, save, print."""
    from Neuron_Selection.AnalysisTooling import analyze
    from Neuron_Selection.AnalysisTooling.analysis import remarks
    from Neuron_Selection.AnalysisTooling.effect_pictures import draw_sweep
    from Neuron_Selection.AnalysisTooling.following_step import next_lines
    from Neuron_Selection.AnalysisTooling.ranked_table import ranked_document, ranked_lines
    from Neuron_Selection.DrawingTooling.plot_files import check_plot, save_plot
    from Neuron_Selection.errors import UsageError

    if args.plot is not None and args.by_input:
        raise UsageError("--plot cannot be used with --by_input: it draws a sweep")
    check_plot(args.plot)
    done = analyze(args.agent_path, **{name: getattr(args, name) for name in _REQUEST})
    plot = save_plot(args.plot, lambda: draw_sweep(done.runs), overwrite=args.overwrite)
    written = {"results": str(done.table), "summary": str(done.summary), **plot}
    if done.analysis is None:
        console.say(f"{done.table} and {done.summary}: up to date, left as they are (--overwrite makes them again)")
        console.result(written, written.values())
    else:
        lines = [*ranked_lines(done.analysis), *remarks(done.analysis), *written.values()]
        console.result({**written, **ranked_document(done.analysis)}, lines)
    for line in next_lines(done.summary, agent_path=args.agent_path, made_by=done.made_by):
        console.say(line)


_REQUEST = (
    "sweep", "by_input", "clean", "metrics", "max_neurons", "q_threshold", "cluster_by", "confidence", "resamples",
    "seed", "output_dir", "overwrite",
)  # fmt: skip


if __name__ == "__main__":
    sys.exit(main())
