"""Statistics over clusters: slow definitions, exact small cases, and their error rates on planted tables."""

from __future__ import annotations

from itertools import product
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from Neuron_Selection.AnalysisTooling.experiment_metrics import DirectionMetrics
from Neuron_Selection.AnalysisTooling.experiment_statistics import (
    Sampling,
    control_of,
    direction_statistics,
    neuron_q_values,
)
from Neuron_Selection.AnalysisTooling.measures.cluster_statistics import (
    bootstrap_intervals,
    q_values_of,
    sign_flip_p_values,
)
from Neuron_Selection.AnalysisTooling.measures.clusters import MOST_CLUSTERS, clusters_of
from Neuron_Selection.errors import InputError, UsageError
from tests.raised import raises


def test_intervals_cover_what_they_promise_from_forty_clusters_on() -> None:
    """3,000 planted tables a case: 40 and 60 clusters of unequal weight, a true ratio of 0.3, noise of two kinds."""
    random = np.random.default_rng(1)
    for n_clusters in (40, 60):
        whole = random.uniform(0.5, 1.5, n_clusters)
        for noise in (random.normal(size=(n_clusters, 3000)), random.uniform(-1, 1, (n_clusters, 3000))):
            intervals = bootstrap_intervals(0.3 * whole[:, None] + noise, whole, resamples=1999)
            assert intervals is not None
            covered = np.mean((intervals[0] <= 0.3) & (intervals[1] >= 0.3))
            assert 0.93 <= covered <= 0.97, (n_clusters, covered)


def test_the_false_discovery_rate_is_at_most_what_is_asked_for() -> None:
    """200 planted tables: 70 nulls symmetric about 0, with heavy tails and unequal spread, and 30 real neurons."""
    random = np.random.default_rng(2)
    nominal, rates, found = 0.1, [], 0
    for _ in range(200):
        spread = np.exp(random.normal(size=(30, 1)))
        nulls = random.standard_t(3, (30, 70)) * spread
        real = random.normal(0.8, 1.0, (30, 30))
        q = q_values_of(sign_flip_p_values(np.hstack([nulls, real]), resamples=499))
        discovered = q <= nominal
        found += int(discovered[70:].sum())
        rates.append(discovered[:70].sum() / max(1, discovered.sum()))
    error = np.std(rates) / np.sqrt(len(rates))
    assert np.mean(rates) <= nominal + 2 * error
    assert found / (200 * 30) > 0.5


def test_p_values_of_few_clusters_are_those_of_all_flips() -> None:
    moved = np.random.default_rng(0).normal(size=(6, 5))
    moved[:, 4] = np.abs(moved[:, 4])
    flips = np.array(list(product([1, -1], repeat=6)))
    sizes = np.abs(flips @ moved)
    expected = [np.mean(sizes[:, n] >= np.abs(moved[:, n].sum()) * (1 - 1e-12)) for n in range(5)]
    found = sign_flip_p_values(moved)
    assert found == pytest.approx(expected)
    assert found[4] == 2 / 64  # six clusters cannot give less
    assert sign_flip_p_values(np.zeros((6, 2))).tolist() == [1.0, 1.0]
    assert sign_flip_p_values(moved[:1]).tolist() == [1.0] * 5


def test_p_values_of_many_clusters_count_the_observed_flip_and_follow_from_the_seed() -> None:
    moved = np.abs(np.random.default_rng(0).normal(size=(50, 300)))
    found = sign_flip_p_values(moved, resamples=199)
    assert found.tolist() == [1 / 200] * 300
    wide = np.random.default_rng(1).normal(size=(50, 300))
    assert np.array_equal(sign_flip_p_values(wide, seed=3), sign_flip_p_values(wide, seed=3))
    assert np.array_equal(sign_flip_p_values(wide)[256:], sign_flip_p_values(wide[:, 256:]))
    assert not np.array_equal(sign_flip_p_values(wide, seed=3), sign_flip_p_values(wide, seed=4))


def test_intervals_are_percentiles_of_ratios_over_resampled_clusters() -> None:
    random = np.random.default_rng(3)
    moved, whole = random.normal(1, 1, (20, 2)), random.uniform(0.5, 2, 20)
    ratios = []
    for _ in range(4000):
        drawn = random.integers(0, 20, 20)
        ratios.append(moved[drawn].sum(axis=0) / whole[drawn].sum())
    expected = np.quantile(ratios, [0.05, 0.95], axis=0)
    found = bootstrap_intervals(moved, whole, confidence=0.9, resamples=4000)
    assert found == pytest.approx(expected, abs=0.03)
    assert found is not None
    assert found.shape == (2, 2)


def test_clusters_without_contrast_are_left_out_of_the_intervals() -> None:
    moved, whole = np.array([[1.0], [2.0], [0.0]]), np.array([2.0, 2.0, 0.0])
    with_it, without = bootstrap_intervals(moved, whole), bootstrap_intervals(moved[:2], whole[:2])
    assert np.array_equal(with_it, without)
    assert bootstrap_intervals(moved[:1], whole[:1]) is None
    assert bootstrap_intervals(moved, np.zeros(3)) is None


def test_q_values_are_those_of_benjamini_and_hochberg() -> None:
    p = np.array([0.01, 0.04, 0.03, 0.5])
    assert q_values_of(p) == pytest.approx([0.04, 0.16 / 3, 0.16 / 3, 0.5])
    assert q_values_of(np.empty(0)).shape == (0,)


def test_a_neuron_is_tested_once_over_all_its_directions() -> None:
    known: Any = {
        "denoising": SimpleNamespace(p=np.array([0.01, 0.5])), "noising": SimpleNamespace(p=np.array([0.2, 0.3]))
    }  # fmt: skip
    assert neuron_q_values(known, is_random=NONE) == pytest.approx([0.04, 0.6])
    known["noising"].p = np.full(2, np.nan)
    assert neuron_q_values(known, is_random=NONE) == pytest.approx([0.02, 0.5])
    known["denoising"].p = np.full(2, np.nan)
    assert np.isnan(neuron_q_values(known, is_random=NONE)).all()


def test_random_sets_are_left_out_of_the_family_that_q_values_are_taken_over() -> None:
    known: Any = {"denoising": SimpleNamespace(p=np.array([0.01, 0.001, 0.5, 0.9]))}
    is_random = np.array([False, True, False, True])
    q = neuron_q_values(known, is_random=is_random)
    assert q[~is_random] == pytest.approx(q_values_of(np.array([0.01, 0.5])))
    assert np.isnan(q[is_random]).all()
    gathered = DirectionMetrics(
        margin_changes=np.tile([3.0, 1.0, 0.0, 2.0], (6, 1)),
        margin_gaps=np.ones(6),
        means={},
        counts={},
        contrast_pairs=6,
    )
    patches = [{"a": [number]} for number in range(4)]
    reported = direction_statistics(gathered, patches, Sampling(resamples=99), is_random=is_random)
    assert reported.p.tolist() == [2 / 2**6, 2 / 2**6, 1.0, 2 / 2**6]
    assert reported.q[~is_random].tolist() == [2 * 2 / 2**6, 1.0]
    assert np.isnan(reported.q[is_random]).all()


def test_control_sets_are_the_others_of_the_same_size_in_the_same_layers() -> None:
    patches = [{"a": [0]}, {"a": [1]}, {"a": [2]}, {"a": [0, 1]}, {"b": [0]}, {"a": "all"}]
    effects = np.array([-3.0, 1.0, 2.0, 9.0, 5.0, 7.0])
    control = control_of(effects, patches, is_random=np.zeros(6, bool))
    assert control.sets.tolist() == [2, 2, 2, 0, 0, 0]
    assert control.effects[:3].tolist() == [1.5, 2.5, 2.0]
    assert control.p[:3].tolist() == [1 / 3, 1.0, 2 / 3]
    assert np.isnan(control.p[3:]).all()


def test_where_random_sets_were_drawn_they_alone_are_the_control() -> None:
    patches = [{"a": [0]}, {"a": [1]}, {"a": [2]}, {"a": [3]}, {"b": [0]}, {"b": [1]}, {"c": [0]}, {"c": [1]}]
    effects = np.array([3.0, 9.0, -1.0, 5.0, 2.0, 4.0, 6.0, 8.0])
    is_random = np.array([False, False, True, True, False, True, False, False])
    control = control_of(effects, patches, is_random=is_random)
    assert control.sets.tolist() == [2, 2, 1, 1, 1, 0, 1, 1]
    assert control.effects[:5].tolist() == [3.0, 3.0, 5.0, 1.0, 4.0]
    assert control.p[:5].tolist() == [2 / 3, 1 / 3, 1.0, 1 / 2, 1.0]
    assert np.isnan([control.effects[5], control.p[5]]).all()
    assert control.p[6:].tolist() == [1.0, 1 / 2]


NONE = np.zeros(2, bool)
IDS = [
    "MiniGrid-LavaCrossingS11N5-v0-81110-6,4,0-0763",
    "MiniGrid-LavaCrossingS11N5-v0-81110-6,4,1-0764",
    "x-7-1,1,0-1",
]


def test_clusters_come_from_the_file_the_id_or_the_input() -> None:
    named = {IDS[0]: "a", IDS[2]: "a"}
    assert clusters_of(IDS, named, "auto", where="f").of_input.tolist() == [0, 1, 0]
    assert "1 inputs without one" in clusters_of(IDS, named, "file", where="f").description
    assert clusters_of(IDS, named, "id_seed", where="f").of_input.tolist() == [0, 0, 1]
    assert clusters_of(IDS, {}, "auto", where="f").description == "each input alone"
    sanitised = ["agent_v0_81102_1_1_1_0006", "agent_v0_81102_2_1_1_0007", "agent_v0_81103_1_1_1_0008"]
    assert clusters_of(sanitised, {}, "id_seed", where="f").of_input.tolist() == [0, 0, 1]
    with raises(InputError, file="f", field="input id 'plain'", names=["<env>-<seed>-<x>,<y>,<heading>-<number>"]):
        clusters_of(["plain"], {}, "id_seed", where="f")
    with raises(InputError, file="f", field="cluster", problem="no input has this key"):
        clusters_of(IDS, {}, "file", where="f")
    with raises(UsageError, field="cluster_by", found="'seed'", expected="auto, file, id_seed or input"):
        clusters_of(IDS, {}, "seed", where="f")


def test_very_many_clusters_are_merged_whole() -> None:
    ids = [f"i{number}" for number in range(3 * MOST_CLUSTERS)]
    clusters = clusters_of(ids, {input_id: input_id[:-1] for input_id in ids}, "file", where="f")
    assert clusters.merged_from is None  # 601 of them
    alone = clusters_of(ids, {}, "input", where="f")
    assert (alone.count, alone.merged_from) == (MOST_CLUSTERS, 3 * MOST_CLUSTERS)
    assert np.bincount(alone.of_input).tolist() == [3] * MOST_CLUSTERS
