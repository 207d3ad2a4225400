"""Generate clean and corrupted inputs: states of the agent's greedy paths, before and after one edit of the grid."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

if __package__ != "Neuron_Selection.ObservationTooling":  # started as a file, perhaps not installed
    sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from Neuron_Selection.command_line import (
    Console,
    SuiteParser,
    add_agent_flags,
    add_shared_flags,
    agent_options,
    number,
    positive_int,
    script,
    whole_number,
)


def build_parser() -> argparse.ArgumentParser:
    """The flags of this script."""
    parser = SuiteParser(
        description=f"{__doc__} The agent must have the 151 inputs described in egocentric_view.py.",
        example="python Neuron_Selection/ObservationTooling/generate_pairs.py --agent_path my_agent --n_pairs 100",
    )
    add_agent_flags(parser)
    parser.add_argument("--env_id", default="MiniGrid-LavaCrossingS9N1-v0", help="MiniGrid environment of the agent")
    parser.add_argument("--n_pairs", type=positive_int, default=100, help="number of pairs to find")
    parser.add_argument("--first_env_seed", type=whole_number, default=81110, help="first environment seed to try")
    parser.add_argument("--n_env_seeds", type=positive_int, default=1000, help="number of environment seeds to try")
    parser.add_argument(
        "--min_margin", type=number, default=0.02, help="smallest lead of the greedy action, in both inputs"
    )
    parser.add_argument("--seed", type=whole_number, default=1, help="seed of the choice among the pairs found")
    add_shared_flags(parser)
    return parser


@script(build_parser)
def main(args: argparse.Namespace, console: Console) -> None:
    """Generate, save, count."""
    from collections import Counter

    from Neuron_Selection.FileFormats.agent_zip.agent_folder import find_agent
    from Neuron_Selection.ObservationTooling.lava_crossing.pair_files import refuse_to_replace, save_pairs
    from Neuron_Selection.ObservationTooling.lava_crossing.pairs import generate_pairs
    from Neuron_Selection.PatchingTooling import PatchingExperiment

    folder = find_agent(args.agent_path).folder
    if not args.overwrite:
        refuse_to_replace(folder)
    pairs = generate_pairs(
        args.env_id,
        PatchingExperiment(args.agent_path, **agent_options(args)).q_values,
        n_pairs=args.n_pairs,
        env_seeds=range(args.first_env_seed, args.first_env_seed + args.n_env_seeds),
        min_margin=args.min_margin,
        seed=args.seed,
    )
    written = [str(path) for path in save_pairs(folder, pairs)]
    kinds = dict(sorted(Counter(pair.edit.kind for pair in pairs).items()))
    clusters = len({pair.place.seed for pair in pairs})
    console.result(
        {"pairs": len(pairs), "clusters": clusters, "edits": kinds, "written": written},
        [
            f"{len(pairs)} pairs in {clusters} clusters: " + ", ".join(f"{n} {kind}" for kind, n in kinds.items()),
            *written,
        ],
    )


if __name__ == "__main__":
    sys.exit(main())
