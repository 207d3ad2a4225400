"""Shapley values of neurons: exact over all subsets, or estimated from random orders with a standard error.

The value of a set is its effect; a neuron's Shapley value is its mean contribution over all orders in which the neurons
can be patched one after the other (Shapley 1953). The values sum to the effect of all of them.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache

import numpy as np

from Neuron_Selection.ExperimentTooling.interactions.set_effects import Players, SetEffects

MOST_EXACT = 16


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class ShapleyValues:
    """``values``, ``errors``: (players,), sums over contrast pairs in units of scores; ``total``: of all players.

    ``errors``: standard errors of the sampling of orders, None if all subsets were run.
    """

    values: np.ndarray
    errors: np.ndarray | None
    total: float


def exact_values(players: Players, effects: SetEffects) -> ShapleyValues:
    """Over all subsets of at most 16 players; those that do not differ in a pair contribute nothing to it."""
    values, total = np.zeros(len(players.names)), 0.0
    for row, moving in enumerate(map(np.flatnonzero, players.moves)):
        if len(moving):
            worth = effects.changes(row, moving, _subsets(len(moving)))
            worth[0] = 0.0
            values[moving] += shapley_of(worth)
            total += float(worth[-1])
    return ShapleyValues(values=values, errors=None, total=total)


def shapley_of(worth: np.ndarray) -> np.ndarray:
    """Shapley values of one game.

    :param worth: (2^m,), of each subset; bit i of a position is set if player i is in it
    :return: (m,)
    """
    count = len(worth).bit_length() - 1
    positions = np.arange(len(worth))
    sizes = _subsets(count).sum(axis=1)
    shares = np.array([1.0 / (count * math.comb(count - 1, size)) for size in range(count)])
    values = np.empty(count)
    for player in range(count):
        without = positions[(positions >> player) & 1 == 0]
        values[player] = (shares[sizes[without]] * (worth[without | 1 << player] - worth[without])).sum()
    return values


def sampled_values(players: Players, effects: SetEffects, *, permutations: int, seed: int) -> ShapleyValues:
    """From random orders, the same ones for all pairs.

    :param permutations: number of orders, at least 2
    """
    moves, count = players.moves, len(players.names)
    ranks = np.argsort(np.random.default_rng(seed).random((permutations, count)), axis=1).argsort(axis=1)
    contributions, total = np.zeros((permutations, count)), 0.0
    for row, moving in enumerate(map(np.flatnonzero, moves)):
        if not len(moving):
            continue
        places = ranks[:, moving].argsort(axis=1).argsort(axis=1)  # (permutations, m): among those that differ
        prefixes = places[:, None, :] <= np.arange(len(moving))[:, None]
        worth = effects.changes(row, moving, prefixes.reshape(-1, len(moving))).reshape(permutations, -1)
        gains = np.diff(worth, axis=1, prepend=0.0)
        contributions[:, moving] += np.take_along_axis(gains, places, axis=1)
        total += float(worth[0, -1])
    return ShapleyValues(
        values=contributions.mean(axis=0),
        errors=contributions.std(axis=0, ddof=1) / math.sqrt(permutations),
        total=total,
    )


@cache
def _subsets(count: int) -> np.ndarray:
    """Every subset of ``count`` players, (2^count, count)."""
    subsets: np.ndarray = (np.arange(1 << count)[:, None] >> np.arange(count)) & 1 == 1
    return subsets
