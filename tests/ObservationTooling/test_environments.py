from __future__ import annotations

import pytest

from Neuron_Selection.errors import UsageError
from Neuron_Selection.ObservationTooling.environments import (
    agent_cell,
    current_layout,
    first_seeds,
    layout_of_seed,
    make_environment,
    place,
)

SIGNS = {"W": "#", "V": "~", "G": "G", " ": ".", ">": "."}


def test_a_layout_is_what_minigrid_prints(env):
    for seed in range(20):
        layout = layout_of_seed(env, seed)
        printed = [line[::2] for line in env.pprint_grid().split("\n")]
        assert layout.rows == tuple("".join(SIGNS[sign] for sign in line) for line in printed)


def test_a_placed_state_is_the_state_that_the_environment_reaches_itself(env):
    for seed in range(5):
        layout = layout_of_seed(env, seed)
        for action in (2, 1, 2, 0, 1):
            env.step(action)
            cell, heading, hashed = agent_cell(env), int(env.agent_dir), env.gen_obs()["image"].tobytes()
            before = env.grid.encode().tobytes()
            layout_of_seed(env, seed + 1)
            place(env, layout, cell=cell, heading=heading)
            assert current_layout(env) == layout
            assert env.step_count == 0
            assert env.grid.encode().tobytes() == before
            assert env.gen_obs()["image"].tobytes() == hashed
            if layout.content(cell) != ".":
                break


def test_seeds_that_share_a_layout_count_once(env):
    found = first_seeds(env, range(400))
    assert len(found) == 42
    for layout, seed in found.items():
        assert layout_of_seed(env, seed) == layout
        assert all(layout_of_seed(env, earlier) != layout for earlier in range(0, seed, 7))


@pytest.mark.parametrize(
    ("env_id", "message"),
    [
        ("CartPole-v1", "environment 'CartPole-v1': found CartPoleEnv, expected one of MiniGrid"),
        ("MiniGrid-LavaCrossing", "environment 'MiniGrid-LavaCrossing': found none of this name"),
        ("nonsense id", "environment 'nonsense id': found none of this name"),
    ],
)
def test_other_environments_are_refused_by_name(env_id, message):
    with pytest.raises(UsageError) as raised:
        make_environment(env_id)
    assert str(raised.value).startswith(message)


def test_a_grid_with_other_objects_is_refused():
    env = make_environment("MiniGrid-DoorKey-5x5-v0")
    with pytest.raises(UsageError) as raised:
        layout_of_seed(env, 0)
    assert str(raised.value) == "grid: found door, key, expected only wall, lava, goal"
