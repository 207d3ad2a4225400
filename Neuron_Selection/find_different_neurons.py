"""Find the neurons whose activations differ most between clean and corrupted inputs, and those that become dead."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

if __package__ != "Neuron_Selection":  # started as a file, perhaps not installed
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from Neuron_Selection.command_line import (
    Console,
    SuiteParser,
    add_agent_flags,
    add_input_ids_flag,
    add_shared_flags,
    agent_options,
    positive_int,
    script,
)
from Neuron_Selection.FileFormats.agent_zip.agent_folder import CORRUPTED
from Neuron_Selection.next_command import next_command


def build_parser() -> argparse.ArgumentParser:
    """The flags of this script."""
    parser = SuiteParser(
        description=f"{__doc__} A large difference is no evidence of a causal effect; patch the neurons to measure it.",
        example="python Neuron_Selection/find_different_neurons.py --agent_path my_agent --top 10",
    )
    add_agent_flags(parser)
    parser.add_argument(
        "--clean",
        default="clean_activations.npz",
        metavar="FILE",
        help="activations of the clean run, npz or JSON",
    )
    parser.add_argument(
        "--corrupted", default="corrupted_activations.npz", metavar="FILE", help="activations of the corrupted run"
    )
    parser.add_argument("--layers", nargs="+", metavar="LAYER", help="layers to compare (default: all stored layers)")
    add_input_ids_flag(parser)
    parser.add_argument("--top", type=positive_int, default=10, help="number of neurons to show per layer")
    parser.add_argument("--allow_mismatch", action="store_true", help="accept activations of a different agent")
    add_shared_flags(parser, writes=False)
    return parser


@script(build_parser)
def main(args: argparse.Namespace, console: Console) -> None:
    """Compare, print, suggest the next command."""
    from Neuron_Selection.FileFormats.inputs import ids_from_arguments
    from Neuron_Selection.FileFormats.patch_spec import format_patch_spec
    from Neuron_Selection.PatchingTooling import PatchingExperiment
    from Neuron_Selection.PatchingTooling.run_differences import compare_runs

    experiment = PatchingExperiment(args.agent_path, **agent_options(args))
    compared = compare_runs(
        experiment,
        args.clean,
        args.corrupted,
        layers=args.layers,
        input_ids=ids_from_arguments(args.input_ids),
        top=args.top,
        allow_mismatch=args.allow_mismatch,
    )
    spec = format_patch_spec(compared["patch"])
    console.result(compared, [*_lines(compared), *(["", "suggested patch spec:", spec] if spec else [])])
    if spec:
        name, recorded, _ = Path(args.corrupted).name.partition("_activations")
        target = f"{name}_inputs.json" if recorded else CORRUPTED
        agent = ("--agent_path", args.agent_path, "--target_input", target)
        words = ["--source_activations", args.clean, "--patch_spec", spec]
        words += ["--input_ids", *args.input_ids] if args.input_ids else []
        words += ["--allow_mismatch"] if args.allow_mismatch else []
        console.say(f"next: {next_command('activation_patching.py', *agent, *words, loading=args)}")


def _lines(compared: dict[str, Any]) -> list[str]:
    lines = [f"{compared['inputs']} inputs: {compared['clean']} and {compared['corrupted']}"]
    for name, layer in compared["layers"].items():
        lines += [
            "",
            f"{name} ({layer['kind']}, {layer['role']}): mean |clean - corrupted|, share of inputs in the top",
        ]
        lines += [f"  neuron {r['neuron']:>5}  {r['difference']:>12.6g}  {r['top_share']:>6.0%}" for r in layer["top"]]
        if not layer["top"]:
            lines.append("  no neuron differs")
        for change, dead in (("active in clean, dead in corrupted", "dead_in_corrupted"),
                          ("dead in clean, active in corrupted", "dead_in_clean")):  # fmt: skip
            if layer["dead_test"] is not None:
                shown = list(layer[dead].items())[:10]
                named = ", ".join(f"{neuron} ({share:.0%})" for neuron, share in shown) or "none"
                more = f", and {len(layer[dead]) - len(shown)} more" if len(layer[dead]) > len(shown) else ""
                lines.append(f"  {change} (dead: {layer['dead_test']}): {named}{more}")
    return lines


if __name__ == "__main__":
    sys.exit(main())
