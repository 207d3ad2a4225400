from __future__ import annotations

from collections import Counter

import gymnasium
import pytest
from minigrid.core.world_object import Ball
from minigrid.wrappers import FlatObsWrapper, FullyObsWrapper, ImgObsWrapper

from Neuron_Selection.errors import UsageError
from Neuron_Selection.ObservationTooling.grid_worlds.world import World
from Neuron_Selection.ObservationTooling.grid_worlds.world_edits import (
    KINDS,
    edited,
    possible_world_edits,
    things_in,
)
from tests.made_worlds import DOOR_KEY
from tests.raised import raises


def world_in(env_id, *wrappers, seed=0):
    env = gymnasium.make(env_id)
    for wrapper in wrappers:
        env = wrapper(env)
    world = World(env, reset=lambda seed: env.reset(seed=seed)[0][None], step=env.step)
    world.reset(seed)
    return world


@pytest.fixture(scope="module")
def door_key():
    return world_in(DOOR_KEY, ImgObsWrapper)


def grid_of(base):
    return {(x, y): things_in(base).get((x, y)) for x in range(base.width) for y in range(base.height)}


def test_every_kind_of_edit_of_a_world_with_a_door_a_key_and_a_goal_is_there(door_key):
    counts = Counter(edit.kind for edit in possible_world_edits(door_key.base))
    assert set(counts) == set(KINDS)
    base = door_key.base
    inner = [(x, y) for x in range(1, 4) for y in range(1, 4)]
    things = [cell for cell in inner if things_in(base).get(cell)]
    empty = [cell for cell in inner if cell not in things and cell != tuple(map(int, base.agent_pos))]
    assert counts["thing_removed"] == len(things)
    assert counts["thing_moved"] == len(things) * len(empty)
    assert counts["thing_added"] == 4 * len(empty)  # a wall, the door, the key, the goal
    assert (counts["colour_changed"], counts["door_changed"]) == (2 * 5, 2)
    assert (counts["agent_moved"], counts["agent_turned"]) == (len(empty), 3)


def test_an_edit_changes_its_cells_or_the_agent_and_is_undone(door_key):
    base = door_key.base
    before, objects, agent = grid_of(base), list(base.grid.grid), (*map(int, base.agent_pos), int(base.agent_dir))
    for edit in possible_world_edits(base):
        with edited(base, edit):
            after = grid_of(base)
            changed = {cell for cell in after if after[cell] != before[cell]}
            assert changed == set(edit.cells)
            assert all(after[cell] == thing for cell, thing in zip(edit.cells, edit.contents, strict=True))
            now = (*map(int, base.agent_pos), int(base.agent_dir))
            assert now == (edit.agent or agent)
            assert bool(changed) != (now != agent)
        assert grid_of(base) == before
        assert all(one is other for one, other in zip(base.grid.grid, objects, strict=True))


def test_an_edit_is_undone_after_an_error(door_key):
    before = grid_of(door_key.base)
    edit = next(edit for edit in possible_world_edits(door_key.base) if edit.kind == "thing_moved")
    with pytest.raises(RuntimeError), edited(door_key.base, edit):
        raise RuntimeError
    assert grid_of(door_key.base) == before


@pytest.mark.parametrize("wrappers", [(ImgObsWrapper,), (FlatObsWrapper,), (FullyObsWrapper, ImgObsWrapper)])
def test_the_current_state_is_observed_as_the_episode_itself_shows_it(wrappers):
    world = world_in(DOOR_KEY, *wrappers, seed=3)
    env = world.env
    for action in (0, 2, 3, 1, 2, 5):
        observation = env.step(action)[0]
        state, steps = world.state(), world.base.step_count
        assert world.observe()[0].tobytes() == observation.tobytes()
        assert (world.state(), world.base.step_count) == (state, steps)


def test_a_carried_object_is_part_of_the_state(door_key):
    base, before = door_key.base, door_key.state()
    base.carrying = Ball("blue")
    assert door_key.state() != before
    base.carrying = None
    assert door_key.state() == before


def test_another_kind_of_environment_is_refused_with_its_name():
    with raises(UsageError, names=["CartPoleEnv"]):
        world_in("CartPole-v1")
