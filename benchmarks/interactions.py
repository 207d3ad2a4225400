"""What the interactions of all pairs of a layer cost, against one forward pass under hooks for each pair of neurons.

    python benchmarks/interactions.py [--rounds 5]

The first hidden layer of the example agent: 128 neurons, 8,128 pairs of them, on 100 pairs of inputs, one direction.
"""

from __future__ import annotations

import argparse
import itertools
import os
import statistics
from pathlib import Path

os.environ.update(dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1"))

import numpy as np
from competitors import batched_hooks
from measuring import interleaved, median_ratio

from Neuron_Selection.AnalysisTooling.experiment_statistics import Sampling
from Neuron_Selection.AnalysisTooling.measures.clusters import clusters_of
from Neuron_Selection.ExperimentTooling.interactions.direction import Rules, interactions_of
from Neuron_Selection.ExperimentTooling.interactions.pairs import sum_pairs
from Neuron_Selection.ExperimentTooling.interactions.run import INTERVALS_OF_ALL
from Neuron_Selection.ExperimentTooling.interactions.set_effects import Players, set_effects
from Neuron_Selection.ExperimentTooling.interactions.shapley import exact_values, sampled_values
from Neuron_Selection.ExperimentTooling.minimal_sets.explain import single_effects
from Neuron_Selection.ExperimentTooling.minimal_sets.mixtures import mixtures_of
from Neuron_Selection.PatchingTooling import OpenedAgent

AGENT = Path(__file__).resolve().parents[1] / "examples" / "lava_crossing" / "agent"
LAYER = "q_net.1"


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5, help="how often each runs, in turn")
    args = parser.parse_args()
    agent, hooks = OpenedAgent(AGENT, engine="numpy"), OpenedAgent(AGENT)
    source, target = agent.inputs("clean_inputs.json"), agent.inputs("corrupted_inputs.json")
    mixtures = mixtures_of(agent.network, LAYER, target, source)
    changes, gaps = single_effects(mixtures)
    everyone = Players(mixtures=[mixtures], neurons=[np.arange(mixtures.layer.width)])
    sixteen = Players(mixtures=[mixtures], neurons=[np.sort(np.argsort(-np.abs(changes.sum(axis=0)))[:16])])
    clusters = clusters_of(target.ids, source.clusters, "auto", where=source.where)
    no_orders = Rules(threshold=0.01, q_threshold=None, permutations=0)
    of_p, of_intervals = Sampling(), Sampling(resamples=INTERVALS_OF_ALL)
    import torch  # after the suite, which sets MKL_CBWR

    torch.set_num_threads(1)
    module, observations = hooks.torch_network.module, torch.as_tensor(np.asarray(target.observations, np.float32))
    values = {LAYER: torch.as_tensor(mixtures.source, dtype=torch.float32)}
    patches = [{LAYER: pair} for pair in itertools.combinations(range(mixtures.layer.width), 2)]
    calls = {
        "all pairs": lambda: sum_pairs(everyone, set_effects(everyone), gaps, clusters),
        "all pairs, intervals, p and q": lambda: interactions_of(
            everyone, clusters, "denoising", rules=no_orders, sampling=of_p, intervals=of_intervals
        ),
        "Shapley values of 16, all subsets": lambda: exact_values(sixteen, set_effects(sixteen)),
        "Shapley values of 128, 100 orders": lambda: sampled_values(
            everyone, set_effects(everyone), permutations=100, seed=0
        ),
        "batched hooks, the same pairs": lambda: batched_hooks(module, observations, values, patches),
    }
    times = interleaved(calls, rounds=args.rounds)
    print(f"{len(patches):,} pairs of neurons, {len(target.ids)} pairs of inputs, one direction")
    for name, seconds in times.items():
        print(f"{name:<36}{statistics.median(seconds):8.3f} CPU s")
    ratio = median_ratio(times["batched hooks, the same pairs"], times["all pairs"])
    print(f"batched hooks take {ratio:.0f} x as long as all pairs")


if __name__ == "__main__":
    main()
