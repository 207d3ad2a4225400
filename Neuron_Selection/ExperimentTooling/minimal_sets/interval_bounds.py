"""How far any set of neurons could change one input's Q-values: interval bounds after one layer of an MLP.

At the last activation they are exact, since Q is linear there. Elsewhere intervals run through Linear layers by their
signs and through monotone activations (Gowal et al. 2018, arXiv 1810.12715). The effect need not be monotone:
every combination of the free neurons is between the two ends.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from Neuron_Selection.ExperimentTooling.minimal_sets.goals import Requirements
from Neuron_Selection.ExperimentTooling.minimal_sets.mixtures import Mixtures
from Neuron_Selection.PatchingTooling.agent.network import Linear

MONOTONE = frozenset({
    "ReLU", "ReLU6", "LeakyReLU", "RReLU", "ELU", "CELU", "SELU", "Tanh", "Sigmoid", "Softplus", "Softsign",
    "LogSigmoid", "Hardtanh", "Hardsigmoid", "Identity",
})  # fmt: skip
_SLACK = 1e-9  # of the largest Q-value: rounding must not exclude a set that reaches the goal


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Tail:
    """What follows the units that one layer's neurons feed, for one input.

    ``linears``: from the one that reads the neurons to the scores. ``pushes``: (width, units), what each neuron adds to
    the first one's output when it is taken from the source; ``start``: (units,), its output without any.
    """

    linears: tuple[Linear, ...]
    pushes: np.ndarray
    start: np.ndarray

    @property
    def is_linear(self) -> bool:
        """Whether the scores are linear in the neurons."""
        return len(self.linears) == 1


def tail_of(mixtures: Mixtures, row: int) -> Tail | None:
    """The tail after the mixtures' layer; None where there is no bound.

    There is none for a network that is not known to be an MLP, and none if a later activation is not monotone.
    """
    name, layers = mixtures.layer.name, mixtures.network.layers.layers
    linears = mixtures.network.linears_after(name)
    if linears is None or name == mixtures.network.layers.output:
        return None
    before, after = (values[row].astype(np.float64) for values in (mixtures.target, mixtures.source))
    if linears[0].name == name:  # a pre-activation: the next Linear reads what its activation makes of it
        before, after = (linears[0].following.compute(values) for values in (before, after))
        linears = linears[1:]
    if not {layers[linear.activation].kind for linear in linears[:-1] if linear.activation} <= MONOTONE:
        return None
    columns = linears[0].columns[: len(before)]
    return Tail(linears=linears, pushes=(after - before)[:, None] * columns, start=before @ columns + linears[0].bias)


def could_reach(tail: Tail, required: Requirements, chosen: np.ndarray, free: np.ndarray) -> np.ndarray:
    """Whether some of the free neurons, added to the chosen ones, may meet the requirements.

    :param chosen: (k, width), like ``free``
    :return: (k,); False is certain, True is not, unless the tail is linear and there is one inequality
    """
    if tail.is_linear:
        pushes, start = linear_differences(tail, required)
        best = start + chosen @ pushes + free @ np.maximum(pushes, 0.0)
        return _allowed(best, tail, required)
    fixed = tail.start + chosen @ tail.pushes
    high = fixed + free @ np.maximum(tail.pushes, 0.0)
    low = fixed + free @ np.minimum(tail.pushes, 0.0)
    return _allowed(_highest_differences(tail, required, low, high), tail, required)


def least_size(tail: Tail, required: Requirements) -> int:
    """A number of neurons below which no set meets the requirements, whichever they are."""
    if tail.is_linear:
        pushes, start = linear_differences(tail, required)
        best = start + _best_of_each_size(pushes)
    else:
        high = tail.start + _best_of_each_size(tail.pushes)
        low = tail.start - _best_of_each_size(-tail.pushes)
        best = _highest_differences(tail, required, low, high)
    allowed = _allowed(best, tail, required)
    return int(np.argmax(allowed)) if allowed.any() else len(best)


def _best_of_each_size(pushes: np.ndarray) -> np.ndarray:
    """The most that 0, 1, 2, ... neurons add to each unit, (width + 1, units)."""
    positive = -np.sort(-np.maximum(pushes, 0.0), axis=0)
    return np.concatenate([np.zeros((1, pushes.shape[1])), np.cumsum(positive, axis=0)])


def linear_differences(tail: Tail, required: Requirements) -> tuple[np.ndarray, np.ndarray]:
    """Pushes and start of ``Q[ahead] - Q[behind]`` in place of Q, where the tail is linear."""
    ahead, behind = required.actions.T
    return tail.pushes[:, ahead] - tail.pushes[:, behind], tail.start[ahead] - tail.start[behind]


def _highest_differences(tail: Tail, required: Requirements, low: np.ndarray, high: np.ndarray) -> np.ndarray:
    for before, linear in pairwise(tail.linears):
        low, high = (before.following.compute(values) for values in (low, high))
        columns, bias = linear.columns, linear.bias
        if linear is tail.linears[-1]:
            ahead, behind = required.actions.T
            columns, bias = columns[:, ahead] - columns[:, behind], bias[ahead] - bias[behind]
        rising, falling = np.maximum(columns, 0.0), np.minimum(columns, 0.0)
        low, high = low @ rising + high @ falling + bias, high @ rising + low @ falling + bias
    return high


def _allowed(best: np.ndarray, tail: Tail, required: Requirements) -> np.ndarray:
    """:param best: (k, r), the highest differences."""
    scale = max(1.0, float(np.abs(best).max(initial=0.0)), float(np.abs(tail.start).max(initial=0.0)))
    enough = best >= required.least - _SLACK * scale
    return np.asarray(enough.all(axis=1) if required.needs_all else enough.any(axis=1))
