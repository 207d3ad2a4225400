"""Record what the layers of an agent output for inputs: ``<name>_activations.npz`` and a readable JSON beside it."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from Neuron_Selection.command_line import (
    Console,
    SuiteParser,
    add_agent_flags,
    add_engine_flag,
    add_shared_flags,
    agent_options,
    script,
)
from Neuron_Selection.next_command import handed_on, next_command


def build_parser() -> argparse.ArgumentParser:
    """The flags of this script."""
    parser = SuiteParser(
        description="Record the activations of an agent's layers for every input of one or several inputs files.",
        example="python activation_extraction.py --agent_path my_agent \\\n"
        "      --inputs clean_inputs.json corrupted_inputs.json",
    )
    add_agent_flags(parser)
    parser.add_argument(
        "--inputs",
        nargs="+",
        metavar="FILE",
        help="inputs files; a bare name is looked for in the agent's activation_inputs/ first "
        "(default: every *_inputs.json there)",
    )
    parser.add_argument(
        "--layers",
        nargs="+",
        metavar="LAYER",
        help="layers to record, such as q_net.0 (default: every layer with parameters or an activation function)",
    )
    parser.add_argument("--output_dir", help="where the files go (default: the agent's activation_logging/)")
    add_engine_flag(parser)
    add_shared_flags(parser)
    return parser


@script(build_parser)
def main(args: argparse.Namespace, console: Console) -> None:
    """Extract, save, say where."""
    from Neuron_Selection.FileFormats.agent_zip.agent_folder import ACTIVATIONS, CLEAN, CORRUPTED, INPUTS, output_folder
    from Neuron_Selection.PatchingTooling import PatchingExperiment
    from Neuron_Selection.PatchingTooling.extraction import extract_activations, plan_extraction

    experiment = PatchingExperiment(args.agent_path, **agent_options(args))
    folder = output_folder(args.output_dir, experiment.folder.folder / ACTIVATIONS)
    plans = plan_extraction(experiment, args.inputs, folder=folder, layers=args.layers, overwrite=args.overwrite)
    for name in experiment.layer_table.left_out:
        console.say(f"left out: {name} ({experiment.layer_table.refused[name]})")
    written = []
    for plan in console.progress(plans, total=len(plans), unit="file"):
        if plan.is_up_to_date:
            console.say(f"{plan.npz_path}: up to date, left as it is")
        written.append(extract_activations(experiment, plan))
    console.say(f"engine: {args.engine}, {experiment.dtype}")
    console.result({"files": written, "engine": args.engine}, [line for record in written for line in _lines(record)])
    stored = handed_on(plans[0].npz_path) if args.output_dir else plans[0].npz_path.name
    words = ("--source_activations", stored, "--patch_spec", f"{plans[0].layers[0]}:all")
    own = plans[0].inputs.where
    other = {CLEAN: CORRUPTED, CORRUPTED: CLEAN}.get(Path(own).name)  # the other of a pair has the same ids
    target = other if other and (experiment.folder.folder / INPUTS / other).exists() else handed_on(Path(own))
    agent = ("--agent_path", args.agent_path, "--target_input", target)
    console.say(f"next: {next_command('activation_patching.py', *agent, *words, loading=args)}")


def _lines(record: dict[str, object]) -> list[str]:
    return [
        f"{record['inputs']} inputs x {record['layers']} layers: {record['npz']}",
        f"readable: {record['readable']}",
    ]


if __name__ == "__main__":
    sys.exit(main())
