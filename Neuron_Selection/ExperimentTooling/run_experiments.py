"""Patch every hidden neuron by itself, on every pair, in both directions: a sweep."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

if __package__ != "Neuron_Selection.ExperimentTooling":  # started as a file, perhaps not installed
    sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from Neuron_Selection.command_line import (
    Console,
    SuiteParser,
    add_agent_flags,
    add_engine_flag,
    add_input_ids_flag,
    add_plot_flag,
    add_shared_flags,
    agent_options,
    script,
)
from Neuron_Selection.ExperimentTooling.pair_flags import add_pair_flags
from Neuron_Selection.next_command import handed_on, next_command


def build_parser() -> argparse.ArgumentParser:
    """The flags of this script."""
    from Neuron_Selection.PatchingTooling.ablations import add_ablation_flags

    parser = SuiteParser(
        description=f"{__doc__} Computed in float64; analyze_metrics.py analyzes it.",
        example="python Neuron_Selection/ExperimentTooling/run_experiments.py --agent_path my_agent",
    )
    add_agent_flags(parser)
    parser.add_argument(
        "--definitions",
        metavar="FILE",
        help="the experiments, of generate_definitions.py or your own (default: each hidden neuron)",
    )
    add_pair_flags(parser)
    parser.add_argument(
        "--direction",
        choices=("denoising", "noising", "both"),
        help="clean into corrupted, corrupted into clean, or both (default: both, with --ablate noising)",
    )
    add_ablation_flags(parser)
    add_input_ids_flag(parser, of="pairs")
    add_engine_flag(parser, default="auto")
    parser.add_argument("--by_input", action="store_true", help="also one JSON an input, in patching_results/DIRECTION")
    parser.add_argument("--output_prefix", help="results go to patching_results/PREFIX.npz (default: sweep)")
    parser.add_argument("--output_dir", help="a folder instead of the agent's patching_results/")
    parser.add_argument("--dry_run", action="store_true", help="check everything and write nothing")
    add_plot_flag(parser, of="the effect of each neuron on each pair")
    add_shared_flags(parser)
    return parser


@script(build_parser)
def main(args: argparse.Namespace, console: Console) -> None:
    """Sweep, save, count."""
    from Neuron_Selection.AnalysisTooling.effect_pictures import draw_sweep
    from Neuron_Selection.DrawingTooling.plot_files import check_plot, save_plot
    from Neuron_Selection.ExperimentTooling.hidden_layers import layers_left_out
    from Neuron_Selection.ExperimentTooling.sweeps import run_sweep
    from Neuron_Selection.FileFormats.inputs import ids_from_arguments
    from Neuron_Selection.FileFormats.scores import scores_metadata
    from Neuron_Selection.PatchingTooling import open_agent

    def progress(blocks: Iterable[slice], total: int) -> Iterable[slice]:
        return console.progress(blocks, total=total, unit="block")

    check_plot(args.plot)
    agent = open_agent(args.agent_path, **agent_options(args))
    request = {name: getattr(args, name) for name in _REQUEST}
    run = run_sweep(agent, **request, input_ids=ids_from_arguments(args.input_ids), progress=progress)
    for name, why in layers_left_out(agent).items() if args.definitions is None else ():
        console.say(f"left out: {name} ({why})")
    for line in agent.scores_described:
        console.say(line)
    plan, directions = run.plan, run.plan.runs_by_direction
    for direction, names in directions.items():
        console.say(f"{direction}: source {names['source']}, target {names['target']}")
    document: dict[str, Any] = {
        "sweep": str(run.path),
        "experiments": len(plan.patches),
        "pairs": len(plan.ids),
        "directions": directions,
        "engine": agent.engine,
        "engine_reason": agent.engine_reason,
        "dtype": agent.dtype,
        **scores_metadata(agent.architecture.head.scores),
        "dry_run": args.dry_run,
    }
    counted = f"{len(plan.patches)} experiments, {len(plan.ids)} pairs, {' and '.join(plan.directions)}"
    counted += f"; engine {agent.engine} ({agent.engine_reason}), {agent.dtype}"
    if run.header is None or args.dry_run:
        console.result(document, [f"would run {counted}: {run.path}"])
        return
    if run.was_up_to_date:
        console.say(f"{run.path}: up to date, left as it is (--overwrite makes it again)")
    kept = {key: run.header[key] for key in ("noise_floor", "contrast_pairs", "cannot_matter")}
    written = {"by_input": [str(folder) for folder in run.folders.values()]} if run.folders else {}
    plot = save_plot(args.plot, lambda: draw_sweep(run.path), overwrite=args.overwrite)
    dead = " and ".join(str(count) for count in dict.fromkeys(kept["cannot_matter"].values()))
    lines = [
        counted,
        f"{kept['contrast_pairs']} pairs of contrast, {dead} dead or constant; float32 noise {kept['noise_floor']:.2g}",
        *([] if kept["contrast_pairs"] else [_NO_CONTRAST]),
        f"sweep: {run.path}",
        *(f"by input: {folder}" for folder in written.get("by_input", [])),
        *(f"plot: {path}" for path in plot.values()),
    ]
    console.result({**document, **kept, **written, **plot}, lines)
    words = ["--agent_path", args.agent_path]
    if args.output_dir:
        words += ["--sweep", handed_on(run.path)]
    elif args.output_prefix:
        words += ["--sweep", run.path.name]
    console.say(f"next: {next_command('Neuron_Selection/AnalysisTooling/analyze_metrics.py', *words)}")


_REQUEST = (
    "definitions", "clean", "corrupted", "direction", "ablate", "reference_inputs", "seed", "by_input",
    "output_prefix", "output_dir", "overwrite", "dry_run",
)  # fmt: skip
_NO_CONTRAST = (
    "no contrast pair: clean and corrupted runs choose the same action everywhere, so nothing can be restored or "
    "damaged (record_inputs.py and make_pairs.py make pairs that differ)"
)


if __name__ == "__main__":
    sys.exit(main())
