from __future__ import annotations

import numpy as np
import pytest

from Neuron_Selection.ObservationTooling.pair_making import nearest
from Neuron_Selection.ObservationTooling.pair_making.nearest import find_nearest
from tests.slow_pairs import slow_nearest


def random_states(kind, seed, n=40):
    random = np.random.default_rng(seed)
    values = {
        "few values": lambda: random.integers(0, 3, (n, 5)).astype(np.uint8),
        "floats": lambda: random.normal(size=(n, 4)).astype(np.float32),
        "mixed": lambda: np.concatenate([random.integers(0, 2, (n, 3)), random.normal(size=(n, 2))], axis=1),
        "one entry": lambda: random.integers(0, 16, (n, 1)),
    }[kind]()
    values = np.concatenate([values, np.full((n, 1), 7, values.dtype)], axis=1)  # a constant entry
    return values, random.integers(0, 3, n)


@pytest.mark.parametrize("kind", ["few values", "floats", "mixed", "one entry"])
@pytest.mark.parametrize("seed", range(4))
def test_the_nearest_state_agrees_with_a_search_by_loops(kind, seed):
    values, actions = random_states(kind, seed)
    donors = np.flatnonzero(np.arange(len(values)) % 5 != seed)
    rows = np.arange(0, len(values), 3)
    found = find_nearest(values, actions, rows, donors)
    for place, row in enumerate(rows):
        donor, differing, distance = slow_nearest(values, actions, row, donors)
        assert (found.donors[place], found.differing[place]) == (donor, differing)
        assert found.distances[place] == pytest.approx(distance, rel=1e-12)


def test_blocks_of_entries_change_nothing(monkeypatch):
    values, actions = random_states("mixed", 0)
    rows = np.arange(len(values))
    whole = find_nearest(values, actions, rows, rows)
    monkeypatch.setattr(nearest, "_BLOCK", 2 * len(values))
    parts = find_nearest(values, actions, rows, rows)
    assert whole.donors.tolist() == parts.donors.tolist()
    assert whole.distances.tobytes() == parts.distances.tobytes()


def test_fewer_differing_entries_come_before_a_smaller_distance_and_earlier_visits_break_ties():
    values = np.array([[0.0, 0.0], [1.0, 1.0], [0.0, 50.0], [0.0, 50.0], [50.0, 0.0]])
    actions = np.array([0, 1, 1, 1, 0])
    found = find_nearest(values, actions, np.array([0]), np.arange(5))
    assert (found.donors.tolist(), found.differing.tolist()) == ([2], [1])


def test_each_entry_is_measured_in_its_own_unit():
    values = np.array([[0.0, 0.0], [10.0, 1.0], [1.0, 10.0], [1000.0, 0.0]])
    actions = np.array([0, 1, 1, 0])
    assert find_nearest(values, actions, np.array([0]), np.arange(4)).donors.tolist() == [1]
    values[:, 0] *= 1e-6  # another unit changes nothing
    assert find_nearest(values, actions, np.array([0]), np.arange(4)).donors.tolist() == [1]


def test_ten_thousand_states_are_compared(monkeypatch):
    random = np.random.default_rng(0)
    values = random.integers(0, 2, (10_000, 147)).astype(np.float32)
    actions = random.integers(0, 4, 10_000)
    rows = np.array([0, 4_999, 9_999])
    found = find_nearest(values, actions, rows, np.arange(10_000))
    for row, donor, differing in zip(rows, found.donors, found.differing, strict=True):
        counts = np.where(actions != actions[row], (values != values[row]).sum(axis=1), 1000)
        assert differing == counts.min() == counts[donor]
