from __future__ import annotations

import re
import sys

import gymnasium
import pytest
from gymnasium.envs.registration import EnvSpec

from Neuron_Selection.errors import InputError, UsageError
from Neuron_Selection.ObservationTooling.grid_worlds.environments import (
    agent_cell,
    current_layout,
    first_seeds,
    layout_of_seed,
    make_environment,
    place,
)
from tests.raised import raises

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
    ("env_id", "problem"),
    [
        ("MiniGrid-LavaCrossing", re.compile(r"unknown environment \(.*\)")),
        ("nonsense id", re.compile(r"unknown environment \(.*\)")),
        ("GymV21Environment-v0", "is not registered by gymnasium or minigrid"),
    ],
)
def test_unknown_environments_and_those_of_other_packages_are_refused_by_name(env_id, problem):
    with raises(InputError, file=f"environment '{env_id}'", problem=problem):
        make_environment(env_id)


def test_an_environment_of_another_kind_is_refused_by_name():
    problem, hint = "is not a MiniGrid environment", "found CartPoleEnv"
    with raises(UsageError, field="environment 'CartPole-v1'", problem=problem, hint=hint):
        make_environment("CartPole-v1")


def test_an_environment_that_needs_a_missing_package_is_refused_with_its_name(monkeypatch):
    monkeypatch.setitem(sys.modules, "imageio", None)  # None: as if it were not installed
    name = "MiniGrid-WFC-MazeSimple-v0"
    env = make_environment(name)
    with raises(UsageError, field=f"environment '{name}'", problem="cannot be used", names=["imageio"]):
        layout_of_seed(env, 0)


def test_an_environment_that_another_package_registered_is_not_made(monkeypatch):
    made = []
    entry_points = {"Elsewhere-v0": "tests.elsewhere:Env", "Called-v0": lambda **_: made.append(1)}
    for env_id, entry_point in entry_points.items():
        monkeypatch.setitem(gymnasium.registry, env_id, EnvSpec(env_id, entry_point=entry_point))
        problem = "is not registered by gymnasium or minigrid"
        with raises(InputError, file=f"environment '{env_id}'", problem=problem):
            make_environment(env_id)
    assert not made


def test_memory_that_runs_out_in_an_environment_stays_a_fault_of_the_machine(env, monkeypatch):
    def reset(**_):
        raise MemoryError

    monkeypatch.setattr(env, "reset", reset)
    with pytest.raises(MemoryError):
        layout_of_seed(env, 0)


def test_a_grid_with_other_objects_is_refused():
    env = make_environment("MiniGrid-DoorKey-5x5-v0")
    with raises(UsageError, field="grid", found="door, key", expected="only wall, lava, goal"):
        layout_of_seed(env, 0)
