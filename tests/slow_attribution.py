"""Attribution, interactions and Shapley values, slowly: loops over neurons, sets, orders and small steps."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence

import numpy as np

Value = Callable[[tuple[int, ...]], float]


def integrated_gradients(
    margin: Callable[[np.ndarray], float], target: np.ndarray, source: np.ndarray, *, steps: int
) -> np.ndarray:
    """The mean of finite differences at the middles of equal steps, times the difference, for one input."""
    total = np.zeros(len(target))
    for step in range(steps):
        place = target + (step + 0.5) / steps * (source - target)
        for neuron in range(len(target)):
            up, down = place.copy(), place.copy()
            up[neuron] += 1e-7
            down[neuron] -= 1e-7
            total[neuron] += (margin(up) - margin(down)) / 2e-7 / steps
    return total * (source - target)


def interaction(value: Value, one: int, other: int) -> float:
    """I(i, j) = E(ij) - E(i) - E(j)."""
    return value((one, other)) - value((one,)) - value((other,))


def shapley_values(value: Value, players: Sequence[int]) -> np.ndarray:
    """The mean contribution over all orders."""
    orders = list(itertools.permutations(players))
    total = dict.fromkeys(players, 0.0)
    for order in orders:
        for place, player in enumerate(order):
            total[player] += value(tuple(sorted(order[: place + 1]))) - value(tuple(sorted(order[:place])))
    return np.array([total[player] / len(orders) for player in players])
