"""Find the smallest sets of neurons that explain decisions: sufficient (denoising) and necessary (noising) ones."""

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
    add_input_ids_flag,
    add_plot_flag,
    add_shared_flags,
    agent_options,
    number,
    script,
    whole_number,
)
from Neuron_Selection.ExperimentTooling.pair_flags import add_direction_flag, add_pair_flags, pair_words
from Neuron_Selection.next_command import next_command


def build_parser() -> argparse.ArgumentParser:
    """The flags of this script."""
    parser = SuiteParser(
        description=f"{__doc__} From each whole layer down to a set of which no neuron can be left out, every removal "
        "run; for each pair and for all together; and how many first neurons of each ranking would have done.",
        example="python Neuron_Selection/ExperimentTooling/find_minimal_sets.py --agent_path my_agent \\\n"
        "      --direction denoising --goal matches_source",
    )
    add_agent_flags(parser)
    add_pair_flags(parser)
    parser.add_argument(
        "--layers",
        nargs="+",
        metavar="LAYER",
        help="layers to search, each by itself (default: the activation after every hidden Linear and convolution)",
    )
    add_direction_flag(
        parser, of="clean into corrupted (sufficient sets), corrupted into clean (necessary ones), or both"
    )
    parser.add_argument(
        "--goal",
        default="matches_source",
        metavar="GOAL",
        help="flip: another action; matches_source: the source run's action; recovery=0.9: that share of the margin",
    )
    parser.add_argument(
        "--share",
        type=number,
        default=1.0,
        help="share of the pairs that one set for all pairs must explain; not with --goal recovery, which is judged "
        "by a ratio of sums",
    )
    parser.add_argument(
        "--budget",
        type=whole_number,
        default=0,
        metavar="N",
        help="visit up to N sets of each pair, the smallest first, to list all minimal sets and prove the smallest; "
        "0 visits none",
    )
    add_input_ids_flag(parser, of="pairs")
    parser.add_argument(
        "--random_orders", type=whole_number, default=10, metavar="N", help="random orders to compare the rankings with"
    )
    parser.add_argument("--seed", type=whole_number, default=0, help="seed of the random orders")
    parser.add_argument("--output_prefix", default="minimal_sets", help="name of the result files")
    parser.add_argument("--output_dir", help="a folder instead of the agent's patching_results/")
    add_plot_flag(parser, of="the curves of the rankings")
    add_shared_flags(parser)
    return parser


@script(build_parser)
def main(args: argparse.Namespace, console: Console) -> None:
    """Search, save, show, name the next command."""
    from Neuron_Selection.DrawingTooling.plot_files import check_plot, save_plot
    from Neuron_Selection.ExperimentTooling.hidden_layers import layers_left_out
    from Neuron_Selection.ExperimentTooling.minimal_sets import find_minimal_sets
    from Neuron_Selection.ExperimentTooling.minimal_sets.lines import next_patch, remarks, set_lines
    from Neuron_Selection.ExperimentTooling.minimal_sets.pictures import draw_ranking_curves
    from Neuron_Selection.FileFormats.inputs import ids_from_arguments
    from Neuron_Selection.FileFormats.results.minimal_sets_file import MINIMAL_SET_FILES, load_curves
    from Neuron_Selection.PatchingTooling import open_agent

    check_plot(args.plot)
    agent = open_agent(args.agent_path, **agent_options(args))
    for name, why in layers_left_out(agent).items() if args.layers is None else ():
        console.say(f"left out: {name} ({why})")

    def progress(sites: Sequence[tuple[str, str]]) -> Iterator[tuple[str, str]]:
        for place, (direction, layer) in enumerate(console.progress(sites, total=len(sites), unit="layer"), start=1):
            if agent.engine == "torch" and not sys.stderr.isatty():  # minutes, if there are many pairs
                console.say(f"{direction}, {layer}: layer {place} of {len(sites)}")
            yield direction, layer

    request = {name: getattr(args, name) for name in _REQUEST}
    found = find_minimal_sets(agent, **request, input_ids=ids_from_arguments(args.input_ids), progress=progress)
    if found.was_up_to_date:
        console.say(f"{found.path}: up to date, left as it is")
    for line in agent.scores_described:
        console.say(line)
    plot = save_plot(args.plot, lambda: draw_ranking_curves(load_curves(found.path)), overwrite=args.overwrite)
    written = {kind: str(path) for kind, path in MINIMAL_SET_FILES.paths(found.path).items()} | plot
    patch = next_patch(found.document)
    summary = {
        direction: {layer: site["summary"] for layer, site in layers.items()}
        for direction, layers in found.document.items()
    }
    following = None if patch is None else _next_command(args, *patch)
    lines = [*set_lines(found.document, args.goal), *remarks(found.document), f"engine {agent.engine}, {agent.dtype}"]
    console.result(
        {**written, "engine": agent.engine, "dtype": agent.dtype, "summary": summary, "next": following},
        [*lines, *written.values()],
    )
    if following is not None:
        console.say(f"next: {following}")


_REQUEST = (
    "clean", "corrupted", "layers", "direction", "goal", "share", "budget", "random_orders", "seed", "output_prefix",
    "output_dir", "overwrite",
)  # fmt: skip


def _next_command(args: argparse.Namespace, direction: str, spec: str) -> str:
    words = ["--direction", direction, "--patch_spec", spec, "--output_prefix", f"{args.output_prefix}_patched"]
    return next_command("activation_patching.py", *pair_words(args), *words, loading=args)


if __name__ == "__main__":
    sys.exit(main())
