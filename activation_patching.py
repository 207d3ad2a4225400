"""Run an agent with some neurons held at their values in another run, and see which decisions change."""

from __future__ import annotations

import argparse
import sys
from typing import Any

from Neuron_Selection.command_line import (
    Console,
    SuiteParser,
    add_agent_flags,
    add_shared_flags,
    agent_options,
    script,
)


def build_parser() -> argparse.ArgumentParser:
    """The flags of this script."""
    parser = SuiteParser(
        description="Patch activations of a source run into a target run, input by input.",
        example="python activation_patching.py --agent_path examples/lava_crossing/agent \\\n"
        "      --target_input corrupted_inputs.json --source_activations clean_activations.npz \\\n"
        '      --patch_spec "q_net.0:5,6,7;q_net.2:10,11" --output_prefix experiment1',
    )
    add_agent_flags(parser)
    parser.add_argument("--target_input", required=True, metavar="FILE", help="inputs of the run that is patched")
    parser.add_argument(
        "--source_activations",
        required=True,
        metavar="FILE",
        help="activations of the run that donates, an .npz of activation_extraction.py",
    )
    parser.add_argument(
        "--patch_spec",
        required=True,
        nargs="+",
        metavar="SPEC",
        help='"layer:neurons;layer:neurons"; neurons are all, indices such as 5,7, or a range 5-10; in a convolution '
        "a neuron is a channel; several specs are several experiments",
    )
    parser.add_argument(
        "--input_ids",
        nargs="+",
        metavar="ID",
        help="only these inputs, one id an argument (ids may hold commas), or @FILE with one a line (default: all)",
    )
    parser.add_argument("--output_prefix", default="patching", help="results go to patching_results/PREFIX.json")
    parser.add_argument("--output_dir", help="a folder in the place of the agent's patching_results/")
    parser.add_argument("--allow_mismatch", action="store_true", help="take activations of another agent")
    parser.add_argument("--dry_run", action="store_true", help="check everything, say what would run, write nothing")
    add_shared_flags(parser)
    return parser


@script(build_parser)
def main(args: argparse.Namespace, console: Console) -> None:
    """Plan, run, save, sum up."""
    from pathlib import Path

    from Neuron_Selection.FileFormats.agent_folder import RESULTS
    from Neuron_Selection.FileFormats.inputs import ids_from_arguments
    from Neuron_Selection.FileFormats.patching_results import results_path, save_patching_results, stored_metadata
    from Neuron_Selection.FileFormats.run_metadata import is_up_to_date, refuse_own_inputs
    from Neuron_Selection.PatchingTooling import PatchingExperiment

    experiment = PatchingExperiment(args.agent_path, **agent_options(args))
    folder = Path(args.output_dir) if args.output_dir else experiment.folder.folder / RESULTS
    path = results_path(folder, args.output_prefix)
    plan = experiment.plan_patching(
        args.target_input,
        args.source_activations,
        args.patch_spec,
        ids_from_arguments(args.input_ids),
        allow_mismatch=args.allow_mismatch,
    )
    refuse_own_inputs([path], [Path(plan.target.source), Path(plan.source.source), experiment.folder.zip_path])
    flags = {name: value for name, value in vars(args).items() if name not in _WITHOUT_INFLUENCE}
    command = {"script": "activation_patching.py", **flags}
    planned = experiment.metadata(plan.decisive, command=command)
    stored = stored_metadata(path)
    done = is_up_to_date(path, stored, planned, overwrite=args.overwrite)
    console.say(
        f"source: {plan.source.source}\ntarget: {plan.target.source} ({plan.direction or 'no direction named'})"
    )
    if args.dry_run:
        console.result(
            {"would_write": str(path), **plan.described, "inputs": len(plan.target.ids)},
            [f"would patch {len(plan.target.ids)} inputs, {len(plan.patches)} experiments, and write {path}"],
        )
        return
    if done and stored is not None:
        console.say(f"{path}: up to date, left as it is")
        summaries = stored["summary"]
    else:
        results = experiment.run_plan(plan, command=command)
        save_patching_results(path, results, metadata=results.metadata)
        summaries = results.metadata["summary"]
    specs = plan.described["patch_spec"]
    console.result(
        {
            "results": str(path),
            "direction": plan.direction,
            "experiments": [{"patch_spec": spec, **summary} for spec, summary in zip(specs, summaries, strict=True)],
        },
        [*(_line(spec, summary) for spec, summary in zip(specs, summaries, strict=True)), f"results: {path}"],
    )
    console.say(f"next: look at {path}, or name other neurons with --patch_spec and another --output_prefix")


_WITHOUT_INFLUENCE = {"threads", "quiet", "json", "debug", "overwrite", "output_dir", "output_prefix", "dry_run"}


def _line(spec: str, summary: dict[str, Any]) -> str:
    shown = spec if len(spec) <= 60 else spec[:57] + "..."
    if summary["contrast_pairs"] is None:
        matches = "source action unknown"
    elif not summary["contrast_pairs"]:
        matches = "no contrast: source and target act alike everywhere, so nothing can be restored"
    else:
        matches = f"{summary['matches']} of {summary['contrast_pairs']} contrast pairs match the source"
    return (
        f"{shown}: {summary['inputs']} inputs, {summary['flips']} actions flipped, {matches}, "
        f"{summary['near_ties']} near ties"
    )


if __name__ == "__main__":
    sys.exit(main())
