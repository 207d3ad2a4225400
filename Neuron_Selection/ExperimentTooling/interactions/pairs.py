"""Interactions of two neurons, I(i, j) = E(ij) - E(i) - E(j), summed over contrast pairs by cluster."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np

from Neuron_Selection.AnalysisTooling.measures.clusters import Clusters
from Neuron_Selection.AnalysisTooling.measures.decisions import NOISE, score_sizes
from Neuron_Selection.ExperimentTooling.interactions.set_effects import Players, SetEffects

_ROUNDING = 1e-12  # of the largest score, in float64: a smaller interaction is rounding


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class PairSums:
    """Sums over contrast pairs, in units of scores.

    ``first``, ``second``: (k,), the players of each pair, first < second. ``single``: (players,), of E(i);
    ``interactions``: (n_clusters, k), of I(i, j); ``gaps``: (n_clusters,), of the whole difference of the margin.
    """

    first: np.ndarray
    second: np.ndarray
    single: np.ndarray
    interactions: np.ndarray
    gaps: np.ndarray


def sum_pairs(players: Players, effects: SetEffects, gaps: np.ndarray, clusters: Clusters) -> PairSums:
    """Run every neuron and every two neurons of the players on every contrast pair.

    :param gaps: (n,), the whole difference of each pair's margin
    :param clusters: of the contrast pairs
    """
    moves, count = players.moves, len(players.names)
    first, second = np.triu_indices(count, 1)
    single, interactions = np.zeros(count), np.zeros((clusters.count, len(first)))
    noise = _noise(players)
    for row, moving in enumerate(map(np.flatnonzero, moves)):
        if not len(moving):
            continue
        one, other = _twos(len(moving))
        singles, together = np.split(effects.changes(row, moving, _masks(len(moving))), [len(moving)])
        single[moving] += singles
        found = together - singles[one] - singles[other]
        found[np.abs(found) <= noise[row]] = 0.0
        interactions[clusters.of_input[row], _place(moving[one], moving[other], count)] += found
    return PairSums(
        first=first,
        second=second,
        single=single,
        interactions=interactions,
        gaps=np.bincount(clusters.of_input, weights=gaps, minlength=clusters.count),
    )


def _noise(players: Players) -> np.ndarray:
    """The largest interaction of each pair that rounding alone can cause, (n,)."""
    one = players.mixtures[0]
    share = _ROUNDING if one.target.dtype == np.float64 else 4 * NOISE
    noise: np.ndarray = share * np.maximum(score_sizes(one.baseline), score_sizes(one.source_q_values))
    return noise


def _place(one: np.ndarray, other: np.ndarray, count: int) -> np.ndarray:
    """The position of pairs, one < other, among all pairs of ``count`` players."""
    places: np.ndarray = one * count - one * (one + 1) // 2 + other - one - 1
    return places


@cache
def _twos(count: int) -> tuple[np.ndarray, np.ndarray]:
    return np.triu_indices(count, 1)


@cache
def _masks(count: int) -> np.ndarray:
    """Every player alone, then every two, (sets, count)."""
    one, other = _twos(count)
    masks = np.zeros((count + len(one), count), bool)
    masks[np.arange(count), np.arange(count)] = True
    rows = count + np.arange(len(one))
    masks[rows, one] = masks[rows, other] = True
    return masks
