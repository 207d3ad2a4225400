"""Statistics of the experiments of a direction: effects, intervals, p, q, and controls of the same size."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from Neuron_Selection.AnalysisTooling.experiment_metrics import DirectionMetrics
from Neuron_Selection.AnalysisTooling.measures.cluster_statistics import (
    RESAMPLES,
    bootstrap_intervals,
    q_values_of,
    sign_flip_p_values,
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Sampling:
    """How intervals and p values are drawn."""

    confidence: float = 0.95
    resamples: int = RESAMPLES
    seed: int = 0


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Control:
    """Random sets of as many neurons of the same layers or, without random sets, the other experiments of that shape.

    ``sets``: their number; ``effects``: their mean |effect|; ``p``: (1 + number of those whose |effect| is at least as
    large) / (1 + sets). (n_experiments,) each, NaN without sets.
    """

    sets: np.ndarray
    effects: np.ndarray
    p: np.ndarray


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class DirectionStatistics:
    """Statistics of one direction: (n_experiments,) each, NaN if undefined; ``intervals`` (2, n_experiments).

    ``clusters``: the number of clusters with contrast.
    """

    metrics: DirectionMetrics
    effects: np.ndarray
    intervals: np.ndarray
    p: np.ndarray
    q: np.ndarray
    control: Control
    clusters: int


def direction_statistics(
    gathered: DirectionMetrics, patches: Sequence[Mapping[str, Any]], sampling: Sampling, *, is_random: np.ndarray
) -> DirectionStatistics:
    """Compute the statistics of one direction.

    :param is_random: which experiments are random sets, (n_experiments,); they are controls and have no q
    """
    effects = gathered.effects
    undefined = np.full(len(effects), np.nan)
    has_weight = gathered.margin_gaps > 0
    intervals, p, q = np.full((2, len(effects)), np.nan), undefined, undefined
    if has_weight.any():
        found = bootstrap_intervals(
            gathered.margin_changes,
            gathered.margin_gaps,
            confidence=sampling.confidence,
            resamples=sampling.resamples,
            seed=sampling.seed,
        )
        intervals = intervals if found is None else found
        p = sign_flip_p_values(gathered.margin_changes[has_weight], resamples=sampling.resamples, seed=sampling.seed)
        q = _q_values(p, is_random)
    return DirectionStatistics(
        metrics=gathered,
        effects=effects,
        intervals=intervals,
        p=p,
        q=q,
        control=control_of(effects, patches, is_random=is_random),
        clusters=int(np.count_nonzero(has_weight)),
    )


def _q_values(p: np.ndarray, is_random: np.ndarray) -> np.ndarray:
    """Q over all experiments except the random sets, for which it is NaN."""
    q = np.full(len(p), np.nan)
    q[~is_random] = q_values_of(p[~is_random])
    return q


def control_of(effects: np.ndarray, patches: Sequence[Mapping[str, Any]], *, is_random: np.ndarray) -> Control:
    """Compare each experiment with the random sets of its size in its layers.

    Without random sets, with all other experiments of that size; for single neurons these are all other neurons.

    :param is_random: which experiments are random sets, (n_experiments,)
    """
    shapes: dict[Any, list[int]] = {}
    for number, patch in enumerate(patches):
        shape = tuple((layer, "all" if neurons == "all" else len(neurons)) for layer, neurons in patch.items())
        shapes.setdefault(shape, []).append(number)
    sets = np.zeros(len(effects), np.int64)
    means, p = np.full((2, len(effects)), np.nan)
    for members in shapes.values():
        random = [number for number in members if is_random[number]]
        itself = is_random[members] if random else np.ones(len(members), bool)
        sizes, pool = np.abs(effects[members]), np.abs(effects[random or members])
        others = len(pool) - itself
        sets[members] = others
        if not np.isnan(pool).any():
            total = (pool.sum() - np.where(itself, sizes, 0.0)) / np.maximum(others, 1)
            at_least = len(pool) - np.searchsorted(np.sort(pool), sizes, side="left") - itself
            means[members] = np.where(others > 0, total, np.nan)
            p[members] = np.where(others > 0, (1 + at_least) / (1 + others), np.nan)
    return Control(sets=sets, effects=means, p=p)


def neuron_q_values(statistics: Mapping[str, DirectionStatistics], *, is_random: np.ndarray) -> np.ndarray:
    """One q value for each experiment over all its directions.

    The smallest p of the directions times their number (Bonferroni), then Benjamini-Hochberg over all experiments
    except the random sets.

    :return: (n_experiments,), NaN without contrast, and for random sets
    """
    tested = [one.p for one in statistics.values() if not np.isnan(one.p).any()]
    if not tested:
        return np.full(len(next(iter(statistics.values())).p), np.nan)
    return _q_values(np.minimum(1.0, len(tested) * np.min(tested, axis=0)), is_random)
