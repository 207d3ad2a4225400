"""Analysis of patched runs: statistics of every experiment in each direction, and a ranking of neurons."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from Neuron_Selection.AnalysisTooling.experiment_metrics import gather_metrics, selection_metrics
from Neuron_Selection.AnalysisTooling.experiment_statistics import (
    DirectionStatistics,
    Sampling,
    direction_statistics,
    neuron_q_values,
)
from Neuron_Selection.AnalysisTooling.measures.cluster_statistics import FEW_CLUSTERS
from Neuron_Selection.AnalysisTooling.measures.clusters import Clusters
from Neuron_Selection.AnalysisTooling.ranking import Ranking, rank_experiments
from Neuron_Selection.AnalysisTooling.runs.patched_runs import DirectionRuns, PatchedRuns
from Neuron_Selection.FileFormats.patch_spec import format_patch_spec


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Analysis:
    """Statistics of all experiments and their ranking.

    ``chosen``: the important experiments, most important first; each patches a single neuron and is not a random set.
    ``q``: (n_experiments,), over all directions, NaN without contrast. ``left_out``: the number of experiments of
    several neurons that would rank among them.
    """

    runs: PatchedRuns
    clusters: Clusters
    statistics: Mapping[str, DirectionStatistics]
    metrics: tuple[str, ...]
    ranking: Ranking
    q: np.ndarray
    chosen: tuple[int, ...]
    left_out: int
    sampling: Sampling
    q_threshold: float | None

    @property
    def contrast_pairs(self) -> int | None:
        """The number of pairs in which the two runs act differently; None if one of the runs is unknown."""
        return next(iter(self.statistics.values())).metrics.contrast_pairs


def analyse(
    runs: PatchedRuns,
    clusters: Clusters,
    *,
    metrics: tuple[str, ...],
    max_neurons: int,
    q_threshold: float | None = None,
    sampling: Sampling = Sampling(),  # noqa: B008 - frozen
) -> Analysis:
    """Compute metrics and statistics of all experiments, and rank them.

    :param max_neurons: the largest number of important neurons
    :param q_threshold: the largest q of an important neuron
    """
    is_random = runs.is_random
    statistics = {
        direction: direction_statistics(
            gather_metrics(
                direction_runs,
                clusters.of_input,
                clusters.count,
                more_metrics=selection_metrics(metrics),
                scores=runs.scores,
            ),
            runs.patches,
            sampling,
            is_random=is_random,
        )
        for direction, direction_runs in runs.directions.items()
    }
    ranking = rank_experiments(statistics, metrics)
    q = neuron_q_values(statistics, is_random=is_random)
    ordered = [int(number) for number in ranking.order if not is_random[number]]
    kept = [number for number in ordered if q_threshold is None or q[number] <= q_threshold]
    single = [number for number in kept if _is_single(runs.patches[number])]
    return Analysis(
        runs=runs,
        clusters=clusters,
        statistics=statistics,
        metrics=metrics,
        ranking=ranking,
        q=q,
        chosen=tuple(single[:max_neurons]),
        left_out=len(kept) - len(single),
        sampling=sampling,
        q_threshold=q_threshold,
    )


def _is_single(patch: Mapping[str, Any]) -> bool:
    return len(patch) == 1 and all(neurons != "all" and len(neurons) == 1 for neurons in patch.values())


def result_rows(analysis: Analysis) -> list[dict[str, Any]]:
    """The rows of ``results.csv``, one per experiment and direction."""
    return [
        _row(analysis, number, direction, runs, analysis.statistics[direction])
        for number in range(len(analysis.runs.names))
        for direction, runs in analysis.runs.directions.items()
    ]


def _row(
    analysis: Analysis, number: int, direction: str, runs: DirectionRuns, statistics: DirectionStatistics
) -> dict[str, Any]:
    gathered = statistics.metrics
    known = gathered.contrast_pairs is not None
    numbers = {
        "effect": statistics.effects,
        "interval_low": statistics.intervals[0],
        "interval_high": statistics.intervals[1],
        "p": statistics.p,
        "q": statistics.q,
        "effect_mean_of_ratios": gathered.means["margin_effect"],
        "control_effect": statistics.control.effects,
        "control_p": statistics.control.p,
        **{name: values for name, values in gathered.means.items() if name != "margin_effect"},
    }
    return {
        "experiment": analysis.runs.names[number],
        "direction": direction,
        "patch": format_patch_spec(analysis.runs.patches[number]),
        "source": runs.source,
        "target": runs.target,
        **{name: defined(values[number]) for name, values in numbers.items()},
        "flips": int(gathered.counts["flips"][number]),
        "matches": int(gathered.counts["matches"][number]) if known else None,
        "near_ties": int(gathered.counts["near_ties"][number]),
        "n": len(analysis.runs.ids),
        "contrast_pairs": gathered.contrast_pairs,
        "clusters": statistics.clusters if known else None,
        "flag": runs.flags[number],
        "control_sets": int(statistics.control.sets[number]),
    }


def defined(value: Any) -> float | None:
    """A number for a file: None instead of NaN."""
    return None if np.isnan(value) else float(value)


def remarks(analysis: Analysis) -> list[str]:
    """Remarks on how to read the results, one sentence each."""
    sentences: list[str] = []
    pairs, contrast = len(analysis.runs.ids), analysis.contrast_pairs
    by_margin = analysis.ranking.ranked_by != "metrics"
    if contrast is None:
        sentences.append(
            "the other run of each pair is unknown, so recovery and damage are undefined (both directions, or "
            "run_experiments.py, tell it)"
        )
    elif not contrast:
        sentences.append(
            f"no contrast pair: clean and corrupted runs act alike in all {pairs} pairs, so recovery and damage are "
            "undefined (pairs must differ in the greedy action; record_inputs.py and make_pairs.py make such pairs)"
        )
    elif contrast < pairs:
        sentences.append(
            f"{pairs - contrast} of {pairs} pairs have no contrast and are left out of recovery, damage and matches"
        )
    if not contrast and by_margin:
        sentences.append("neurons are ranked by advantage_shift instead")
    few = min(statistics.clusters for statistics in analysis.statistics.values())
    if contrast and few < FEW_CLUSTERS:
        sentences.append(
            f"{few} clusters with contrast: below {FEW_CLUSTERS} the intervals cover less than they promise"
        )
    if analysis.clusters.merged_from:
        sentences.append(f"{analysis.clusters.merged_from:,} clusters were merged into {analysis.clusters.count:,}")
    if analysis.left_out:
        sentences.append(f"{analysis.left_out} experiments of several neurons are in results.csv only")
    if drawn := len(analysis.runs.random_sets):
        sentences.append(f"{drawn} random set{'s are' if drawn > 1 else ' is'} control only: without q, not ranked")
    sentences += _without_control(analysis)
    if not analysis.chosen:
        sentences.append(_why_none(analysis))
    return sentences


def _why_none(analysis: Analysis) -> str:
    if analysis.q_threshold is not None and np.isnan(analysis.q).all():
        return "no important neuron: without contrast there is no q to compare with --q_threshold (leave it out)"
    if analysis.q_threshold is not None and len(analysis.ranking.order):
        return (
            f"no important neuron: none has q <= {analysis.q_threshold:g} (leave --q_threshold out, or use more "
            "clusters of inputs)"
        )
    if analysis.left_out:
        return "no important neuron: no experiment patches a single one (run_experiments.py without --definitions does)"
    if _something_changed(analysis):
        return (
            f"no important neuron: by {', '.join(analysis.metrics)} no experiment differs from the others (without "
            "--metrics they are ranked by the margin or, without contrast, by advantage_shift)"
        )
    return "no important neuron: no patch changed anything (see the flags in results.csv)"


def _something_changed(analysis: Analysis) -> bool:
    means = [statistics.metrics.means for statistics in analysis.statistics.values()]
    return any(
        np.any(np.nan_to_num(by_name[name]) != 0) for by_name in means for name in ("value_shift", "advantage_shift")
    )


def _without_control(analysis: Analysis) -> list[str]:
    """The number of experiments without any control, and how to add one."""
    sets = next(iter(analysis.statistics.values())).control.sets
    alone = [patch for patch, others in zip(analysis.runs.patches, sets, strict=True) if not others]
    if not alone:
        return []
    whole = sum(all(neurons == "all" for neurons in patch.values()) for patch in alone)
    hints = ["generate_definitions.py --random_sets adds such sets"] if whole < len(alone) else []
    hints += ["of a whole layer there is one only"] if whole else []
    counted = f"{len(alone)} of {len(analysis.runs.names)} experiments have no control"
    return [f"{counted}: no other patches as many neurons of the same layers ({'; '.join(hints)})"]


def count_flags(runs: PatchedRuns) -> dict[str, int]:
    """The number of experiments that cannot have an effect in any direction, by flag; without random sets."""
    by_experiment = zip(*(run.flags for run in runs.directions.values()), strict=True)
    flags = [ways[0] for ways, random in zip(by_experiment, runs.is_random, strict=True) if all(ways) and not random]
    return {flag: flags.count(flag) for flag in sorted(set(flags))}
