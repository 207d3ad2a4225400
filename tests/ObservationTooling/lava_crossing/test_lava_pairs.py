from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from Neuron_Selection.errors import SuiteError
from Neuron_Selection.ObservationTooling.egocentric_view import observe
from Neuron_Selection.ObservationTooling.grid_worlds.environments import first_seeds
from Neuron_Selection.ObservationTooling.grid_worlds.layouts import LAVA, distances_to_goal
from Neuron_Selection.ObservationTooling.lava_crossing.edits import CONTENTS, apply_edit, lava_edit, possible_edits
from Neuron_Selection.ObservationTooling.lava_crossing.pairs import _edits, generate_pairs, lava_world
from Neuron_Selection.ObservationTooling.pair_making.decisions import WantedDecisions
from Neuron_Selection.ObservationTooling.pair_making.edited_paths import walk
from tests.raised import raises

LAVA_CROSSING = "MiniGrid-LavaCrossingS9N1-v0"
AHEAD = (5 * 7 + 3) * 3


def greedy_path(q_values, *, env_seed):
    """The cells and headings on the greedy path of a seed."""
    states = walk(lava_world(LAVA_CROSSING), q_values, lambda _: [], WantedDecisions(), seed=env_seed)
    return [(state.cell, state.heading) for state in states]


def planted(inputs):
    """Right before a wall, left before lava, else forward; three lava cells in view raise the doubt."""
    wall, lava, seen = inputs[:, AHEAD], inputs[:, AHEAD + 1], inputs[:, 1:147:3].sum(axis=1)
    return np.stack([2 * lava + 0.3 * seen, 2 * wall, np.ones(len(inputs))], axis=1)


def restless(inputs):
    """Whatever changes in view may change the action, forward or right, and by how much it leads."""
    sums = inputs @ np.arange(151)
    return np.stack([np.zeros(len(inputs)), sums % 2, 0.5 + 0.1 * (sums % 5)], axis=1)


@pytest.fixture(scope="module")
def pairs():
    return generate_pairs(LAVA_CROSSING, planted, n_pairs=14, env_seeds=range(30))


def test_every_pair_is_one_edit_apart_and_flips_a_clear_decision(env, pairs):
    for pair in pairs:
        layout = next(layout for layout, seed in seeds_of(env) if seed == pair.place.seed)
        state = {"cell": pair.place.cell, "heading": pair.place.heading}
        assert pair.clean.tobytes() == observe(env, layout, **state).tobytes()
        edited = apply_edit(layout, pair.edit)
        assert pair.corrupted.tobytes() == observe(env, edited, **state).tobytes()
        assert pair.place.cell in distances_to_goal(edited)
        q_values = planted(np.stack([pair.clean, pair.corrupted]))
        assert q_values.tolist() == [pair.clean_q_values.tolist(), pair.corrupted_q_values.tolist()]
        assert q_values[0].argmax() != q_values[1].argmax()
        assert (np.diff(np.sort(q_values, axis=1)[:, -2:]) >= 0.02).all()
        assert (pair.place.cell, pair.place.heading) in greedy_path(planted, env_seed=pair.place.seed)


def seeds_of(env):
    return first_seeds(env, range(30)).items()


def test_no_clean_input_comes_twice_and_numbers_run(pairs):
    assert len({pair.clean.tobytes() for pair in pairs}) == 14
    assert [pair.place.number for pair in pairs] == list(range(14))
    assert pairs[3].input_id.endswith("-0003")


def test_layouts_take_turns_and_seeds_that_share_one_count_once(env):
    firsts = [seed for _, seed in seeds_of(env)]
    window = range(firsts[-1] - 4, firsts[-1] + 4)
    distinct = list(first_seeds(env, window).values())
    assert len(distinct) < len(window)
    pairs = generate_pairs(LAVA_CROSSING, restless, n_pairs=2 * len(distinct), env_seeds=window)
    assert [pair.place.seed for pair in pairs] == 2 * distinct


def test_the_pairs_of_a_seed_are_all_that_the_rules_allow_and_no_others(env):
    unreachable = 0
    for layout, seed in list(seeds_of(env))[:12:4]:
        allowed = []
        for cell, heading in greedy_path(restless, env_seed=seed):
            clean = observe(env, layout, cell=cell, heading=heading)
            for kind in CONTENTS:
                for edit in possible_edits(layout, kind, agent=cell):
                    corrupted = observe(env, apply_edit(layout, edit), cell=cell, heading=heading)
                    before, after = restless(np.stack([clean, corrupted]))
                    leads = [np.sort(q)[-1] - np.sort(q)[-2] for q in (before, after)]
                    if before.argmax() != after.argmax() and min(leads) >= 0.25:
                        if cell in distances_to_goal(apply_edit(layout, edit)):
                            allowed.append((cell, heading, edit, clean.tobytes(), corrupted.tobytes()))
                        else:
                            unreachable += 1
        states = walk(lava_world(LAVA_CROSSING), restless, _edits, WantedDecisions(min_margin=0.25), seed=seed)
        assert allowed == [
            (pair.cell, pair.heading, lava_edit(pair.edit), pair.clean.tobytes(), pair.corrupted.tobytes())
            for state in states
            for pair in state.pairs
        ]
    assert unreachable


def test_a_decision_that_leads_by_less_than_the_margin_makes_no_pair():
    def hesitant(inputs):
        return 0.01 * restless(inputs)

    with raises(SuiteError, field="pairs", found="0", expected="1"):
        generate_pairs(LAVA_CROSSING, hesitant, n_pairs=1, env_seeds=range(2))
    assert generate_pairs(LAVA_CROSSING, hesitant, n_pairs=1, env_seeds=range(2), min_margin=0.004)


def test_kinds_of_edit_are_balanced_when_all_are_there():
    pairs = generate_pairs(LAVA_CROSSING, restless, n_pairs=12, env_seeds=range(16))
    assert Counter(pair.edit.kind for pair in pairs) == dict.fromkeys(CONTENTS, 3)


def test_another_seed_chooses_other_pairs_and_the_same_seed_the_same():
    first, again, other = (
        [(pair.input_id, pair.edit) for pair in generate_pairs(
            LAVA_CROSSING, restless, n_pairs=4, env_seeds=range(3), seed=seed)]
        for seed in (1, 1, 2)
    )  # fmt: skip
    assert first == again != other


def test_a_path_ends_at_the_first_repeat():
    def turns_left(inputs):
        return np.tile([1.0, 0.0, 0.0], (len(inputs), 1))

    assert greedy_path(turns_left, env_seed=0) == [((1, 1), heading) for heading in (0, 3, 2, 1)]


def test_a_path_into_lava_ends_before_it(env):
    def goes_ahead(inputs):
        return np.tile([0.0, 0.0, 1.0], (len(inputs), 1))

    for layout, seed in seeds_of(env):
        if layout.content((4, 1)) == LAVA:
            assert greedy_path(goes_ahead, env_seed=seed) == [((x, 1), 0) for x in (1, 2, 3)]
            return
    raise AssertionError("no layout with lava at 4,1")


def test_too_few_pairs_are_an_error_that_counts_them():
    def never_changes(inputs):
        return np.tile([0.0, 0.0, 1.0], (len(inputs), 1))

    with raises(SuiteError, field="pairs", found="0", expected="3"):
        generate_pairs(LAVA_CROSSING, never_changes, n_pairs=3, env_seeds=range(5))
