"""Find neurons that work together or stand in for each other: pairwise interactions, Shapley values, groups."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

if __package__ != "Neuron_Selection.ExperimentTooling":  # started as a file, perhaps not installed
    sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from Neuron_Selection.command_line import (
    Console,
    SuiteParser,
    add_agent_flags,
    add_cluster_flag,
    add_input_ids_flag,
    add_plot_flag,
    add_shared_flags,
    agent_options,
    number,
    positive_int,
    script,
    whole_number,
)
from Neuron_Selection.ExperimentTooling.pair_flags import add_direction_flag, add_pair_flags, pair_words
from Neuron_Selection.next_command import next_command


def build_parser() -> argparse.ArgumentParser:
    """The flags of this script."""
    parser = SuiteParser(
        description=f"{__doc__} I(i, j) = E(ij) - E(i) - E(j) for every two of the neurons that have the largest "
        "effect alone, with intervals and q values over clusters of inputs.",
        example="python Neuron_Selection/ExperimentTooling/find_interactions.py --agent_path my_agent \\\n"
        "      --neurons 16",
    )
    add_agent_flags(parser)
    add_pair_flags(parser)
    parser.add_argument(
        "--layers",
        nargs="+",
        metavar="LAYER",
        help="one layer or two (default: the last hidden activation but one; in the last one the scores are linear, so "
        "that nothing interacts)",
    )
    chosen = parser.add_mutually_exclusive_group()
    chosen.add_argument(
        "--neurons", type=positive_int, default=32, metavar="N", help="the N most important neurons of each layer"
    )
    chosen.add_argument("--all", action="store_true", help="all neurons of the layers")
    add_direction_flag(parser)
    parser.add_argument(
        "--threshold",
        type=number,
        default=0.01,
        help="effects and interactions below this share of the margin are taken as 0 when pairs are named",
    )
    parser.add_argument(
        "--q_threshold", type=number, metavar="Q", help="largest false discovery rate of an interaction with a name"
    )
    parser.add_argument(
        "--permutations",
        type=whole_number,
        default=100,
        metavar="N",
        help="random orders for Shapley values of more than 16 neurons; 0 for no such values; up to 16, all subsets "
        "are run",
    )
    add_cluster_flag(parser)
    parser.add_argument("--confidence", type=number, default=0.95, help="confidence level of the intervals")
    parser.add_argument(
        "--resamples",
        type=positive_int,
        help="number of resamples for intervals and p values (default: 9999; for the intervals of --all 999)",
    )
    parser.add_argument("--seed", type=whole_number, default=0, help="seed of the resampling and of the random orders")
    add_input_ids_flag(parser, of="pairs")
    parser.add_argument("--output_prefix", default="interactions", help="name of the result files")
    parser.add_argument("--output_dir", help="a folder instead of the agent's patching_results/")
    add_plot_flag(parser, of="the interactions of every two neurons")
    add_shared_flags(parser)
    return parser


@script(build_parser)
def main(args: argparse.Namespace, console: Console) -> None:
    """Find, save, show, name the next command."""
    from Neuron_Selection.DrawingTooling.plot_files import check_plot, save_plot
    from Neuron_Selection.ExperimentTooling.interactions import find_interactions
    from Neuron_Selection.ExperimentTooling.interactions.lines import interaction_lines, next_patch, remarks
    from Neuron_Selection.ExperimentTooling.interactions.pictures import draw_interactions
    from Neuron_Selection.FileFormats.inputs import ids_from_arguments
    from Neuron_Selection.FileFormats.results.interactions_file import INTERACTION_FILES, load_interactions
    from Neuron_Selection.PatchingTooling import open_agent

    check_plot(args.plot)
    agent = open_agent(args.agent_path, **agent_options(args))

    def progress(directions: Sequence[str]) -> Iterator[str]:
        for direction in console.progress(directions, total=len(directions), unit="direction"):
            if agent.engine == "torch":  # minutes, if there are many pairs
                console.say(f"{direction}: every two neurons, then Shapley values")
            yield direction

    request = {name: getattr(args, name) for name in _REQUEST}
    found = find_interactions(agent, **request, input_ids=ids_from_arguments(args.input_ids), progress=progress)
    if found.was_up_to_date:
        console.say(f"{found.path}: up to date, left as it is")
    written = {kind: str(path) for kind, path in INTERACTION_FILES.paths(found.path).items()}
    written |= save_plot(args.plot, lambda: draw_interactions(load_interactions(found.path)), overwrite=args.overwrite)
    patch = next_patch(found.document)
    following = None if patch is None else _next_command(args, *patch)
    lines = [*interaction_lines(found.document), *remarks(found.document), f"engine {agent.engine}, {agent.dtype}"]
    summary = {
        direction: {key: one[key] for key in ("kinds", "shapley", "groups", "strongest")}
        for direction, one in found.document.items()
    }
    console.result(
        {**written, "engine": agent.engine, "dtype": agent.dtype, "summary": summary, "next": following},
        [*lines, *written.values()],
    )
    if following is not None:
        console.say(f"next: {following}")


_REQUEST = (
    "clean", "corrupted", "layers", "neurons", "all", "direction", "threshold", "q_threshold", "permutations",
    "cluster_by", "confidence", "resamples", "seed", "output_prefix", "output_dir", "overwrite",
)  # fmt: skip


def _next_command(args: argparse.Namespace, direction: str, spec: str) -> str:
    words = ["--direction", direction, "--patch_spec", spec, "--output_prefix", f"{args.output_prefix}_patched"]
    return next_command("activation_patching.py", *pair_words(args), *words, loading=args)


if __name__ == "__main__":
    sys.exit(main())
