"""How important a neuron is, over all directions, and the ranks that follow."""

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
    """``importance``: (n_experiments,). ``order``: experiments from the most important on, without those of none."""

    ranked_by: RankedBy
    importance: np.ndarray
    order: np.ndarray


def rank_experiments(statistics: Mapping[str, DirectionStatistics], chosen: Sequence[str]) -> Ranking:
    """Rank by the effects on the margin; by other metrics where the chosen ones leave the margin out.

    Without any contrast pair the effects are undefined, and ``advantage_shift`` takes their place.
    """
    ranked_by: RankedBy = "margin"
    if not set(chosen) & set(MARGINS.values()):
        ranked_by = "metrics"
        importance = _normalised_mean(statistics, chosen)
    else:
        effects = [np.abs(told.effects) for told in statistics.values() if not np.isnan(told.effects).any()]
        if not effects:
            ranked_by = "advantage_shift"
            effects = [told.metrics.means["advantage_shift"] for told in statistics.values()]
        importance = np.mean(effects, axis=0)
    flips = np.sum([told.metrics.counts["flips"] for told in statistics.values()], axis=0)
    order = np.lexsort((np.arange(len(importance)), -flips, -importance))
    return Ranking(ranked_by=ranked_by, importance=importance, order=order[importance[order] > 0])


def metric_values(name: str, direction: str, told: DirectionStatistics) -> np.ndarray | None:
    """A metric of every experiment over the data set; None where it belongs to the other direction."""
    if name in MARGINS.values():
        return told.effects if MARGINS[direction] == name else None
    return told.metrics.means[name]


def ranks_of(values: np.ndarray) -> np.ndarray:
    """Rank by size, 1 for the greatest; equal sizes share the better rank.

    :param values: (n,), NaN for undefined, which rank last
    """
    sizes = np.nan_to_num(np.abs(values), nan=-1.0)
    ranks: np.ndarray = len(sizes) - np.searchsorted(np.sort(sizes), sizes, side="right") + 1
    return ranks


def _normalised_mean(statistics: Mapping[str, DirectionStatistics], chosen: Sequence[str]) -> np.ndarray:
    """The published ranking: min-max within the run, mean over directions, mean over metrics."""
    by_metric = []
    for name in chosen:
        columns = [np.abs(told.metrics.means[name]) for told in statistics.values()]
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
