"""Paired statistics and the link, on numbers whose answers are known."""

from __future__ import annotations

import numpy as np
import pytest

from Parameter_Selection.RolloutTooling.episodes.link import link_of
from Parameter_Selection.RolloutTooling.episodes.statistics import (
    BEHAVIOUR,
    DECISIONS_ONLY,
    NO_EFFECT,
    class_of,
    interquartile_means,
    paired_statistics,
    remarks_on,
)


def test_a_constant_loss_has_an_interval_of_no_width_and_the_least_p() -> None:
    returns = np.array([[5.0] * 12, [3.0] * 12, [5.0] * 12, [5.0] * 6 + [6.0] * 6, [0.0] * 12])
    is_control = np.array([False, False, False, True])
    found = paired_statistics(returns, np.arange(12), is_control=is_control, seed=0)
    assert found.differences.tolist() == [-2.0, 0.0, 0.5, -5.0]
    assert found.low is not None
    assert found.high is not None
    assert (found.low[0], found.high[0]) == (-2.0, -2.0)
    assert found.low[2] < 0.5 < found.high[2]
    assert found.p[0] == pytest.approx(2 / 2**12)
    assert found.p[1] == 1.0
    assert found.q[0] == pytest.approx(3 * 2 / 2**12)
    assert np.isnan(found.q[3])  # a control
    assert found.improvement.tolist() == [0.0, 0.5, 0.75, 0.0]


def test_the_interquartile_mean_leaves_out_both_outer_quarters() -> None:
    assert interquartile_means(np.array([[0.0, 1.0, 2.0, 100.0], [4.0] * 4])).tolist() == [1.5, 4.0]


def test_classes_follow_the_rule() -> None:
    assert class_of(0, 1.0) == NO_EFFECT
    assert class_of(3, 0.2) == DECISIONS_ONLY
    assert class_of(3, None) == DECISIONS_ONLY
    assert class_of(3, 0.05) == BEHAVIOUR


def test_a_single_episode_has_no_interval() -> None:
    found = paired_statistics(np.array([[1.0], [0.0]]), np.arange(1), is_control=np.array([False]), seed=0)
    assert found.low is None
    assert found.row(0)["difference_low"] is None
    assert found.p[0] == 1.0


def test_too_few_episodes_are_reported_with_the_number_that_could_do() -> None:
    assert len(remarks_on(5, 5, 100)) == 2
    assert "alone: 12 could" in remarks_on(5, 5, 100)[1]
    assert len(remarks_on(12, 12, 100)) == 1
    assert remarks_on(50, 50, 100) == []
    assert len(remarks_on(80, 50, 100)) == 1


def test_more_episodes_are_not_recommended_where_all_are_the_same() -> None:
    (remark,) = remarks_on(20, 1, 100)
    assert "--episodes" not in remark
    assert "--policy epsilon=0.1" in remark


def test_equal_episodes_are_one_piece_of_evidence() -> None:
    returns = np.array([[5.0] * 12, [3.0] * 6 + [4.0] * 6])
    alone, together = (
        paired_statistics(returns, clusters, is_control=np.array([False]), seed=0)
        for clusters in (np.arange(12), np.arange(12) // 6)
    )
    assert alone.differences == together.differences == -1.5
    assert alone.p[0] == pytest.approx(2 / 2**12)
    assert together.p[0] == pytest.approx(2 / 2**2)
    assert together.low is not None
    assert alone.low is not None
    assert together.low[0] < alone.low[0]


def test_the_link_is_a_rank_correlation_layer_by_layer() -> None:
    rows = [
        {"layer": layer, "experiment": f"{layer}{n}", "difference": sign * n**2, "flips": n, "importance": importance}
        for layer, sign in (("a", -1), ("b", 1))
        for n, importance in enumerate((None, 3.0, 2.0, 1.0))
    ]
    link = link_of(rows, effect="difference", measures=("flips", "importance"))
    assert link["a"]["flips"]["spearman"] == pytest.approx(1.0)
    assert link["b"]["importance"]["spearman"] == pytest.approx(-1.0)
    assert link["a"]["importance"]["experiments"] == ["a1", "a2", "a3"]
    assert link["a"]["flips"]["behaviour"] == [0, 1, 4, 9]
    constant = link_of([{**row, "flips": 0} for row in rows], effect="difference", measures=("flips",))
    assert constant["a"]["flips"]["spearman"] is None
    assert link_of(rows[:2], effect="difference", measures=("flips",)) == {}
