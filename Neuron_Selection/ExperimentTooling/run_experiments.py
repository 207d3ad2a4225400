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
    add_input_ids_flag,
    add_shared_flags,
    agent_options,
    recorded_flags,
    script,
    whole_number,
)
from Neuron_Selection.FileFormats.agent_zip.agent_folder import CLEAN, CORRUPTED
from Neuron_Selection.next_command import handed_on, next_command


def build_parser() -> argparse.ArgumentParser:
    """The flags of this script."""
    parser = SuiteParser(
        description=f"{__doc__} Computed in float64; analyze_metrics.py says what it means.",
        example="python Neuron_Selection/ExperimentTooling/run_experiments.py --agent_path my_agent",
    )
    add_agent_flags(parser)
    parser.add_argument(
        "--definitions",
        metavar="FILE",
        help="the experiments, of generate_definitions.py or your own (default: each hidden neuron)",
    )
    parser.add_argument("--clean", default=CLEAN, metavar="FILE", help="clean inputs")
    parser.add_argument("--corrupted", default=CORRUPTED, metavar="FILE", help="corrupted inputs")
    parser.add_argument(
        "--direction",
        choices=("denoising", "noising", "both"),
        help="clean into corrupted, corrupted into clean, or both (default: both, with --ablate noising)",
    )
    parser.add_argument(
        "--ablate",
        metavar="KIND",
        help="no values of the other run: take the neurons out, by zero, mean, resample, noise[=K] or constant=V",
    )
    parser.add_argument(
        "--reference_inputs", metavar="FILE", help="inputs that mean and noise are made of (default: the target's)"
    )
    parser.add_argument("--seed", type=whole_number, help="of --ablate resample and noise (default: 0)")
    add_input_ids_flag(parser, of="pairs")
    parser.add_argument(
        "--engine",
        choices=("auto", "fast", "hooks"),
        default="auto",
        help="numpy for MLPs, torch for all else; auto takes the first that applies",
    )
    parser.add_argument("--by_input", action="store_true", help="also one JSON an input, in patching_results/DIRECTION")
    parser.add_argument("--output_prefix", help="results go to patching_results/PREFIX.npz (default: sweep)")
    parser.add_argument("--output_dir", help="a folder in the place of the agent's patching_results/")
    parser.add_argument("--dry_run", action="store_true", help="check everything, say what would run, write nothing")
    add_shared_flags(parser)
    return parser


@script(build_parser)
def main(args: argparse.Namespace, console: Console) -> None:
    """Plan, run, save, count."""
    from dataclasses import fields

    from Neuron_Selection.ExperimentTooling.hidden_layers import layers_left_out
    from Neuron_Selection.ExperimentTooling.sweeps.jobs import SweepRequest, plan_sweep_job, run_sweep_job
    from Neuron_Selection.FileFormats.inputs import ids_from_arguments

    asked = {field.name: getattr(args, field.name) for field in fields(SweepRequest)}
    request = SweepRequest(**{**asked, "input_ids": ids_from_arguments(args.input_ids)})
    flags = recorded_flags(args, without=("output_prefix", "dry_run"))
    command = {"script": "run_experiments.py", **flags}
    job = plan_sweep_job(args.agent_path, agent_options(args), request, command=command)
    plan, engine, dtype = job.plan, job.experiment.engine_name, job.experiment.dtype
    for name, why in layers_left_out(job.experiment).items() if args.definitions is None else ():
        console.say(f"left out: {name} ({why})")
    for direction, told in plan.told.items():
        console.say(f"{direction}: source {told['source']}, target {told['target']}")
    document: dict[str, Any] = {
        "sweep": str(job.path),
        "experiments": len(plan.patches),
        "pairs": len(plan.ids),
        "directions": plan.told,
        "engine": engine,
        "engine_reason": job.engine_reason,
        "dtype": dtype,
        "dry_run": args.dry_run,
    }
    counted = f"{len(plan.patches)} experiments, {len(plan.ids)} pairs, {' and '.join(plan.directions)}"
    counted += f"; engine {engine} ({job.engine_reason}), {dtype}"
    if args.dry_run:
        console.result(document, [f"would run {counted}: {job.path}"])
        return
    if job.stored is not None:
        console.say(f"{job.path}: up to date, left as it is (--overwrite makes it again)")

    def progress(blocks: Iterable[slice], total: int) -> Iterable[slice]:
        return console.progress(blocks, total=total, unit="block")

    told_by_file = run_sweep_job(job, progress=progress)
    kept = {key: told_by_file[key] for key in ("noise_floor", "contrast_pairs", "cannot_matter")}
    written = {"by_input": [str(folder) for folder in job.folders.values()]} if job.folders else {}
    dead = " and ".join(str(count) for count in dict.fromkeys(kept["cannot_matter"].values()))
    lines = [
        counted,
        f"{kept['contrast_pairs']} pairs of contrast, {dead} dead or constant; float32 noise {kept['noise_floor']:.2g}",
        *([] if kept["contrast_pairs"] else [_NO_CONTRAST]),
        f"sweep: {job.path}",
        *(f"by input: {folder}" for folder in written.get("by_input", [])),
    ]
    console.result({**document, **kept, **written}, lines)
    words = ["--agent_path", args.agent_path]
    if args.output_dir:
        words += ["--sweep", handed_on(job.path)]
    elif args.output_prefix:
        words += ["--sweep", job.path.name]
    console.say(f"next: {next_command('Neuron_Selection/AnalysisTooling/analyze_metrics.py', *words)}")


_NO_CONTRAST = (
    "no contrast pair: clean and corrupted runs act alike everywhere, so nothing can be restored or damaged "
    "(generate_pairs.py makes pairs that differ)"
)


if __name__ == "__main__":
    sys.exit(main())
