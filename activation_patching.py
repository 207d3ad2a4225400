"""Run an agent with some neurons held at their values in another run, and report which decisions change."""

from __future__ import annotations

import argparse
import sys
from typing import Any

from Neuron_Selection.command_line import (
    Console,
    SuiteParser,
    add_agent_flags,
    add_engine_flag,
    add_input_ids_flag,
    add_shared_flags,
    agent_options,
    script,
)
from Neuron_Selection.FileFormats.agent_zip.agent_folder import CLEAN, CORRUPTED
from Neuron_Selection.next_command import next_command


def build_parser() -> argparse.ArgumentParser:
    """The flags of this script."""
    from Neuron_Selection.PatchingTooling.ablations import add_ablation_flags

    parser = SuiteParser(
        description="Patch activations of a source run into a target run, or ablate neurons, input by input.",
        example="python activation_patching.py --agent_path my_agent \\\n"
        "      --target_input corrupted_inputs.json --source_activations clean_activations.npz \\\n"
        '      --patch_spec "q_net.0:5,6,7;q_net.2:10,11" --output_prefix experiment1',
    )
    add_agent_flags(parser)
    parser.add_argument("--target_input", metavar="FILE", help="inputs of the run that is patched")
    parser.add_argument(
        "--source_activations",
        metavar="FILE",
        help="activations of the source run, an .npz of activation_extraction.py",
    )
    add_ablation_flags(parser)
    parser.add_argument(
        "--direction",
        choices=("denoising", "noising", "both"),
        help="instead of target and source: clean into corrupted, corrupted into clean, or one after the other",
    )
    parser.add_argument("--clean", metavar="FILE", help="clean inputs, with --direction (default: clean_inputs.json)")
    parser.add_argument(
        "--corrupted", metavar="FILE", help="corrupted inputs, with --direction (default: corrupted_inputs.json)"
    )
    parser.add_argument(
        "--patch_spec",
        nargs="+",
        metavar="SPEC",
        help='"layer:neurons;layer:neurons"; neurons are all, indices such as 5,7, or a range 5-10; in a convolution '
        "a neuron is a channel; several specs are several experiments",
    )
    parser.add_argument(
        "--patches_file",
        metavar="FILE",
        help='many experiments: a list such as [{"q_net.0": [5, 6]}, {"q_net.2": "all"}]',
    )
    add_input_ids_flag(parser)
    parser.add_argument("--output_prefix", help="results go to patching_results/PREFIX.json (default: patching)")
    parser.add_argument("--output_dir", help="a folder instead of the agent's patching_results/")
    parser.add_argument(
        "--by_input", action="store_true", help="one file an input, in patching_results/DIRECTION/, with its metrics"
    )
    parser.add_argument("--allow_mismatch", action="store_true", help="use activations of another agent")
    parser.add_argument("--dry_run", action="store_true", help="check everything and write nothing")
    add_engine_flag(parser)
    add_shared_flags(parser)
    return parser


@script(build_parser)
def main(args: argparse.Namespace, console: Console) -> None:
    """Patch, save, summarize."""
    from Neuron_Selection.FileFormats.agent_zip.agent_folder import INPUTS
    from Neuron_Selection.FileFormats.inputs import ids_from_arguments
    from Neuron_Selection.PatchingTooling import OpenedAgent, patch

    agent = OpenedAgent(args.agent_path, **agent_options(args))
    request = {name: getattr(args, name) for name in _REQUEST}
    files = patch(agent, **request, input_ids=ids_from_arguments(args.input_ids))
    for line in agent.scores_described:
        console.say(line)
    console.say(f"engine: {agent.engine}, {agent.dtype}")
    documents, lines = [], []
    for file in files:
        plan, count = file.plan, len(file.plan.target.ids)
        lines.append(f"{plan.direction or 'no direction'}: source {plan.source.name}, target {plan.target.where}")
        document = {"results": str(file.path), **plan.described, "inputs": count, "engine": agent.engine}
        if args.dry_run:
            lines.append(f"would patch {count} inputs, {len(plan.patches)} experiments: {file.path}")
        else:
            if file.was_up_to_date:
                console.say(f"{file.path}: up to date, left as it is")
            summaries = list(zip(document.pop("patch_spec"), file.summaries or (), strict=True))
            document["experiments"] = [{"patch_spec": spec, **summary} for spec, summary in summaries]
            lines += [_line(spec, summary) for spec, summary in summaries]
            lines.append(f"results: {file.path}")
        documents.append(document)
    console.result({"dry_run": args.dry_run, "runs": documents}, lines)
    if not args.dry_run:
        if args.ablate != "zero":
            console.say(f"next: {_following(args)}")
        elif all((agent.folder.folder / INPUTS / name).exists() for name in (CLEAN, CORRUPTED)):
            sweep = "Neuron_Selection/ExperimentTooling/run_experiments.py"  # after these neurons, every one
            console.say(f"next: {next_command(sweep, '--agent_path', args.agent_path, loading=args)}")


_REQUEST = (
    "target_input", "source_activations", "ablate", "reference_inputs", "seed", "direction", "clean", "corrupted",
    "patch_spec", "patches_file", "allow_mismatch", "output_prefix", "output_dir", "by_input", "overwrite", "dry_run",
)  # fmt: skip


def _following(args: argparse.Namespace) -> str:
    """The same neurons ablated: what they carry may be there without being needed."""
    kind = "zero" if (args.ablate or "").startswith("mean") else "mean"
    words = ["--agent_path", args.agent_path, "--target_input", args.target_input or args.clean or CLEAN]
    words += ["--ablate", kind, *(["--patches_file", args.patches_file] if args.patches_file else [])]
    words += ["--patch_spec", *args.patch_spec] if args.patch_spec else []
    words += ["--input_ids", *args.input_ids] if args.input_ids else []
    words += ["--output_dir", args.output_dir] if args.output_dir else []
    words += ["--output_prefix", f"{args.output_prefix or 'patching'}_{kind}"]
    words += ["--engine", args.engine] if args.engine != "torch" else []
    return next_command("activation_patching.py", *words, loading=args)


def _line(spec: str, summary: dict[str, Any]) -> str:
    shown = spec if len(spec) <= 60 else spec[:57] + "..."
    if summary["contrast_pairs"] is None:
        matches = "source action unknown"
    elif not summary["contrast_pairs"]:
        matches = "no contrast: source and target choose the same action everywhere, so nothing can be restored"
    else:
        matches = f"{summary['matches']} of {summary['contrast_pairs']} contrast pairs match the source"
    bottleneck = "; a whole layer gives the source's decision by construction" if summary.get("must_match") else ""
    return (
        f"{shown}: {summary['inputs']} inputs, {summary['flips']} actions flipped, {matches}, "
        f"{summary['near_ties']} near ties{bottleneck}"
    )


if __name__ == "__main__":
    sys.exit(main())
