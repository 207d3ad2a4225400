"""Compose ``cross_metric_summary.json``: the important neurons with every metric in each direction."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from Neuron_Selection.AnalysisTooling.analysis import Analysis, count_flags, defined, remarks
from Neuron_Selection.AnalysisTooling.experiment_metrics import MARGINS
from Neuron_Selection.AnalysisTooling.experiment_statistics import DirectionStatistics
from Neuron_Selection.AnalysisTooling.ranking import METHODS, metric_values, ranks_of
from Neuron_Selection.FileFormats.patch_spec import patch_configuration


def summary_document(analysis: Analysis, *, metadata: Mapping[str, Any]) -> dict[str, Any]:
    """The whole document; ``metadata`` is the provenance of the analysis."""
    return {
        "description": "Neurons ranked by what patching them does to the agent's decisions",
        "methodology": _methodology(analysis),
        "metrics_info": {name: _metric_info(analysis, name) for name in analysis.metrics},
        "common_count": len(analysis.chosen),
        "summary_statistics": _statistics(analysis),
        "common_neurons": {
            analysis.runs.names[number]: _neuron(analysis, number, place)
            for place, number in enumerate(analysis.chosen, start=1)
        },
        "metadata": dict(metadata),
    }


def _methodology(analysis: Analysis) -> dict[str, Any]:
    sampling = analysis.sampling
    random = [analysis.runs.names[number] for number in analysis.runs.random_sets]
    tested = "all experiments but the random sets" if random else "all experiments"
    return {
        "ranked_by": analysis.ranking.ranked_by,
        "final_average_importance": METHODS[analysis.ranking.ranked_by],
        "effect": "margin recovery (denoising), damage (noising): ratio of sums over the contrast pairs, not clipped",
        "interval": f"{sampling.confidence:.0%} percentile bootstrap over clusters, {sampling.resamples} resamples",
        "p": f"two-sided, signs of the clusters' summed effects flipped, {sampling.resamples} times or all",
        "q": f"Benjamini-Hochberg over {tested}; a neuron's own: of the least p of its directions, Bonferroni",
        "q_threshold": analysis.q_threshold,
        "control": "other experiments on as many neurons of the same layers, random sets only where there are any",
        **({"random_sets": random} if random else {}),
        "clusters": analysis.clusters.description,
        "directions": {
            name: {"source": runs.source, "target": runs.target} for name, runs in analysis.runs.directions.items()
        },
        **analysis.runs.settings,
        "remarks": remarks(analysis),
    }


def _metric_info(analysis: Analysis, name: str) -> dict[str, Any]:
    counts = {}
    common = ~analysis.runs.is_random
    for direction, statistics in analysis.statistics.items():
        values = metric_values(name, direction, statistics)
        if values is not None:
            above = (np.nan_to_num(np.abs(values)) > 0) & ~analysis.runs.is_random
            counts[f"{direction}_count"] = int(above.sum())
            common &= above
    common_count = int(common.sum()) if counts else 0
    total = int(np.count_nonzero(~analysis.runs.is_random))
    return {"threshold": 0.0, "common_count": common_count, "total_count": total, **counts}


def _statistics(analysis: Analysis) -> dict[str, Any]:
    importance = analysis.ranking.importance[~analysis.runs.is_random]
    some = next(iter(analysis.statistics.values()))
    return {
        "total_neurons": len(importance),
        "max_importance_score": float(importance.max()),
        "min_importance_score": float(importance.min()),
        "average_importance_score": float(importance.mean()),
        "pairs": len(analysis.runs.ids),
        "contrast_pairs": some.metrics.contrast_pairs,
        "clusters": analysis.clusters.merged_from or analysis.clusters.count,
        "clusters_with_contrast": some.clusters,
        "cannot_matter": count_flags(analysis.runs),
    }


def _neuron(analysis: Analysis, number: int, place: int) -> dict[str, Any]:
    return {
        "patch": patch_configuration(analysis.runs.patches[number]),
        "rank": place,
        "final_average_importance": float(analysis.ranking.importance[number]),
        "q": defined(analysis.q[number]),
        **{name: _metric(analysis, number, name) for name in analysis.metrics},
    }


def _metric(analysis: Analysis, number: int, name: str) -> dict[str, Any]:
    by_direction = {}
    for direction, statistics in analysis.statistics.items():
        values = metric_values(name, direction, statistics)
        if values is not None:
            by_direction[direction] = {
                "value": defined(values[number]),
                "rank": int(ranks_of(np.where(analysis.runs.is_random, np.nan, values))[number])
                if defined(values[number]) is not None
                else None,
                **(_effect(statistics, number) if name == MARGINS[direction] else {}),
            }
    return by_direction


def _effect(statistics: DirectionStatistics, number: int) -> dict[str, Any]:
    low, high = (defined(value) for value in statistics.intervals[:, number])
    return {
        "mean_of_ratios": defined(statistics.metrics.means["margin_effect"][number]),
        "interval": None if low is None else [low, high],
        "p": defined(statistics.p[number]),
        "q": defined(statistics.q[number]),
        "control_p": defined(statistics.control.p[number]),
    }
