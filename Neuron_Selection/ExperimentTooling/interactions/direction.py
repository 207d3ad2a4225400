"""All results of one direction: interactions with their statistics and names, Shapley values, groups."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np

from Neuron_Selection.AnalysisTooling.experiment_statistics import Sampling
from Neuron_Selection.AnalysisTooling.measures.cluster_statistics import (
    bootstrap_intervals,
    q_values_of,
    sign_flip_p_values,
)
from Neuron_Selection.AnalysisTooling.measures.clusters import Clusters
from Neuron_Selection.AnalysisTooling.measures.metrics import margin_parts
from Neuron_Selection.ExperimentTooling.interactions.naming import groups_of, kinds_of
from Neuron_Selection.ExperimentTooling.interactions.pairs import PairSums, sum_pairs
from Neuron_Selection.ExperimentTooling.interactions.set_effects import Players, SetEffects, set_effects
from Neuron_Selection.ExperimentTooling.interactions.shapley import (
    MOST_EXACT,
    ShapleyValues,
    exact_values,
    sampled_values,
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Rules:
    """What decides names and Shapley values.

    ``threshold``: effects and interactions below it are taken as 0; ``q_threshold``: an interaction has a name only if
    its q is at most this, None for no such limit. ``permutations``: random orders, where there are more than 16
    players; 0 for none.
    """

    threshold: float
    q_threshold: float | None
    permutations: int


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Group:
    """Players that act as one: their effect together, and the sum of what each does alone."""

    players: tuple[int, ...]
    effect: float
    sum_of_effects: float


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class DirectionInteractions:
    """Effects are ratios of sums over the contrast pairs.

    ``effects``: (players,), of each alone; ``first``, ``second``: (k,), the players of each pair; ``interactions``,
    ``p``, ``q``, ``kinds``: (k,); ``intervals``: (2, k), NaN with a single cluster. ``shapley``: None if no orders were
    requested.
    """

    names: Sequence[tuple[str, int]]
    effects: np.ndarray
    first: np.ndarray
    second: np.ndarray
    interactions: np.ndarray
    intervals: np.ndarray
    p: np.ndarray
    q: np.ndarray
    kinds: np.ndarray
    shapley: ShapleyValues | None
    groups: Sequence[Group]


def interactions_of(
    players: Players, clusters: Clusters, direction: str, *, rules: Rules, sampling: Sampling, intervals: Sampling
) -> DirectionInteractions:
    """Compute everything for one direction.

    :param players: of contrast pairs only, at least one
    :param clusters: of the contrast pairs
    :param sampling: of p values and orders
    """
    effects, one = set_effects(players), players.mixtures[0]
    _, gaps = margin_parts(one.baseline, one.baseline, one.source_q_values)
    sums, whole = sum_pairs(players, effects, gaps, clusters), float(gaps.sum())
    single, found = sums.single / whole, sums.interactions.sum(axis=0) / whole
    bounds, p = _statistics(sums, sampling, intervals)
    q = q_values_of(p)
    of_pairs = single[sums.first], single[sums.second]
    tested = np.ones(len(q), bool) if rules.q_threshold is None else q <= rules.q_threshold
    kinds = kinds_of(direction, of_pairs, found, threshold=rules.threshold, is_tested=tested)
    groups = groups_of(sums.first, sums.second, of_pairs, found, kinds, count=len(single))
    return DirectionInteractions(
        names=players.names,
        effects=single,
        first=sums.first,
        second=sums.second,
        interactions=found,
        intervals=bounds,
        p=p,
        q=q,
        kinds=kinds,
        shapley=_shapley(players, effects, rules.permutations, sampling.seed, whole),
        groups=[
            Group(
                players=group,
                effect=_effect_of(players, effects, group) / whole,
                sum_of_effects=float(single[list(group)].sum()),
            )
            for group in groups
        ],
    )


def _statistics(sums: PairSums, sampling: Sampling, intervals: Sampling) -> tuple[np.ndarray, np.ndarray]:
    """Intervals, (2, k), and p values, (k,); of pairs that never interact they are 0 and 1 without any resampling."""
    changes, has_weight = sums.interactions, sums.gaps > 0
    bounds, p = np.zeros((2, changes.shape[1])), np.ones(changes.shape[1])
    if np.count_nonzero(has_weight) < 2:
        return np.full_like(bounds, np.nan), p
    interacts = changes.any(axis=0)
    found = bootstrap_intervals(changes[:, interacts], sums.gaps, **asdict(intervals))
    if found is not None:
        bounds[:, interacts] = found
    p[interacts] = sign_flip_p_values(
        changes[has_weight][:, interacts], resamples=sampling.resamples, seed=sampling.seed
    )
    return bounds, p


def _shapley(players: Players, effects: SetEffects, permutations: int, seed: int, whole: float) -> ShapleyValues | None:
    """As shares of the whole difference of the margins."""
    if len(players.names) <= MOST_EXACT:
        found = exact_values(players, effects)
    elif permutations:
        found = sampled_values(players, effects, permutations=permutations, seed=seed)
    else:
        return None
    errors = None if found.errors is None else found.errors / whole
    return ShapleyValues(values=found.values / whole, errors=errors, total=found.total / whole)


def _effect_of(players: Players, effects: SetEffects, chosen: Sequence[int]) -> float:
    """The sum over pairs of the margin's change by some players together."""
    indices, moves, total = np.array(chosen), players.moves, 0.0
    for row in range(len(moves)):
        moving = indices[moves[row, indices]]
        if len(moving):
            total += float(effects.changes(row, moving, np.ones((1, len(moving)), bool))[0])
    return total
