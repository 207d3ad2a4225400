"""What patching every edge costs: the suite, against hooks that run all edges out of a neuron in one batch.

    python benchmarks/edges.py [--rounds 5] [--senders 4]

All edges of the example agent, 100 pairs, both directions. The hooks run on the real network in float64: a pass of 100
rows with the sender patched, then one pass in which each receiver is patched in 100 rows of its own. They run for a few
senders of each link; their time is scaled up to all of them.
"""

from __future__ import annotations

import argparse
import os
import statistics
import time
from pathlib import Path
from typing import Any

os.environ.update(dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1"))

import numpy as np

from Neuron_Selection.ExperimentTooling.contrast_pairs import contrast_pairs
from Neuron_Selection.ExperimentTooling.edges.effects import direction_effects, target_run
from Neuron_Selection.ExperimentTooling.edges.patching import patch_link
from Neuron_Selection.ExperimentTooling.node_chain import SCORES, chain_of
from Neuron_Selection.FileFormats.directions import TARGETS
from Neuron_Selection.PatchingTooling import OpenedAgent
from Neuron_Selection.PatchingTooling.torch_network.hooks import observed

AGENT = Path(__file__).resolve().parents[1] / "examples" / "lava_crossing" / "agent"


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5, help="how often both run, in turn")
    parser.add_argument("--senders", type=int, default=4, help="senders of each link that the hooks run")
    args = parser.parse_args()
    agent = OpenedAgent(AGENT, engine="numpy")
    hooked = OpenedAgent(AGENT, engine="torch", dtype="float64")
    both = (agent.inputs("clean_inputs.json"), agent.inputs("corrupted_inputs.json"))
    pairs, chain = contrast_pairs(agent, *both, cluster_by="auto"), chain_of(agent)
    seconds: dict[str, list[float]] = {"patches": [], "with statistics": [], "hooks": []}
    for number in range(args.rounds + 1):
        spent = dict.fromkeys(seconds, 0.0)
        for direction, (target, source) in TARGETS.items():
            start = time.process_time()
            run, of_source = target_run(chain, pairs, target), chain.values(pairs.observations[source])
            for link in chain.links:
                for _ in patch_link(chain, link, run, of_source[link.number]):
                    pass
            spent["patches"] += time.process_time() - start
            start = time.process_time()
            direction_effects(chain, pairs, direction, chain.links, resamples=999, seed=0)
            spent["with statistics"] += time.process_time() - start
            for link in chain.links:
                start = time.process_time()
                for sender in range(args.senders):
                    values = of_source[link.number][:, sender]
                    by_hooks(hooked.torch_network, pairs.observations[target], link, sender, values)
                scale = chain.widths[link.number] / args.senders
                spent["hooks"] += (time.process_time() - start) * scale
        if number:  # the first round warms up
            for name, value in spent.items():
                seconds[name].append(value)
    medians = {name: statistics.median(values) for name, values in seconds.items()}
    print(f"{chain.n_edges:,} edges, {pairs.count} pairs, both directions")
    print(f"patches, numpy engine                  {medians['patches']:8.2f} CPU s")
    print(f"with intervals and q values            {medians['with statistics']:8.2f} CPU s")
    print(
        f"batched hooks, without statistics      {medians['hooks'] / medians['patches']:8.0f} x as long as the patches"
    )


def by_hooks(network: Any, observations: Any, link: Any, sender: int, values: np.ndarray) -> Any:
    """The scores under every edge out of a neuron."""
    import torch  # after the suite, which sets up its products

    replaced, n_pairs = torch.from_numpy(values), len(values)
    recorded: dict[str, Any] = {}

    def send(layer: str, output: Any) -> Any:
        if layer == link.receives:
            recorded[layer] = output.clone()
            return None
        output = output.clone()
        output[:, sender] = replaced
        return output

    layers = [link.sends] + ([] if link.receives == SCORES else [link.receives])
    with torch.no_grad(), observed(network.module, layers, send):
        scores = network.scores_of(network.tensors(observations, np.arange(n_pairs)))
    if link.receives == SCORES:
        return scores
    received = recorded[link.receives]
    width = received.shape[1]

    def receive(_layer: str, output: Any) -> Any:
        by_edge = output.view(width, n_pairs, width).clone()
        by_edge[range(width), :, range(width)] = received.T
        return by_edge.view(output.shape)

    with torch.no_grad(), observed(network.module, [link.receives], receive):
        return network.scores_of(network.tensors(observations, np.tile(np.arange(n_pairs), width)))


if __name__ == "__main__":
    main()
