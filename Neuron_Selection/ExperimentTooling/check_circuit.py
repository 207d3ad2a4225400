"""Evaluate a circuit: faithfulness, completeness, minimality, and tests of whether it explains decisions."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

if __package__ != "Neuron_Selection.ExperimentTooling":  # started as a file, perhaps not installed
    sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from Neuron_Selection.command_line import (
    Console,
    SuiteParser,
    add_agent_flags,
    add_cluster_flag,
    add_input_ids_flag,
    add_shared_flags,
    agent_options,
    positive_int,
    script,
    whole_number,
)
from Neuron_Selection.ExperimentTooling.pair_flags import add_pair_flags, pair_words
from Neuron_Selection.next_command import handed_on, next_command


def build_parser() -> argparse.ArgumentParser:
    """The flags of this script."""
    parser = SuiteParser(
        description=f"{__doc__} Measures after Wang et al. (2022), tests after Shi et al. (2024).",
        example="python Neuron_Selection/ExperimentTooling/check_circuit.py --agent_path my_agent",
    )
    add_agent_flags(parser)
    given = parser.add_mutually_exclusive_group()
    given.add_argument(
        "--circuit",
        metavar="FILE",
        help="a circuit of patch_edges.py, or edited, looked for in the agent's patching_results/ first (default: "
        "circuit.json)",
    )
    given.add_argument(
        "--patch_spec",
        metavar="SPEC",
        help='instead: the neurons of a patch such as "q_net.1:5,80", with all edges between them; layers that it does '
        "not name are whole",
    )
    given.add_argument("--patches_file", metavar="FILE", help="instead: a definitions file with one such patch")
    add_pair_flags(parser)
    parser.add_argument(
        "--ablate",
        metavar="KIND",
        help="what all other edges carry: corrupted, mean, resample, zero, noise=K or constant=V (default: as in the "
        "circuit's file; else corrupted)",
    )
    parser.add_argument("--reference_inputs", metavar="FILE", help="inputs for mean and noise (default: clean)")
    parser.add_argument(
        "--subsets", type=whole_number, default=10, metavar="N", help="random subsets for completeness and minimality"
    )
    parser.add_argument(
        "--random_circuits", type=positive_int, default=199, metavar="N", help="random circuits to compare with"
    )
    parser.add_argument(
        "--permutations", type=positive_int, default=999, metavar="N", help="of the equivalence and independence tests"
    )
    add_cluster_flag(parser)
    parser.add_argument("--seed", type=whole_number, default=0, help="seed of everything that is drawn")
    add_input_ids_flag(parser, of="pairs")
    parser.add_argument("--allow_mismatch", action="store_true", help="use a circuit of another agent")
    parser.add_argument("--output_prefix", default="circuit_check", help="name of the result file")
    parser.add_argument("--output_dir", help="a folder instead of the agent's patching_results/")
    add_shared_flags(parser)
    return parser


@script(build_parser)
def main(args: argparse.Namespace, console: Console) -> None:
    """Evaluate, save, show, name the next command."""
    from Neuron_Selection.ExperimentTooling.circuits import check_circuit
    from Neuron_Selection.ExperimentTooling.circuits.lines import check_lines
    from Neuron_Selection.FileFormats.inputs import ids_from_arguments
    from Neuron_Selection.PatchingTooling import open_agent

    agent = open_agent(args.agent_path, **agent_options(args))
    request = {name: getattr(args, name) for name in _REQUEST}

    def progress(edges: Sequence[tuple[int, int, int]]) -> Iterable[tuple[int, int, int]]:
        return console.progress(edges, total=len(edges), unit="edge")

    checked = check_circuit(agent, **request, input_ids=ids_from_arguments(args.input_ids), progress=progress)
    if checked.was_up_to_date:
        console.say(f"{checked.path}: up to date, left as it is")
    following = _next_command(args, checked.circuit_path) if checked.document["circuit"]["nodes"] else None
    console.result(
        {"results": str(checked.path), "engine": agent.engine, **checked.document, "next": following},
        [*check_lines(checked.document), f"engine {agent.engine}, {agent.dtype}", str(checked.path)],
    )
    if following is not None:
        console.say(f"next: {following}")


_REQUEST = (
    "circuit", "patch_spec", "patches_file", "clean", "corrupted", "ablate", "reference_inputs", "subsets",
    "random_circuits", "permutations", "cluster_by", "seed", "allow_mismatch", "output_prefix", "output_dir",
    "overwrite",
)  # fmt: skip


def _next_command(args: argparse.Namespace, circuit: Path | None) -> str:
    """The circuit's neurons as one patch."""
    words = [*pair_words(args), "--direction", "both"]
    words += ["--patch_spec", args.patch_spec] if circuit is None else ["--patches_file", handed_on(circuit)]
    words += ["--output_prefix", f"{args.output_prefix}_neurons"]
    return next_command("activation_patching.py", *words, loading=args)


if __name__ == "__main__":
    sys.exit(main())
