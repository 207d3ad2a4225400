"""Record the activations of an agent's layers: ``<name>_activations.npz`` and a readable JSON for each inputs file."""

from __future__ import annotations

import argparse
import sys

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
        "(default: every *_inputs.json there except visited_inputs.json)",
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
    """Extract, save, list the files."""
    from Neuron_Selection.FileFormats.agent_zip.agent_folder import CLEAN, CORRUPTED, INPUTS
    from Neuron_Selection.PatchingTooling import OpenedAgent, extract_activations

    agent = OpenedAgent(args.agent_path, **agent_options(args))
    extracted = extract_activations(
        agent,
        inputs=args.inputs,
        layers=args.layers,
        output_dir=args.output_dir,
        overwrite=args.overwrite,
        progress=lambda jobs: console.progress(jobs, total=len(jobs), unit="file"),
    )
    for name in agent.layer_table.left_out:
        console.say(f"left out: {name} ({agent.layer_table.refused[name]})")
    for one in extracted:
        if one.was_up_to_date:
            console.say(f"{one.npz_path}: up to date, left as it is")
    for line in agent.scores_described:
        console.say(line)
    console.say(f"engine: {agent.engine}, {agent.dtype}")
    files = [
        {
            "npz": str(one.npz_path),
            "readable": str(one.readable_path),
            "inputs": one.n_inputs,
            "layers": len(one.layers),
            "written": not one.was_up_to_date,
        }
        for one in extracted
    ]
    lines = []
    for one in extracted:
        lines += [f"{one.n_inputs} inputs x {len(one.layers)} layers: {one.npz_path}", f"readable: {one.readable_path}"]
    console.result({"files": files, "engine": agent.engine}, lines)
    first = extracted[0]
    stored = handed_on(first.npz_path) if args.output_dir else first.npz_path.name
    other = {CLEAN: CORRUPTED, CORRUPTED: CLEAN}.get(first.inputs_path.name)  # the other of a pair has the same ids
    has_other = other is not None and (agent.folder.folder / INPUTS / other).exists()
    target = str(other) if has_other else handed_on(first.inputs_path)
    words = ["--agent_path", args.agent_path, "--target_input", target]
    words += ["--source_activations", stored, "--patch_spec", f"{first.layers[0]}:all"]
    console.say(f"next: {next_command('activation_patching.py', *words, loading=args)}")


if __name__ == "__main__":
    sys.exit(main())
