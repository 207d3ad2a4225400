"""Metrics of many experiments at once: slowly from the definitions, and their invariants."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

from Neuron_Selection.AnalysisTooling.experiment_metrics import DirectionMetrics, chosen_metrics, gather_metrics
from Neuron_Selection.AnalysisTooling.ranking import ranks_of
from Neuron_Selection.AnalysisTooling.runs.patched_runs import Block, DirectionRuns
from Neuron_Selection.errors import UsageError
from tests.raised import raises

N, E, A = 23, 5, 4


def runs_from(
    baseline: np.ndarray, patched: np.ndarray, contrast: np.ndarray | None, *, at_once: int = 7
) -> DirectionRuns:
    """In blocks of a few inputs, the experiments in two groups."""

    def blocks() -> Iterator[Block]:
        for experiments in (np.array([3, 0]), np.array([1, 2, 4])):
            for start in range(0, len(baseline), at_once):
                rows = slice(start, min(start + at_once, len(baseline)))
                yield Block(rows=rows, experiments=experiments, patched=patched[rows][:, experiments])

    return DirectionRuns(
        baseline=baseline, contrast=contrast, source="s", target="t", flags=("",) * patched.shape[1], blocks=blocks
    )


@pytest.fixture
def q_values() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    random = np.random.default_rng(0)
    return random.normal(size=(N, A)), random.normal(size=(N, E, A)), random.normal(size=(N, A))


def test_effects_counts_and_means_equal_the_definitions_in_loops(
    q_values: tuple[np.ndarray, np.ndarray, np.ndarray],
) -> None:
    target, patched, source = q_values
    clusters = np.arange(N) % 3
    found = gather_metrics(runs_from(target, patched, source), clusters, 3)
    for experiment in range(E):
        moved = whole = flips = matches = 0.0
        ratios, regrets = [], []
        for row in range(N):
            a_t, a_s, a_p = (int(np.argmax(q)) for q in (target[row], source[row], patched[row, experiment]))
            flips += a_p != a_t
            regrets.append(target[row].max() - target[row, a_p])
            if a_t != a_s:
                matches += a_p == a_s
                m = [q[a_s] - q[a_t] for q in (target[row], source[row], patched[row, experiment])]
                moved += m[2] - m[0]
                whole += m[1] - m[0]
                ratios.append((m[2] - m[0]) / (m[1] - m[0]))
        assert found.effects[experiment] == pytest.approx(moved / whole, abs=1e-12)
        assert found.means["margin_effect"][experiment] == pytest.approx(np.mean(ratios))
        assert found.means["self_regret"][experiment] == pytest.approx(np.mean(regrets))
        assert found.means["action_flip"][experiment] == pytest.approx(flips / N)
        assert found.counts["flips"][experiment] == flips
        assert found.counts["matches"][experiment] == matches
        assert found.means["matches_source"][experiment] == pytest.approx(matches / len(ratios))
        assert found.contrast_pairs == len(ratios) < N
    assert found.margin_changes.sum(axis=0) / found.margin_gaps.sum() == pytest.approx(found.effects)
    rows = clusters == 1
    part = gather_metrics(runs_from(target[rows], patched[rows], source[rows]), np.zeros(rows.sum(), np.intp), 1)
    assert found.margin_changes[1] == pytest.approx(part.margin_changes[0])
    assert found.margin_gaps[1] == pytest.approx(part.margin_gaps[0])


@pytest.mark.parametrize("at_once", [1, 7, 100])
def test_blocks_of_any_size_give_the_same(at_once: int, q_values: tuple[np.ndarray, np.ndarray, np.ndarray]) -> None:
    target, patched, source = q_values
    clusters = np.arange(N) % 4
    one = gather_metrics(runs_from(target, patched, source, at_once=at_once), clusters, 4)
    other = gather_metrics(runs_from(target, patched, source, at_once=5), clusters, 4)
    assert one.margin_changes == pytest.approx(other.margin_changes, abs=1e-12)
    for name, values in one.means.items():
        assert values == pytest.approx(other.means[name], abs=1e-12)


def test_scale_and_a_shift_by_state_change_neither_flips_nor_effects(
    q_values: tuple[np.ndarray, np.ndarray, np.ndarray],
) -> None:
    target, patched, source = q_values
    random = np.random.default_rng(1)
    b_target, b_source = random.normal(0, 5, (2, N, 1))
    clusters = np.arange(N)
    before = gather_metrics(runs_from(target, patched, source), clusters, N, more_metrics=["kl_divergence"])
    after = gather_metrics(
        runs_from(7.5 * target + b_target, 7.5 * patched + b_target[:, None], 7.5 * source + b_source),
        clusters,
        N,
        more_metrics=["kl_divergence"],
    )
    assert after.effects == pytest.approx(before.effects, abs=1e-12)
    assert after.means["margin_effect"] == pytest.approx(before.means["margin_effect"], rel=1e-12)
    assert np.array_equal(after.counts["flips"], before.counts["flips"])
    assert np.array_equal(after.counts["matches"], before.counts["matches"])
    assert not np.allclose(after.means["kl_divergence"], before.means["kl_divergence"])


def test_without_contrast_effects_are_undefined_and_never_zero(
    q_values: tuple[np.ndarray, np.ndarray, np.ndarray],
) -> None:
    target, patched, _ = q_values
    alike: DirectionMetrics = gather_metrics(runs_from(target, patched, target * 0.5), np.arange(N), N)
    assert alike.contrast_pairs == 0
    assert np.isnan(alike.effects).all()
    assert np.isnan(alike.means["margin_effect"]).all()
    assert np.isnan(alike.means["matches_source"]).all()
    assert alike.counts["matches"].tolist() == [0] * E
    unknown = gather_metrics(runs_from(target, patched, None), np.arange(N), N)
    assert unknown.contrast_pairs is None
    assert np.isnan(unknown.effects).all()
    assert np.isnan(unknown.means["matches_source"]).all()
    assert np.array_equal(unknown.means["advantage_shift"], alike.means["advantage_shift"])


def test_a_near_tie_of_any_of_the_three_runs_counts() -> None:
    sure, tie = [1.0, 0.0, 0.0, 0.0], [1.0, 1.0 - 1e-6, 0.0, 0.0]
    for target, changed, source, expected in ((sure, sure, sure, 0), (tie, sure, sure, N), (sure, sure, tie, N)):
        patched = np.tile(changed, (N, E, 1))
        found = gather_metrics(runs_from(np.tile(target, (N, 1)), patched, np.tile(source, (N, 1))), np.arange(N), N)
        assert found.counts["near_ties"].tolist() == [expected] * E
    patched = np.tile(sure, (N, E, 1))
    patched[4, 2] = tie
    found = gather_metrics(runs_from(np.tile(sure, (N, 1)), patched, np.tile(sure, (N, 1))), np.arange(N), N)
    assert found.counts["near_ties"].tolist() == [0, 0, 1, 0, 0]


def test_metrics_are_chosen_by_name() -> None:
    assert chosen_metrics(["kl_divergence", "action_flip"]) == ("kl_divergence", "action_flip")
    with raises(UsageError, names=["'kl'"]):
        chosen_metrics(["kl"])
    with raises(UsageError, names=["metric action_flip"]):
        chosen_metrics(["action_flip", "action_flip"])


def test_equal_sizes_share_the_better_rank_and_undefined_ones_come_last() -> None:
    assert ranks_of(np.array([1.0, -3.0, np.nan, 3.0, 0.0])).tolist() == [3, 1, 5, 1, 4]
