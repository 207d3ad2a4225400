"""Patch every edge between neighbouring layers; find the strongest paths, and the circuit of the strongest edges."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

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
from Neuron_Selection.next_command import handed_on, next_command

if TYPE_CHECKING:
    from Neuron_Selection.ExperimentTooling.node_chain import Link


def build_parser() -> argparse.ArgumentParser:
    """The flags of this script."""
    parser = SuiteParser(
        description=f"{__doc__} Edges join input entries, hidden neurons (channels, in a convolution) and scores. "
        "Along a patched edge only the receiving neuron sees the other run's value, and only its change runs on.",
        example="python Neuron_Selection/ExperimentTooling/patch_edges.py --agent_path my_agent",
    )
    add_agent_flags(parser)
    add_pair_flags(parser)
    add_direction_flag(
        parser, of="clean into corrupted, corrupted into clean, or both; the circuit is chosen by the mean |effect|"
    )
    add_input_ids_flag(parser, of="pairs")
    circuit = parser.add_argument_group("the circuit")
    circuit.add_argument(
        "--edges",
        type=positive_int,
        metavar="K",
        help="the K strongest edges that are on a path from the inputs to the scores (default: 100)",
    )
    circuit.add_argument(
        "--threshold", type=number, metavar="EFFECT", help="instead: the edges of at least this mean |effect|"
    )
    circuit.add_argument(
        "--ablate",
        default="corrupted",
        metavar="KIND",
        help="what all other edges carry: corrupted (values of the pair's corrupted run), mean, resample, zero, "
        "noise=K or constant=V",
    )
    circuit.add_argument(
        "--reference_inputs", metavar="FILE", help="inputs for --ablate mean and noise (default: clean)"
    )
    circuit.add_argument(
        "--subsets", type=whole_number, default=10, metavar="N", help="random subsets for completeness and minimality"
    )
    circuit.add_argument(
        "--random_orders", type=whole_number, default=5, metavar="N", help="random orders of all edges, as control"
    )
    parser.add_argument("--paths", type=whole_number, default=20, metavar="K", help="how many paths to list")
    parser.add_argument(
        "--beam",
        type=positive_int,
        default=100,
        metavar="N",
        help="beginnings of paths that are continued at each layer",
    )
    parser.add_argument(
        "--resamples", type=positive_int, default=999, metavar="N", help="draws of the intervals and the q values"
    )
    add_cluster_flag(parser)
    parser.add_argument("--seed", type=whole_number, default=0, help="seed of everything that is drawn")
    parser.add_argument("--output_prefix", help="put before the names of all files, as in PREFIX_edges.csv")
    parser.add_argument("--output_dir", help="a folder instead of the agent's patching_results/")
    add_plot_flag(parser, of="the faithfulness of circuits of more and more edges")
    add_shared_flags(parser)
    return parser


@script(build_parser)
def main(args: argparse.Namespace, console: Console) -> None:
    """Patch, save, show, name the next command."""
    from Neuron_Selection.DrawingTooling.plot_files import check_plot, save_plot
    from Neuron_Selection.ExperimentTooling.edges import patch_edges
    from Neuron_Selection.ExperimentTooling.edges.lines import edge_lines
    from Neuron_Selection.ExperimentTooling.edges.pictures import draw_edge_curve
    from Neuron_Selection.ExperimentTooling.node_chain import chain_of
    from Neuron_Selection.FileFormats.inputs import ids_from_arguments
    from Neuron_Selection.FileFormats.results.edges_file import load_edge_curve
    from Neuron_Selection.PatchingTooling import open_agent

    check_plot(args.plot)
    agent = open_agent(args.agent_path, **agent_options(args))
    for name, why in chain_of(agent).left_out.items():
        console.say(f"left out: edges before and out of {name} ({why})")

    def progress(sites: Sequence[tuple[str, Link]]) -> Iterator[tuple[str, Link]]:
        for direction, link in console.progress(sites, total=len(sites), unit="link"):
            if agent.engine == "torch" and not sys.stderr.isatty():  # minutes, if there are many pairs
                console.say(f"{direction}: edges of {link.sends} -> {link.receives}")
            yield direction, link

    request = {name: getattr(args, name) for name in _REQUEST}
    patched = patch_edges(agent, **request, input_ids=ids_from_arguments(args.input_ids), progress=progress)
    if patched.was_up_to_date:
        console.say(f"{patched.paths['results']}: up to date, left as it is")
    curve = patched.paths["results"]
    plot = save_plot(args.plot, lambda: draw_edge_curve(load_edge_curve(curve)), overwrite=args.overwrite)
    written = {kind: str(path) for kind, path in patched.paths.items()} | plot
    following = None
    if patched.document["circuit"]["edges"]:
        following = _next_command(args, patched.paths["circuit"])
    console.result(
        {**written, "engine": agent.engine, "dtype": agent.dtype, **patched.document, "next": following},
        [*edge_lines(patched.document), f"engine {agent.engine}, {agent.dtype}", *written.values()],
    )
    if following is not None:
        console.say(f"next: {following}")


_REQUEST = (
    "clean", "corrupted", "direction", "edges", "threshold", "ablate", "reference_inputs", "paths", "beam",
    "random_orders", "subsets", "resamples", "cluster_by", "seed", "output_prefix", "output_dir", "overwrite",
)  # fmt: skip


def _next_command(args: argparse.Namespace, circuit: Path) -> str:
    words = [*pair_words(args), "--circuit", handed_on(circuit)]
    words += ["--reference_inputs", args.reference_inputs] if args.reference_inputs else []
    words += ["--output_prefix", f"{args.output_prefix}_circuit_check"] if args.output_prefix else []
    return next_command("Neuron_Selection/ExperimentTooling/check_circuit.py", *words, loading=args)


if __name__ == "__main__":
    sys.exit(main())
