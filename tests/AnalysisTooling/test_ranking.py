"""Rankings of a few experiments, worked out by hand."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from Neuron_Selection.AnalysisTooling.experiment_metrics import MARGINS
from Neuron_Selection.AnalysisTooling.ranking import rank_experiments


def reported(effects: list[float], flips: list[int], **means: list[float]) -> Any:
    metrics = SimpleNamespace(
        means={name: np.array(values) for name, values in means.items()}, counts={"flips": np.array(flips)}
    )
    return SimpleNamespace(effects=np.array(effects), metrics=metrics)


def test_importance_is_the_mean_size_of_both_directions_and_flips_break_ties() -> None:
    statistics = {
        "denoising": reported([0.5, -0.75, 0.25, 0.0], [0, 1, 2, 0]),
        "noising": reported([0.25, 0.5, 0.5, 0.0], [1] * 4),
    }
    ranking = rank_experiments(statistics, tuple(MARGINS.values()))
    assert ranking.ranked_by == "margin"
    assert ranking.importance == pytest.approx([0.375, 0.625, 0.375, 0.0])
    assert ranking.order.tolist() == [1, 2, 0]  # 2 and 0 tie, 2 flips more; 3 does nothing


def test_equal_importance_and_flips_leave_the_order_of_the_experiments() -> None:
    ranking = rank_experiments({"noising": reported([0.5, 0.5], [1, 1])}, tuple(MARGINS.values()))
    assert ranking.order.tolist() == [0, 1]


def test_without_contrast_the_advantage_shift_of_both_directions_ranks() -> None:
    nothing = [float("nan")] * 2
    statistics = {
        "denoising": reported(nothing, [0, 0], advantage_shift=[1.0, 2.0]),
        "noising": reported(nothing, [0, 0], advantage_shift=[5.0, 0.0]),
    }
    ranking = rank_experiments(statistics, tuple(MARGINS.values()))
    assert ranking.ranked_by == "advantage_shift"
    assert ranking.importance.tolist() == [3.0, 1.0]


def test_other_metrics_are_brought_to_one_scale_before_they_are_averaged() -> None:
    statistics = {
        "denoising": reported([0] * 3, [0] * 3, kl_divergence=[1.0, 3.0, 5.0], value_shift=[-100.0, 0.0, 50.0]),
        "noising": reported([0] * 3, [0] * 3, kl_divergence=[0.0, 8.0, 4.0], value_shift=[7.0, 7.0, 7.0]),
    }
    ranking = rank_experiments(statistics, ("kl_divergence", "value_shift"))
    assert ranking.ranked_by == "metrics"
    kl = np.array([0.0, (0.5 + 1) / 2, (1 + 0.5) / 2])
    shift = np.array([1.0, 0.0, 0.5]) / 2  # sizes; where all are alike none counts
    assert ranking.importance == pytest.approx((kl + shift) / 2)
