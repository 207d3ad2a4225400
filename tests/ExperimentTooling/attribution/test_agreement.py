"""Agreement of estimates with effects, by hand: ranks, recall with ties, signs, the worst miss."""

from __future__ import annotations

import numpy as np
import pytest

from Neuron_Selection.ExperimentTooling.attribution.agreement import agreement_of, recall_of


def test_estimates_that_are_exact_agree_to_the_last_bit_of_rounding() -> None:
    effects = np.array([0.5, -0.5, 0.2, 0.2, 0.0, -0.1, 0.3])
    for found in (
        agreement_of(effects, effects),
        agreement_of(effects, effects * (1 + 1e-14 * np.arange(7)) + 1e-16),
    ):
        assert found.spearman == pytest.approx(1.0)
        assert found.kendall == pytest.approx(1.0)
        assert found.recall == {1: 1.0, 5: 1.0, 10: None, 20: None}
        assert found.sign_errors == 0


def test_ranks_are_those_of_the_sizes_and_signs_are_counted_apart() -> None:
    effects, estimates = np.array([4.0, 3.0, 2.0, 1.0]), np.array([-1.0, 2.0, 3.0, -4.0])
    found = agreement_of(effects, estimates)
    assert found.spearman == pytest.approx(-1.0)
    assert found.kendall == pytest.approx(-1.0)
    assert found.recall[1] == 0.0
    assert found.sign_errors == 2
    assert found.worst in (0, 3)


def test_of_equally_strong_neurons_any_counts_as_one_of_the_strongest() -> None:
    sizes = np.array([[3.0, 3.0, 1.0]])
    assert recall_of(sizes, np.array([[1.0, 2.0, 0.0]]), 1) == 1.0
    assert recall_of(sizes, np.array([[0.0, 1.0, 2.0]]), 1) == 0.0
    assert recall_of(sizes, np.array([[0.0, 1.0, 2.0]]), 2) == 0.5
    assert recall_of(sizes, sizes, 3) is None
    assert recall_of(np.array([[1.0, 1.0 - 1e-13, 0.5]]), np.array([[1.0, 1.1, 0.0]]), 1) == 1.0
    assert recall_of(np.zeros((1, 3)), sizes, 1) is None


@pytest.mark.parametrize(("effects", "estimates"), [([0.0, 0.0], [1.0, 2.0]), ([1.0, 2.0], [0.0, 0.0]), ([1.0], [1.0])])
def test_ranks_are_undefined_where_all_sizes_are_alike(effects: list[float], estimates: list[float]) -> None:
    found = agreement_of(np.array(effects), np.array(estimates))
    assert found.spearman is None
    assert found.kendall is None
    assert found.sign_errors == 0
