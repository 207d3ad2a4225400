"""Write a definitions file for an agent: which neurons are to be patched in each of many experiments."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

if __package__ != "Neuron_Selection.ExperimentTooling":  # started as a file, perhaps not installed
    sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from Neuron_Selection.command_line import (
    Console,
    SuiteParser,
    add_agent_flags,
    add_shared_flags,
    agent_options,
    positive_int,
    script,
    whole_number,
)
from Neuron_Selection.next_command import handed_on, next_command


def build_parser() -> argparse.ArgumentParser:
    """The flags of this script."""
    parser = SuiteParser(
        description=f"{__doc__} Layers and widths come from the agent.",
        example="python Neuron_Selection/ExperimentTooling/generate_definitions.py --agent_path my_agent \\\n"
        "      --type groups --group_size 16 --output groups.json",
    )
    add_agent_flags(parser)
    parser.add_argument(
        "--type",
        choices=("single_neuron", "layer", "groups", "custom"),
        default="single_neuron",
        help="each hidden neuron, each hidden layer as a whole, groups of neighbours, or the patches of --patch_spec",
    )
    parser.add_argument("--layers", nargs="+", metavar="LAYER", help="these layers (default: the hidden ones)")
    parser.add_argument("--group_size", type=positive_int, help="neurons in a group, with --type groups (default: 8)")
    parser.add_argument("--patch_spec", nargs="+", metavar="SPEC", help="one experiment each, with --type custom")
    parser.add_argument(
        "--random_sets",
        type=whole_number,
        default=0,
        help="add this many random sets of each size as controls, which get no q and are not ranked; <stem>.meta.json "
        "next to the file lists them",
    )
    parser.add_argument("--seed", type=whole_number, help="seed of the random sets (default: 0)")
    parser.add_argument(
        "--output", metavar="FILE", help="the file to write (default: <type>_definitions.json in the agent's folder)"
    )
    add_shared_flags(parser)
    return parser


@script(build_parser)
def main(args: argparse.Namespace, console: Console) -> None:
    """List, save, count."""
    from Neuron_Selection.ExperimentTooling.definition_run import write_definitions
    from Neuron_Selection.ExperimentTooling.hidden_layers import layers_left_out
    from Neuron_Selection.FileFormats.provenance import meta_path
    from Neuron_Selection.PatchingTooling import OpenedAgent

    agent = OpenedAgent(args.agent_path, **agent_options(args))
    path, patches, is_new = write_definitions(
        agent,
        kind=args.type,
        layers=args.layers,
        group_size=args.group_size,
        patch_specs=args.patch_spec,
        sets=args.random_sets,
        seed=args.seed,
        output=args.output,
        overwrite=args.overwrite,
    )
    for name, why in layers_left_out(agent).items() if args.layers is None and args.patch_spec is None else ():
        console.say(f"left out: {name} ({why})")
    if not is_new:
        console.say(f"{path}: up to date, left as it is")
    layers = list(dict.fromkeys(layer for patch in patches for layer in patch))
    console.result(
        {"definitions": str(path), "experiments": len(patches), "layers": layers},
        [f"{len(patches)} experiments in {', '.join(layers)}", str(path)],
    )
    if args.random_sets:
        console.say(f"{meta_path(path)} lists the random sets: controls, without q and not ranked")
    words = ("--agent_path", args.agent_path, "--definitions", handed_on(path) if args.output else path.name)
    command = next_command("Neuron_Selection/ExperimentTooling/run_experiments.py", *words, loading=args)
    console.say(f"next: {command}")


if __name__ == "__main__":
    sys.exit(main())
