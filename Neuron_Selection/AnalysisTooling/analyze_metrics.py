"""Say which neurons matter: metrics and statistics of many patched runs, and the summary that saliency starts from."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

if __package__ != "Neuron_Selection.AnalysisTooling":  # started as a file, perhaps not installed
    sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from Neuron_Selection.command_line import (
    Console,
    SuiteParser,
    add_shared_flags,
    number,
    positive_int,
    recorded_flags,
    script,
    whole_number,
)


def build_parser() -> argparse.ArgumentParser:
    """The flags of this script."""
    parser = SuiteParser(
        description=f"{__doc__} Reads a sweep of run_experiments.py, or anyone's results organised by input.",
        example="python Neuron_Selection/AnalysisTooling/analyze_metrics.py --agent_path my_agent --max_neurons 8",
    )
    parser.add_argument("--agent_path", required=True, help="agent folder (with agent.zip), or a zip")
    parser.add_argument("--sweep", metavar="FILE", help="what run_experiments.py wrote (default: sweep.npz)")
    parser.add_argument(
        "--by_input",
        action="store_true",
        help="read patching_results/denoising/ and noising/ in the place of a sweep; the agent may be missing then",
    )
    parser.add_argument(
        "--clean",
        metavar="FILE",
        help="with --by_input: inputs that may name clusters (default: clean_inputs.json, where there is one)",
    )
    parser.add_argument(
        "--metrics",
        nargs="+",
        metavar="METRIC",
        help="what the summary tells of each neuron (default: all but the published selection metrics, such as "
        "kl_divergence, which are known by their names too); neurons are ranked by margin_recovery and "
        "margin_damage, or, where neither is named, by the normalised mean of the metrics that are",
    )
    parser.add_argument("--max_neurons", type=positive_int, default=8, help="how many important neurons to name")
    parser.add_argument(
        "--q_threshold", type=number, metavar="Q", help="name only neurons of at most this false discovery rate"
    )
    parser.add_argument(
        "--cluster_by",
        choices=("auto", "file", "id_seed", "input"),
        default="auto",
        help="inputs that are not independent: by cluster in the inputs file, by the environment seed in the id, or "
        "each input alone; auto is file where there are clusters",
    )
    parser.add_argument("--confidence", type=number, default=0.95, help="of the intervals")
    parser.add_argument("--resamples", type=positive_int, default=9999, help="how many, for intervals and p values")
    parser.add_argument("--seed", type=whole_number, default=0, help="of the resampling")
    parser.add_argument("--output_dir", help="a folder in the place of the agent's patching_results/")
    add_shared_flags(parser)
    return parser


@script(build_parser)
def main(args: argparse.Namespace, console: Console) -> None:
    """Analyse, save, show."""
    from dataclasses import fields

    from Neuron_Selection.AnalysisTooling.analysis import remarks
    from Neuron_Selection.AnalysisTooling.analysis_jobs import AnalysisRequest, run_analysis
    from Neuron_Selection.AnalysisTooling.following_step import next_lines
    from Neuron_Selection.AnalysisTooling.ranked_table import ranked_document, ranked_lines

    request = AnalysisRequest(**{field.name: getattr(args, field.name) for field in fields(AnalysisRequest)})
    done = run_analysis(request, command={"script": "analyze_metrics.py", **recorded_flags(args)})
    written = {"results": str(done.table), "summary": str(done.summary)}
    if done.analysis is None:
        console.say(f"{done.table} and {done.summary}: up to date, left as they are (--overwrite makes them again)")
        console.result(written, written.values())
    else:
        lines = [*ranked_lines(done.analysis), *remarks(done.analysis), *written.values()]
        console.result({**written, **ranked_document(done.analysis)}, lines)
    for line in next_lines(done.summary, agent_path=args.agent_path, made_by=done.made_by):
        console.say(line)


if __name__ == "__main__":
    sys.exit(main())
