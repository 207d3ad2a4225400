"""How far any set of neurons could move one input's Q-values: interval bounds behind one layer of an MLP.

At the last activation they are exact, since Q is linear there. Elsewhere intervals run through Linear layers by their
signs and through activations that never fall (Gowal et al. 2018, arXiv 1810.12715). The effect need not be monotone:
every combination of the free neurons lies between the two ends.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from Neuron_Selection.ExperimentTooling.minimal_sets.goals import Requirements
from Neuron_Selection.ExperimentTooling.minimal_sets.mixtures import Mixtures
from Neuron_Selection.PatchingTooling.numpy_network.engine import FastEngine
from Neuron_Selection.PatchingTooling.numpy_network.mlp import FastMlp

_NEVER_FALLING = frozenset({
    "ReLU", "ReLU6", "LeakyReLU", "RReLU", "ELU", "CELU", "SELU", "Tanh", "Sigmoid", "Softplus", "Softsign",
    "LogSigmoid", "Hardtanh", "Hardsigmoid", "Identity",
})  # fmt: skip
_SLACK = 1e-9  # of the largest Q-value: rounding must not shut out a set that reaches the goal


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Tail:
    """What follows the units that one layer's neurons feed, for one input.

    ``number``: which Linear reads the neurons. ``pushes``: (width, units), what each neuron adds to its output when it
    is taken from the source; ``start``: (units,), its output without any.
    """

    network: FastMlp
    number: int
    pushes: np.ndarray
    start: np.ndarray

    @property
    def is_linear(self) -> bool:
        """Whether Q is linear in the neurons."""
        return self.number == len(self.network.columns) - 1


def tail_of(mixtures: Mixtures, row: int) -> Tail | None:
    """The tail behind the mixtures' layer; None where there is no bound.

    There is none for hooks, and none where an activation falls somewhere.
    """
    if not isinstance(mixtures.engine, FastEngine):
        return None
    network = mixtures.engine.network
    position = network.names.index(mixtures.layer.name)
    if position == 2 * len(network.columns) - 1:  # the Q-values themselves
        return None
    kinds = [layer.kind for layer in network.layers.layers.values()]
    number = (position + 1) // 2
    if not set(kinds[2 * number + 2 :: 2]) <= _NEVER_FALLING:
        return None
    before, after = (values[row].astype(np.float64) for values in (mixtures.target, mixtures.source))
    if position % 2:
        before, after = (network.activations[number - 1].compute(values) for values in (before, after))
    columns = network.columns[number][: len(before)]
    return Tail(
        network=network,
        number=number,
        pushes=(after - before)[:, None] * columns,
        start=before @ columns + network.biases[number],
    )


def could_reach(tail: Tail, asked: Requirements, chosen: np.ndarray, free: np.ndarray) -> np.ndarray:
    """Whether some of the free neurons, added to the chosen ones, may reach what is asked.

    :param chosen: (k, width), and so ``free``
    :return: (k,); False is certain, True is not, unless the tail is linear and one inequality is asked
    """
    if tail.is_linear:
        pushes, start = linear_differences(tail, asked)
        best = start + chosen @ pushes + free @ np.maximum(pushes, 0.0)
        return _allowed(best, tail, asked)
    fixed = tail.start + chosen @ tail.pushes
    high = fixed + free @ np.maximum(tail.pushes, 0.0)
    low = fixed + free @ np.minimum(tail.pushes, 0.0)
    return _allowed(_highest_differences(tail, asked, low, high), tail, asked)


def least_size(tail: Tail, asked: Requirements) -> int:
    """A number of neurons below which no set reaches what is asked, whichever they are."""
    if tail.is_linear:
        pushes, start = linear_differences(tail, asked)
        best = start + _best_of_each_size(pushes)
    else:
        high = tail.start + _best_of_each_size(tail.pushes)
        low = tail.start - _best_of_each_size(-tail.pushes)
        best = _highest_differences(tail, asked, low, high)
    allowed = _allowed(best, tail, asked)
    return int(np.argmax(allowed)) if allowed.any() else len(best)


def _best_of_each_size(pushes: np.ndarray) -> np.ndarray:
    """The most that 0, 1, 2, ... neurons add to each unit, (width + 1, units)."""
    positive = -np.sort(-np.maximum(pushes, 0.0), axis=0)
    return np.concatenate([np.zeros((1, pushes.shape[1])), np.cumsum(positive, axis=0)])


def linear_differences(tail: Tail, asked: Requirements) -> tuple[np.ndarray, np.ndarray]:
    """Pushes and start of ``Q[ahead] - Q[behind]`` in place of Q, where the tail is linear."""
    ahead, behind = asked.actions.T
    return tail.pushes[:, ahead] - tail.pushes[:, behind], tail.start[ahead] - tail.start[behind]


def _highest_differences(tail: Tail, asked: Requirements, low: np.ndarray, high: np.ndarray) -> np.ndarray:
    network, last = tail.network, len(tail.network.columns) - 1
    for number in range(tail.number, last):
        low, high = (network.activations[number].compute(values) for values in (low, high))
        columns, bias = network.columns[number + 1], network.biases[number + 1]
        if number + 1 == last:
            ahead, behind = asked.actions.T
            columns, bias = columns[:, ahead] - columns[:, behind], bias[ahead] - bias[behind]
        rising, falling = np.maximum(columns, 0.0), np.minimum(columns, 0.0)
        low, high = low @ rising + high @ falling + bias, high @ rising + low @ falling + bias
    return high


def _allowed(best: np.ndarray, tail: Tail, asked: Requirements) -> np.ndarray:
    """:param best: (k, r), the highest differences."""
    scale = max(1.0, float(np.abs(best).max(initial=0.0)), float(np.abs(tail.start).max(initial=0.0)))
    enough = best >= asked.least - _SLACK * scale
    return np.asarray(enough.all(axis=1) if asked.needs_all else enough.any(axis=1))
