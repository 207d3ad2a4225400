"""Metrics of many experiments in one direction, accumulated block by block: means, counts, sums by cluster."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from Neuron_Selection.AnalysisTooling.measures.decisions import greedy_actions, near_ties
from Neuron_Selection.AnalysisTooling.measures.metrics import (
    OF_ITSELF,
    OF_Q_VALUES,
    OF_THE_PAIR,
    margin_parts,
)
from Neuron_Selection.AnalysisTooling.measures.probabilities import probability_shift
from Neuron_Selection.AnalysisTooling.measures.published_metrics import PUBLISHED_METRICS
from Neuron_Selection.AnalysisTooling.runs.patched_runs import Block, DirectionRuns
from Neuron_Selection.errors import UsageError, shown
from Neuron_Selection.FileFormats.scores import LOGITS, Q_VALUES

MARGINS = {"denoising": "margin_recovery", "noising": "margin_damage"}

OF_LOGITS = ("probability_shift",)
OF_PROBABILITIES = ("kl_divergence", "reverse_kl_divergence", *OF_LOGITS)  # a softmax of logits is the policy itself
SELECTION_METRICS = {**PUBLISHED_METRICS, "probability_shift": probability_shift}

_COUNTED = ("action_flip", "matches_source")  # a table has their counts
_MARGIN_EFFECT = "margin_effect"  # named margin_recovery or margin_damage by direction


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class DirectionMetrics:
    """The metrics of one direction.

    ``margin_changes``: (n_clusters, n_experiments), numerators of the effect; ``margin_gaps``: (n_clusters,), its
    denominators. ``means``: metric to (n_experiments,), over the inputs where it is defined, NaN if there are none;
    ``matches_source`` over the contrast pairs. ``counts``: flips, matches (of contrast pairs) and near ties,
    (n_experiments,) each. ``contrast_pairs`` is None if the other run is unknown.
    """

    margin_changes: np.ndarray
    margin_gaps: np.ndarray
    means: Mapping[str, np.ndarray]
    counts: Mapping[str, np.ndarray]
    contrast_pairs: int | None

    @property
    def effects(self) -> np.ndarray:
        """Margin recovery or damage over the data set, the ratio of sums, (n_experiments,); NaN without contrast."""
        gap = self.margin_gaps.sum()
        changes = self.margin_changes
        return changes.sum(axis=0) / gap if gap > 0 else np.full(changes.shape[1], np.nan)


def averaged_metrics() -> tuple[str, ...]:
    """The metrics whose means are columns of ``results.csv``, in the order of their columns."""
    return tuple(name for name in (*OF_ITSELF, *OF_THE_PAIR) if name not in (*_COUNTED, _MARGIN_EFFECT))


def default_metrics(scores: str = Q_VALUES) -> tuple[str, ...]:
    """Every metric for Q-values except the published selection metrics; for logits those of probabilities as well."""
    names = (*MARGINS.values(), *_COUNTED, *averaged_metrics())
    if scores == Q_VALUES:
        return names
    return (*(name for name in names if name not in OF_Q_VALUES), *OF_PROBABILITIES)


def selection_metrics(names: Sequence[str]) -> tuple[str, ...]:
    """The metrics among ``names`` that have a column only if they are named, or the scores are logits."""
    return tuple(name for name in names if name in SELECTION_METRICS)


def chosen_metrics(names: Sequence[str] | None, scores: str = Q_VALUES) -> tuple[str, ...]:
    """The requested metrics; None means the default ones.

    :param scores: what the scores are called
    :raises UsageError: an unknown metric, one given twice, or one that other scores have
    """
    check_metrics(names or ())
    for name in names or ():
        if name in (OF_Q_VALUES if scores == LOGITS else OF_LOGITS):
            raise UsageError(f"the scores of these runs are {scores}, which have no {name}", field=f"metric {name}")
    return default_metrics(scores) if names is None else tuple(names)


def check_metrics(names: Sequence[str]) -> None:
    """Raise for an unknown metric, or one given twice."""
    known = (*default_metrics(), *SELECTION_METRICS)
    for place, name in enumerate(names):
        if name not in known:
            raise UsageError(f"unknown metric {shown(name)}; metrics: {', '.join(known)}")
        if name in names[:place]:
            raise UsageError(f"metric {name} is given twice")


def gather_metrics(
    runs: DirectionRuns,
    clusters: np.ndarray,
    n_clusters: int,
    *,
    more_metrics: Sequence[str] = (),
    scores: str = Q_VALUES,
) -> DirectionMetrics:
    """Compute the default metrics for Q-values, and some of ``SELECTION_METRICS``.

    :param clusters: (n_inputs,), the cluster of each input
    :param scores: what the scores are called; metrics that they do not have are NaN
    """
    n_experiments = len(runs.flags)
    names = [*OF_ITSELF, *OF_THE_PAIR, *more_metrics]
    sums = {name: np.zeros(n_experiments) for name in names}
    defined = {name: np.zeros(n_experiments) for name in names}
    counts = {name: np.zeros(n_experiments, np.int64) for name in ("flips", "matches", "near_ties")}
    margin_changes = np.zeros((n_clusters, n_experiments))
    is_contrast, gaps = _contrast(runs)
    for block in runs.blocks():
        columns = block.experiments
        for name, values in _values(runs, block, is_contrast, more_metrics).items():
            if name in counts:
                counts[name][columns] += np.count_nonzero(values, axis=0)
            elif name == "margin_changes":
                _add_by_cluster(margin_changes, clusters[block.rows], columns, values)
            else:
                sums[name][columns] += np.nansum(values, axis=0)
                defined[name][columns] += np.count_nonzero(~np.isnan(values), axis=0)
    means = {
        name: np.divide(total, defined[name], out=np.full(n_experiments, np.nan), where=defined[name] > 0)
        for name, total in sums.items()
    }
    if scores == LOGITS:
        means |= {name: np.full(n_experiments, np.nan) for name in OF_Q_VALUES}
    return DirectionMetrics(
        margin_changes=margin_changes,
        margin_gaps=np.bincount(clusters, weights=gaps, minlength=n_clusters),
        means=means,
        counts=counts,
        contrast_pairs=None if runs.contrast is None else int(np.count_nonzero(is_contrast)),
    )


def _contrast(runs: DirectionRuns) -> tuple[np.ndarray, np.ndarray]:
    """Which inputs have contrast, and the difference of their margins, (n_inputs,) each."""
    if runs.contrast is None:
        return np.zeros(len(runs.baseline), bool), np.zeros(len(runs.baseline))
    _, gaps = margin_parts(runs.baseline, runs.baseline, runs.contrast)
    return greedy_actions(runs.baseline) != greedy_actions(runs.contrast), gaps


def _values(
    runs: DirectionRuns, block: Block, is_contrast: np.ndarray, more_metrics: Sequence[str]
) -> dict[str, np.ndarray]:
    """Metric to (n_rows, n_experiments) of one block."""
    n_rows, n_experiments, n_actions = block.patched.shape

    def per_experiment(q_values: np.ndarray) -> np.ndarray:
        """The rows of this block, each repeated once per experiment."""
        repeated: np.ndarray = np.repeat(q_values[block.rows], n_experiments, axis=0)
        return repeated

    patched = block.patched.reshape(-1, n_actions)
    baseline = per_experiment(runs.baseline)
    ties = near_ties(runs.baseline[block.rows]).repeat(n_experiments) | near_ties(patched)
    values = {name: metric(baseline, patched) for name, metric in OF_ITSELF.items()}
    values |= {name: SELECTION_METRICS[name](baseline, patched) for name in more_metrics}
    if runs.contrast is not None:
        other = per_experiment(runs.contrast)
        ties |= near_ties(runs.contrast[block.rows]).repeat(n_experiments)
        values |= {name: metric(baseline, patched, other) for name, metric in OF_THE_PAIR.items()}
        # without contrast, the action matches whatever is patched, even a dead neuron
        has_contrast = is_contrast[block.rows].repeat(n_experiments)
        values["matches"] = values["matches_source"] * has_contrast
        values["matches_source"] = np.where(has_contrast, values["matches_source"], np.nan)
        values["margin_changes"], _ = margin_parts(baseline, patched, other)
    values["flips"], values["near_ties"] = values["action_flip"], ties
    return {name: array.reshape(n_rows, n_experiments) for name, array in values.items()}


def _add_by_cluster(sums: np.ndarray, clusters: np.ndarray, experiments: np.ndarray, values: np.ndarray) -> None:
    """Add rows to the sums of their clusters, in the order of the rows."""
    order = np.argsort(clusters, kind="stable")
    numbers, starts = np.unique(clusters[order], return_index=True)
    sums[np.ix_(numbers, experiments)] += np.add.reduceat(values[order], starts, axis=0)
