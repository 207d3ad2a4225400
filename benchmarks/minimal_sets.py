"""What 1-minimal sets cost: side by side, against a hook and a one-row forward for every set that is run.

    python benchmarks/minimal_sets.py [--rounds 5] [--hook_pairs 4]

100 pairs x both activations x both directions of the example agent. The hook loop runs the very same searches, of a few
pairs, one set after the other on the real q_net; its time is scaled up by the number of sets that all pairs take.
"""

from __future__ import annotations

import argparse
import os
import statistics
import time
from pathlib import Path

os.environ.update(dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1"))

import numpy as np

from Neuron_Selection.ExperimentTooling.minimal_sets.explain import explain_pairs, single_effects
from Neuron_Selection.ExperimentTooling.minimal_sets.goals import Goal, parse_goal, reached
from Neuron_Selection.ExperimentTooling.minimal_sets.mixtures import Mixtures, mixtures_of
from Neuron_Selection.ExperimentTooling.minimal_sets.search import FoundSet, Search, run_searches, search_minimal_set
from Neuron_Selection.PatchingTooling import OpenedAgent

AGENT = Path(__file__).resolve().parents[1] / "examples" / "lava_crossing" / "agent"
LAYERS = ("q_net.1", "q_net.3")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5, help="how often both run, in turn")
    parser.add_argument("--hook_pairs", type=int, default=4, help="pairs of each site that the hook loop runs")
    args = parser.parse_args()
    goal = parse_goal("matches_source")
    fast, hooks = sites("numpy"), sites("torch")
    seconds: list[float] = []
    ratios: list[float] = []
    n_runs = 0
    for number in range(args.rounds + 1):
        start = time.process_time()
        explained = [one for site in fast for one in explain_pairs(site, [""] * len(site.target), goal)]
        spent = time.process_time() - start
        n_runs = sum(one.found.runs for one in explained if one.found is not None)
        start = time.process_time()
        looped = sum(runs_one_by_one(site, goal, args.hook_pairs) for site in hooks)
        per_set = (time.process_time() - start) / looped
        if number:  # the first round warms up
            seconds.append(spent)
            ratios.append(per_set * n_runs / spent)
    print(f"{len(fast)} sites of {len(fast[0].target)} pairs, {n_runs:,} sets run")
    print(f"in step, numpy engine       {statistics.median(seconds):8.2f} CPU s")
    print(f"hook loop, the same sets    {statistics.median(ratios):8.0f} x as long")


def sites(engine: str) -> list[Mixtures]:
    """Every layer in both directions."""
    agent = OpenedAgent(AGENT, engine=engine, dtype="float64")
    clean, corrupted = agent.inputs("clean_inputs.json"), agent.inputs("corrupted_inputs.json")
    runs = ((corrupted, clean), (clean, corrupted))
    return [mixtures_of(agent.network, layer, target, source) for target, source in runs for layer in LAYERS]


def runs_one_by_one(mixtures: Mixtures, goal: Goal, n_pairs: int) -> int:
    """Search the first pairs with a hook and a one-row forward a set; how many sets that were."""
    import torch

    from Neuron_Selection.PatchingTooling.torch_network.network import TorchNetwork

    assert isinstance(mixtures.network, TorchNetwork)
    net = mixtures.network.module
    module, effects, count = net.get_submodule(mixtures.layer.name), single_effects(mixtures)[0], 0

    def patched(row: int, mask: np.ndarray) -> np.ndarray:
        observation = torch.as_tensor(np.asarray(mixtures.observations)[row : row + 1], dtype=torch.float64)
        indices, source = torch.as_tensor(np.flatnonzero(mask)), torch.as_tensor(mixtures.source[row])

        def swap(_module: torch.nn.Module, _args: object, output: torch.Tensor) -> torch.Tensor:
            output = output.clone()
            output[:, indices] = source[indices]
            return output

        handle = module.register_forward_hook(swap)
        try:
            with torch.no_grad():
                return np.asarray(net(observation))
        finally:
            handle.remove()

    for row in range(n_pairs):
        order = np.argsort(effects[row], kind="stable")
        order = order[mixtures.moves[row][order]]
        before, after = mixtures.baseline[[row]], mixtures.source_q_values[[row]]

        def evaluate(
            asked: list[tuple[int, np.ndarray]], row: int = row, before: np.ndarray = before, after: np.ndarray = after
        ) -> np.ndarray:
            return np.array([reached(goal, before, patched(row, mask), after)[0] for mask in asked[0][1]])

        searches: dict[int, Search[FoundSet | None]] = {row: search_minimal_set(order, mixtures.layer.width)}
        found = run_searches(searches, evaluate)[row]
        count += found.runs if found is not None else 2
    return count


if __name__ == "__main__":
    main()
