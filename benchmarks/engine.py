"""What the numpy engine saves: sweeps, specs, weights and gradients against hooks and autograd; and starting.

    python benchmarks/engine.py [--rounds 7] [--skip_start] [--skip_tools]

CPU seconds of one thread, medians of interleaved rounds; a ratio is how many times less than the other way. The other
ways run the agent's own q_net in float32, the engine computes in float64 (per-input gradients: their last product in
float32, as gradients.py stores them). One by one is measured on every 25th patch.
SUITE_AGENTS=FOLDER adds the published CartPole-v1 in it. captum and transformer-lens are installed into
benchmarks/.venv.
"""

# ruff: noqa: E402 - threads are set before numpy and torch are loaded
from __future__ import annotations

import argparse
import os
import statistics
import sys
import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
for variable in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ[variable] = "1"

import numpy as np
import torch
from channels import print_channels
from competitors import (
    Patch,
    batched_hooks,
    hooks_one_by_one,
    mean_of_backwards,
    per_input_gradients,
    set_weights,
)
from measuring import interleaved, median_ratio, rates
from networks import Case, example_case, published_case, random_case
from starting import print_start
from tools_apart import print_tools

from Neuron_Selection.errors import SuiteWarning
from Neuron_Selection.PatchingTooling.agent.interventions import replacing
from Neuron_Selection.PatchingTooling.agent.network import WeightChange, margin_weights
from Neuron_Selection.PatchingTooling.numpy_network.gradients import iterate_weight_gradients

SAMPLE = 25


def main() -> None:
    """Measure and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7, help="how often everything is measured")
    parser.add_argument("--skip_start", action="store_true", help="without the whole processes")
    parser.add_argument("--skip_tools", action="store_true", help="without captum and transformer-lens")
    args = parser.parse_args()
    torch.set_num_threads(1)
    warnings.filterwarnings("ignore", category=SuiteWarning)  # the other ways run as they do without the suite
    cases = [case for case in (example_case(), published_case(100), random_case([256, 256], 100)) if case]
    small = random_case([64, 64], 1000)
    for case in [*cases, small]:
        sweeps(case, args.rounds)
    for case in [*cases, small.with_pairs(100)]:
        specs(case, args.rounds)
        weights(case, args.rounds)
    for case in [*cases, small]:
        gradients(case.with_pairs(1000), args.rounds)
    print_channels(args.rounds)
    if not args.skip_tools:
        print_tools(cases[-1], args.rounds)
    if not args.skip_start:
        print_start(args.rounds)


def sweeps(case: Case, rounds: int) -> None:
    """Every hidden neuron patched alone."""
    patches = [{name: [n]} for name in case.activations for n in range(case.network.layers.widths[name])]
    table(
        f"sweep of {len(patches)} neurons, {len(case.target)} pairs, {case.name}",
        {
            "numpy engine": lambda: case.network.patched_many(case.target, case.every_neuron),
            "batched hooks": lambda: batched_hooks(case.q_net, case.inputs, case.tensors, patches),
            "hooks one by one": lambda: hooks_one_by_one(case.q_net, case.inputs, case.tensors, patches[::SAMPLE]),
        },
        {"hooks one by one": len(patches) / len(patches[::SAMPLE])},
        rounds,
    )


def specs(case: Case, rounds: int) -> None:
    """Random patches: small ones, small ones in two layers, half layers."""
    random, widths = np.random.default_rng(0), case.network.layers.widths
    hidden = list(case.network.sites)[1:-1]

    def some(name: str, count: int) -> list[int]:
        return [int(neuron) for neuron in random.permutation(widths[name])[:count]]

    small, double, half = [], [], []
    for _ in range(1000):
        name = hidden[random.integers(len(hidden))]
        small.append({name: some(name, int(random.integers(1, 9)))})
    for _ in range(250):
        pair = [hidden[random.integers(2)], hidden[-1 - random.integers(2)]]
        double.append({name: some(name, int(random.integers(1, 9))) for name in pair})
        name = hidden[random.integers(len(hidden))]
        half.append({name: some(name, widths[name] // 2)})
    for title, patches in (("small", small), ("small two-layer", double), ("half-layer", half)):
        table(
            f"{len(patches)} {title} specs, {len(case.target)} pairs, {case.name}",
            {
                "numpy engine": _patches_call(case, patches),
                "batched hooks": _hooks_call(batched_hooks, case, patches),
                "hooks one by one": _hooks_call(hooks_one_by_one, case, patches[::SAMPLE]),
            },
            {"hooks one by one": SAMPLE},
            rounds,
        )


def _patches_call(case: Case, patches: Sequence[Patch]) -> Callable[[], object]:
    tuples = [{name: tuple(neurons) for name, neurons in patch.items()} for patch in patches]
    return lambda: case.network.patched_many(case.target, [replacing(patch, case.source) for patch in tuples])


def _hooks_call(how: Callable[..., object], case: Case, patches: Sequence[Patch]) -> Callable[[], object]:
    return lambda: how(case.q_net, case.inputs, case.tensors, patches)


def weights(case: Case, rounds: int) -> None:
    """1,000 weights, each larger by a tenth, drawn evenly from all weights."""
    random = np.random.default_rng(0)
    named = [(name, parameter) for name, parameter in case.q_net.named_parameters() if name.endswith("weight")]
    sizes = np.array([parameter.numel() for _, parameter in named])
    changes: list[tuple[str, int, int, float]] = []
    for which in random.choice(len(named), 1000, p=sizes / sizes.sum()):
        name, parameter = named[which]
        row, column = (int(random.integers(side)) for side in parameter.shape)
        changes.append((name, row, column, 1.1 * parameter[row, column].item()))
    inputs = case.inputs
    singly = [inputs[row : row + 1] for row in range(len(inputs))]
    records = [WeightChange(parameter=name, row=r, column=c, value=value) for name, r, c, value in changes]
    table(
        f"1,000 weights, {len(case.target)} inputs, {case.name}",
        {
            "numpy engine": lambda: case.network.scores_of_changes(case.target, records),
            "set weight, batched": lambda: set_weights(case.q_net, [inputs], changes),
            "set weight, one by one": lambda: set_weights(case.q_net, singly, changes[::SAMPLE]),
        },
        {"set weight, one by one": SAMPLE},
        rounds,
    )


def gradients(case: Case, rounds: int) -> None:
    """Of the greedy Q-value, by every weight."""
    inputs = case.inputs
    actions = case.q_net(inputs).argmax(dim=1)
    q_weights = margin_weights(actions.numpy(), None, case.network.n_actions)
    each = per_input_gradients(case.q_net)

    def stream() -> None:
        for _ in iterate_weight_gradients(case.network, case.target, q_weights, dtype=np.dtype("float32")):
            pass

    def mean_of_each() -> None:
        for gradient in each(inputs, actions).values():
            gradient.abs().mean(dim=0)

    sizes = [linear.columns.size for linear in case.network.linears]
    multiply_adds = len(inputs) * (3 * sum(sizes) - sizes[0])
    rate, copied = rates()
    table(
        f"mean gradient magnitude, {len(inputs)} inputs, {case.name}",
        {
            "numpy engine": lambda: case.network.mean_gradients(case.target, q_weights, magnitudes=True),
            "a backward each": lambda: mean_of_backwards(case.q_net, inputs[::SAMPLE], actions[::SAMPLE].tolist()),
            "vmap(grad), mean": mean_of_each,
        },
        {"a backward each": SAMPLE},
        rounds,
        floor=max(multiply_adds / rate, 16 * sum(sizes) * -(-len(inputs) // 256) / copied),
    )
    table(
        f"per-input gradients, {len(inputs)} inputs, {case.name}",
        {"numpy engine": stream, "vmap(grad)": lambda: each(inputs, actions)},
        {},
        rounds,
        floor=4 * len(inputs) * sum(sizes) / copied,
    )


def table(
    title: str,
    calls: Mapping[str, Callable[[], object]],
    shares: Mapping[str, float],
    rounds: int,
    *,
    floor: float | None = None,
) -> None:
    """Measure and print; the first call is ours.

    :param shares: how many times more there is than was measured
    :param floor: the least that the work can cost on this machine, in seconds
    """
    times = {
        name: [shares.get(name, 1.0) * second for second in seconds]
        for name, seconds in interleaved(calls, rounds=rounds).items()
    }
    ours = next(iter(times.values()))
    print(f"\n{title}\n{'':<26}{'CPU ms':>12}{'x ours':>10}")
    for name, seconds in times.items():
        print(f"{name:<26}{1000 * statistics.median(seconds):>12.2f}{median_ratio(seconds, ours):>10.1f}")
    if floor is not None:
        print(f"{'this machine at best':<26}{1000 * floor:>12.2f}{floor / statistics.median(ours):>10.2f}")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
