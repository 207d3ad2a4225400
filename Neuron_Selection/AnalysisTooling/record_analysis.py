"""Metrics of single patched runs: the ``patch_analysis`` in results organised by input."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from Neuron_Selection.AnalysisTooling.experiment_metrics import MARGINS, OF_LOGITS, SELECTION_METRICS
from Neuron_Selection.AnalysisTooling.measures.decisions import allowed_scores
from Neuron_Selection.AnalysisTooling.measures.metrics import OF_ITSELF, OF_Q_VALUES, OF_THE_PAIR
from Neuron_Selection.AnalysisTooling.measures.published_metrics import PUBLISHED_METRICS
from Neuron_Selection.FileFormats.scores import LOGITS, Q_VALUES


def analyse_records(records: Sequence[Mapping[str, Any]], *, scores: str = Q_VALUES) -> list[dict[str, float | None]]:
    """Metric to value for each record, None if undefined.

    Metrics that compare with the source run are left out if its scores are unknown. Without a direction,
    ``margin_recovery`` (denoising) and ``margin_damage`` (noising) are named ``margin_effect``.

    :param records: results of one experiment, as a results file holds them
    :param scores: what the scores are called; metrics that they do not have are None
    """
    masks = None
    if all("action_mask" in record for record in records):
        masks = np.array([record["action_mask"] for record in records], bool)

    def scores_of(key: str) -> np.ndarray:
        return allowed_scores(np.array([record[key][0] for record in records]), masks)

    baseline, patched = scores_of("baseline_output"), scores_of("patched_output")
    values = {name: metric(baseline, patched) for name, metric in OF_ITSELF.items()}
    if all(record.get("source_output") is not None for record in records):
        source = scores_of("source_output")
        named = {"margin_effect": MARGINS.get(str(records[0].get("direction")), "margin_effect")}
        values |= {named.get(name, name): metric(baseline, patched, source) for name, metric in OF_THE_PAIR.items()}
    values |= {name: metric(baseline, patched) for name, metric in PUBLISHED_METRICS.items()}
    if scores == LOGITS:
        values |= {name: np.full(len(records), np.nan) for name in OF_Q_VALUES}
        values |= {name: SELECTION_METRICS[name](baseline, patched) for name in OF_LOGITS}
    return [
        {name: None if np.isnan(array[row]) else float(array[row]) for name, array in values.items()}
        for row in range(len(records))
    ]
