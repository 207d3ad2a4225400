from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest

from Neuron_Selection.ObservationTooling.pair_making.minimal_features import EXHAUSTIVE, minimal_sets
from tests.slow_pairs import slow_smallest


def searched(n_groups, predicates):
    """The sets found, as sets of numbers, and the sizes of the batches that were run."""
    batches = []

    def flips(pairs, sets):
        batches.append(len(sets))
        assert all(len(one) == n_groups[pair] for pair, one in zip(pairs, sets, strict=True))
        return np.array(
            [predicates[pair](frozenset(np.flatnonzero(one).tolist())) for pair, one in zip(pairs, sets, strict=True)]
        )

    return [frozenset(np.flatnonzero(one).tolist()) for one in minimal_sets(n_groups, flips)], batches


def holding(*families):
    """Flips if all of one of these sets is there."""
    return lambda chosen: any(family <= chosen for family in map(frozenset, families))


def arbitrary(n_groups, seed):
    """Flips at random, but with all groups: neither monotone nor with any structure."""

    def flips(chosen):
        bits = sum(1 << group for group in chosen)
        return len(chosen) == n_groups or (bool(chosen) and np.random.default_rng((seed, bits)).random() < 0.03)

    return flips


def is_one_minimal(chosen, flips):
    return flips(chosen) and not any(len(chosen) > 1 and flips(chosen - {group}) for group in chosen)


@pytest.mark.parametrize("n_groups", [1, 2, 5, 9, EXHAUSTIVE])
def test_up_to_twelve_groups_the_set_is_a_smallest_one(n_groups):
    predicates = [arbitrary(n_groups, seed) for seed in range(5)]
    found, _ = searched([n_groups] * 5, predicates)
    for chosen, flips in zip(found, predicates, strict=True):
        assert flips(chosen)
        assert len(chosen) == slow_smallest(range(n_groups), flips)


@pytest.mark.parametrize("n_groups", [13, 40, 147])
def test_of_more_groups_no_part_flips_and_every_single_removal_was_run(n_groups):
    predicates = [arbitrary(n_groups, seed) for seed in range(8)]
    predicates += [holding({2, 7, 11}), holding({0, n_groups - 1}, {1, 2, 3}), holding(range(0, n_groups, 2))]
    predicates += [lambda chosen: len(chosen) >= n_groups - 3, lambda chosen: len(chosen) % 2 == n_groups % 2]
    found, _ = searched([n_groups] * len(predicates), predicates)
    for chosen, flips in zip(found, predicates, strict=True):
        assert is_one_minimal(chosen, flips)
        if len(chosen) <= EXHAUSTIVE:
            assert not any(flips(frozenset(part)) for n in range(1, len(chosen)) for part in combinations(chosen, n))


@pytest.mark.parametrize("planted", [{3}, {0, 146}, {5, 6, 7, 90}])
def test_a_planted_set_is_found_among_many_groups(planted):
    found, batches = searched([147], [holding(planted)])
    assert found == [planted]
    assert sum(batches) < 400


def test_pairs_in_lockstep_find_what_each_finds_alone():
    predicates = [arbitrary(20, seed) for seed in range(6)] + [holding({1}), holding(range(20))]
    together, batches = searched([20] * 8, predicates)
    alone = [searched([20], [flips])[0][0] for flips in predicates]
    assert together == alone
    assert max(batches) > 20


def test_no_pairs_need_no_run():
    assert searched([], []) == ([], [])
