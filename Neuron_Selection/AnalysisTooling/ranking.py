"""Importance of experiments over all directions, and their ranks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np

from Neuron_Selection.AnalysisTooling.experiment_metrics import MARGINS
from Neuron_Selection.AnalysisTooling.experiment_statistics import DirectionStatistics

RankedBy: TypeAlias = Literal["margin", "metrics", "advantage_shift"]

METHODS: dict[RankedBy, str] = {
    "margin": "mean over the directions of |margin recovery| and |margin damage| over the data set; ties by flips",
    "metrics": "each metric's size min-max normalised within the run, averaged over directions, then over metrics",
    "advantage_shift": "mean advantage_shift over the directions, since no pair has contrast; ties by flips",
}


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Ranking:
    """``importance``: (n_experiments,). ``order``: experiments by falling importance, without those of importance 0."""

    ranked_by: RankedBy
    importance: np.ndarray
    order: np.ndarray


def rank_experiments(statistics: Mapping[str, DirectionStatistics], chosen: Sequence[str]) -> Ranking:
    """Rank by the effects on the margin, or by the chosen metrics if they do not include the margin.

    Without contrast pairs the effects are undefined, and ``advantage_shift`` is used instead.
    """
    ranked_by: RankedBy = "margin"
    if not set(chosen) & set(MARGINS.values()):
        ranked_by = "metrics"
        importance = _normalised_mean(statistics, chosen)
    else:
        effects = [np.abs(one.effects) for one in statistics.values() if not np.isnan(one.effects).any()]
        if not effects:
            ranked_by = "advantage_shift"
            effects = [one.metrics.means["advantage_shift"] for one in statistics.values()]
        importance = np.mean(effects, axis=0)
    flips = np.sum([one.metrics.counts["flips"] for one in statistics.values()], axis=0)
    order = np.lexsort((np.arange(len(importance)), -flips, -importance))
    return Ranking(ranked_by=ranked_by, importance=importance, order=order[importance[order] > 0])


def metric_values(name: str, direction: str, statistics: DirectionStatistics) -> np.ndarray | None:
    """A metric of every experiment over all inputs; None if the metric belongs to the other direction."""
    if name in MARGINS.values():
        return statistics.effects if MARGINS[direction] == name else None
    return statistics.metrics.means[name]


def ranks_of(values: np.ndarray) -> np.ndarray:
    """Ranks by absolute value, 1 for the largest; equal values share the better rank.

    :param values: (n,), NaN for undefined, which rank last
    """
    sizes = np.nan_to_num(np.abs(values), nan=-1.0)
    ranks: np.ndarray = len(sizes) - np.searchsorted(np.sort(sizes), sizes, side="right") + 1
    return ranks


def _normalised_mean(statistics: Mapping[str, DirectionStatistics], chosen: Sequence[str]) -> np.ndarray:
    """The ranking of published summaries: min-max over experiments, mean over directions, mean over metrics."""
    by_metric = []
    for name in chosen:
        columns = [np.abs(one.metrics.means[name]) for one in statistics.values()]
        defined = [_min_max(column) for column in columns if not np.isnan(column).any()]
        if defined:
            by_metric.append(np.mean(defined, axis=0))
    n_experiments = len(next(iter(statistics.values())).effects)
    mean: np.ndarray = np.mean(by_metric, axis=0) if by_metric else np.zeros(n_experiments)
    return mean


def _min_max(values: np.ndarray) -> np.ndarray:
    spread = values.max() - values.min()
    scaled: np.ndarray = (values - values.min()) / spread if spread > 0 else np.zeros(len(values))
    return scaled
