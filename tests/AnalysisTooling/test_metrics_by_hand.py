"""Every metric on a few Q-values, against numbers worked out by hand."""

from __future__ import annotations

from math import log, sqrt

import numpy as np
import pytest

from Neuron_Selection.AnalysisTooling.measures import metrics
from Neuron_Selection.AnalysisTooling.measures.published_metrics import PUBLISHED_METRICS
from Neuron_Selection.AnalysisTooling.record_analysis import analyse_records

# softmax of [ln 2, 0] is (2/3, 1/3), of [0, ln 3] (1/4, 3/4)
TWO = np.array([[log(2), 0.0]]), np.array([[0.0, log(3)]])
THREE = np.array([[1.0, 3.0, 2.0]]), np.array([[4.0, 1.0, 2.5]])  # best action 1, second action 2
PUBLISHED = {
    "kl_divergence": (2 / 3 * log(8 / 3) + 1 / 3 * log(4 / 9), None),
    "reverse_kl_divergence": (1 / 4 * log(3 / 8) + 3 / 4 * log(9 / 4), None),
    "top_logit_delta_magnitude": (log(2), 2.0),
    "confidence_margin_magnitude": (1 / 2 + 1 / 3, None),
    "undirected_saturating_chebyshev": (log(2) / (log(2) + log(3)), 2 / 5),
    "reversed_undirected_saturating_chebyshev": (log(3) / (log(2) + log(3)), 3 / 5),
    # deviations (-1, 1, 0) and (1.5, -1.5, 0): opposite
    "reversed_pearson_correlation": (2.0, 2.0),
}


@pytest.mark.parametrize("name", PUBLISHED_METRICS)
def test_published_metrics(name: str) -> None:
    metric, (of_two, of_three) = PUBLISHED_METRICS[name], PUBLISHED[name]
    assert metric(*TWO) == pytest.approx([of_two], abs=1e-8)
    if of_three is not None:
        assert metric(*THREE) == pytest.approx([of_three], abs=1e-8)
    assert metric(THREE[0], THREE[0]) == pytest.approx([0.0], abs=1e-12)


def test_the_pearson_correlation_of_orders_that_half_agree_and_of_constants() -> None:
    metric = PUBLISHED_METRICS["reversed_pearson_correlation"]
    assert metric(np.array([[3.0, 1.0, 2.0]]), np.array([[1.0, 2.0, 3.0]])) == pytest.approx([1.5])
    assert metric(np.array([[3.0, 1.0, 2.0]]), np.array([[2.0, 2.0, 2.0]])) == pytest.approx([0.0])


def test_default_metrics() -> None:
    baseline, patched, source = np.array([[1.0, 3.0, 2.0]]), np.array([[4.0, 1.0, 2.5]]), np.array([[5.0, 1.0, 1.0]])
    assert metrics.action_flip(baseline, patched) == [1]
    assert metrics.matches_source(patched, source) == [1]
    assert metrics.self_regret(baseline, patched) == [3 - 1]
    assert metrics.value_shift(baseline, patched) == [4 - 3]
    # Q - max Q goes from (-2, 0, -1) to (0, -3, -1.5)
    assert metrics.advantage_shift(baseline, patched) == pytest.approx([sqrt(4 + 9 + 0.25)])
    # margins of action 0 over action 1: -2 before, 3 patched, 4 in the source run
    assert metrics.margin_effect(baseline, patched, source) == pytest.approx([5 / 6])
    # squared distances to the source's: 1 + 0 + 2.25 of 16 + 4 + 1
    assert metrics.vector_recovery(baseline, patched, source) == pytest.approx([1 - 3.25 / 21])


def test_records_carry_every_metric_once_under_the_name_of_their_direction() -> None:
    record = {
        "baseline_output": [[1.0, 3.0, 2.0]], "patched_output": [[4.0, 1.0, 2.5]], "source_output": [[5.0, 1.0, 1.0]],
        "direction": "noising",
    }  # fmt: skip
    (reported,) = analyse_records([record])
    assert set(reported) == {
        *metrics.OF_ITSELF,
        "matches_source",
        "margin_damage",
        "vector_recovery",
        *PUBLISHED_METRICS,
    }
    assert reported["margin_damage"] == pytest.approx(5 / 6)
    (without,) = analyse_records([{**record, "source_output": None}])
    assert set(without) == {*metrics.OF_ITSELF, *PUBLISHED_METRICS}
