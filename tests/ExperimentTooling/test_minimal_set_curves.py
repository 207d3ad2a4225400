"""Curves over rankings: known areas, rankings with a known answer, invariants."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest

from Neuron_Selection.AnalysisTooling.measures.curves import (
    area_from_one,
    area_under,
    faithfulness_of,
    first_sizes,
    median_size,
)
from Neuron_Selection.ExperimentTooling.minimal_sets import ranking_curves as ranking_curves_module
from Neuron_Selection.ExperimentTooling.minimal_sets.explain import contrast_rows, explain_pairs, of_rows
from Neuron_Selection.ExperimentTooling.minimal_sets.goals import parse_goal
from Neuron_Selection.ExperimentTooling.minimal_sets.mixtures import Mixtures, mixtures_of
from Neuron_Selection.ExperimentTooling.minimal_sets.ranking_curves import Curve, ranking_curves, ranking_scores
from Neuron_Selection.PatchingTooling import OpenedAgent
from tests.made_agents import planted_agent


def mixtures_at(folder: Path, layer: str, *, engine: str = "numpy") -> Mixtures:
    random, sides = np.random.default_rng(3), [4, 9, 7, 3]
    layers = [(random.normal(size=(b, a)), random.normal(size=b)) for a, b in itertools.pairwise(sides)]
    agent = OpenedAgent(planted_agent(folder, layers), engine=engine, dtype="float64")
    target, source = (agent.inputs(random.normal(size=(60, 4)).astype(np.float32)) for _ in range(2))
    mixtures = mixtures_of(agent.network, layer, target, source)
    return of_rows(mixtures, contrast_rows(mixtures)[:10])


def curve_of(curves: list[Curve], ranking: str, scope: str = "pair") -> Curve:
    (found,) = [curve for curve in curves if (curve.ranking, curve.scope) == (ranking, scope)]
    return found


def test_areas_of_curves_drawn_by_hand() -> None:
    sizes = np.array([0, 1, 2, 4])
    assert area_under(sizes, np.array([0.0, 1.0, 1.0, 1.0])) == pytest.approx(0.875)
    assert area_from_one(sizes, np.array([0.0, 1.0, 1.0, 1.0])) == pytest.approx(0.125)
    above = np.array([0.0, 2.0, 2.0, 1.0])
    assert area_under(sizes, above) == pytest.approx((1 + 2 + 3) / 4)
    assert area_from_one(sizes, above) == pytest.approx((1 + 1 + 1) / 4)  # an effect above 1 is no better


def test_first_sizes_count_what_is_never_reached_as_above_all() -> None:
    sizes = np.array([0, 2, 5])
    first = first_sizes(sizes, np.array([[False, True, False], [False, False, True], [False, False, False]]))
    assert np.array_equal(first, [2, 5, np.nan], equal_nan=True)
    assert median_size(first) == 5
    assert median_size(first[1:]) is None
    assert median_size(first[:0]) is None


def test_measures_of_a_set_by_hand() -> None:
    measures = faithfulness_of(0.8, -0.1, np.array([0.5, 0.7]))
    assert (measures.faithfulness, measures.completeness) == (0.8, 0.1)
    assert measures.minimality == pytest.approx(0.1)
    assert faithfulness_of(0.0, 1.0, np.zeros(0)).minimality == 0.0


@pytest.mark.parametrize("layer", ["q_net.1", "q_net.3"])
def test_every_curve_starts_at_the_target_run_and_ends_at_the_source_run(layer: str, tmp_path: Path) -> None:
    curves = ranking_curves(mixtures_at(tmp_path, layer), parse_goal("matches_source"), random_orders=3, seed=0)
    assert [(curve.ranking, curve.scope) for curve in curves] == [
        *itertools.product(("measured_effect", "gradient_x_difference", "activation_difference"), ("pair", "all")),
        ("random", "pair"),
    ]
    for curve in curves:
        assert curve.effects[0] == pytest.approx(0, abs=1e-12)
        assert curve.effects[-1] == pytest.approx(1, abs=1e-12)
        assert (curve.shares[0], curve.shares[-1]) == (0, 1)


def test_a_curve_is_the_patches_of_its_first_neurons(tmp_path: Path) -> None:
    mixtures = mixtures_at(tmp_path, "q_net.1")
    curve = curve_of(ranking_curves(mixtures, parse_goal("flip"), random_orders=0, seed=0), "activation_difference")
    scores = np.abs(mixtures.source - mixtures.target)
    for size in (0, 1, 4, 9):
        moved = whole = 0.0
        flips = 0
        for row in range(len(scores)):
            mask = np.zeros((1, 9), bool)
            mask[0, sorted(range(9), key=lambda n, row=row: (-scores[row, n], n))[:size]] = True
            q_values = mixtures.q_values(np.array([row]), mask)[0]
            before, after = mixtures.baseline[row], mixtures.source_q_values[row]
            t, s = before.argmax(), after.argmax()
            moved += (q_values[s] - q_values[t]) - (before[s] - before[t])
            whole += (after[s] - after[t]) - (before[s] - before[t])
            flips += q_values.argmax() != t
        assert curve.effects[size] == pytest.approx(moved / whole, abs=1e-12)
        assert curve.shares[size] == flips / len(scores)


def test_where_q_is_linear_the_gradient_ranks_as_the_measurement_and_nothing_recovers_with_fewer(
    tmp_path: Path,
) -> None:
    mixtures, goal = mixtures_at(tmp_path, "q_net.3"), parse_goal("recovery=0.7")
    scores = ranking_scores(mixtures)
    assert np.abs(scores["measured_effect"] - scores["gradient_x_difference"]).max() < 1e-12
    curves = ranking_curves(mixtures, goal, random_orders=2, seed=0)
    best = [len(one.smallest or ()) for one in explain_pairs(mixtures, [""] * len(mixtures.target), goal)]
    assert curve_of(curves, "measured_effect").median_size == np.median(best)
    for curve in curves:
        assert curve.median_size is not None
        assert curve.median_size >= np.median(best)


def test_the_random_band_holds_its_mean_and_follows_from_the_seed(tmp_path: Path) -> None:
    mixtures, goal = mixtures_at(tmp_path, "q_net.1"), parse_goal("flip")
    one, same, other = (
        curve_of(ranking_curves(mixtures, goal, random_orders=4, seed=seed), "random") for seed in (0, 0, 1)
    )
    assert one.low is not None
    assert one.high is not None
    assert (one.low <= one.effects + 1e-12).all()
    assert (one.effects <= one.high + 1e-12).all()
    assert (one.low < one.high).any()
    assert np.array_equal(one.effects, same.effects)
    assert not np.array_equal(one.effects, other.effects)


def test_sizes_of_a_curve_are_run_side_by_side_whatever_is_taken_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mixtures, goal = of_rows(mixtures_at(tmp_path, "q_net.1"), np.arange(3)), parse_goal("flip")
    usual, asked = Mixtures.q_values, []

    def counted(self: Mixtures, rows: np.ndarray, masks: np.ndarray) -> np.ndarray:
        asked.append(len(rows))
        return usual(self, rows, masks)

    monkeypatch.setattr(Mixtures, "q_values", counted)
    curves = ranking_curves(mixtures, goal, random_orders=2, seed=0)
    assert asked[1:] == [3 * 10] * 8  # 3 rankings in 2 scopes and 2 random orders, 10 sizes of 3 pairs each
    monkeypatch.setattr(ranking_curves_module, "_NUMBERS_AT_ONCE", 1)
    for one, other in zip(curves, ranking_curves(mixtures, goal, random_orders=2, seed=0), strict=True):
        assert np.array_equal(one.effects, other.effects)
        assert np.array_equal(one.shares, other.shares)


def test_one_order_for_all_pairs_is_that_of_the_mean_score(tmp_path: Path) -> None:
    mixtures, goal = mixtures_at(tmp_path, "q_net.1"), parse_goal("flip")
    scores = ranking_scores(mixtures)["activation_difference"]
    assert not np.array_equal(np.argsort(-scores[0], kind="stable"), np.argsort(-scores.mean(axis=0), kind="stable"))
    curve = curve_of(ranking_curves(mixtures, goal, random_orders=0, seed=0), "activation_difference", "all")
    order = sorted(range(9), key=lambda n: (-np.mean([row[n] for row in scores]), n))
    for size in (1, 3, 6):
        mask = np.isin(np.arange(9), order[:size])
        flips = [mixtures.q_values(np.array([n]), mask[None])[0].argmax() for n in range(len(scores))]
        assert curve.shares[size] == np.mean(flips != mixtures.baseline.argmax(axis=1))


def test_both_engines_draw_the_same_curves(tmp_path: Path) -> None:
    goal = parse_goal("matches_source")
    by_numpy, by_torch = (
        ranking_curves(mixtures_at(tmp_path / engine, "q_net.1", engine=engine), goal, random_orders=1, seed=0)
        for engine in ("numpy", "torch")
    )
    assert [(c.ranking, c.scope) for c in by_torch] == [(c.ranking, c.scope) for c in by_numpy]
    assert {c.ranking for c in by_torch} > {"gradient_x_difference"}
    for one, other in zip(by_numpy, by_torch, strict=True):
        assert np.abs(one.effects - other.effects).max() < 1e-12
        assert one.median_size == other.median_size
