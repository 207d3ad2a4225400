"""Finite worlds: lava crossing against its table of states, tables of the user, wrappers, named states."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest

from Neuron_Selection.errors import InputError
from Neuron_Selection.ObservationTooling.endings import Ending, ending_of, meaning_of_termination
from Neuron_Selection.ObservationTooling.environments.environment import environment_from
from Neuron_Selection.ObservationTooling.finite_worlds import grids
from Neuron_Selection.ObservationTooling.finite_worlds.finite_world import DEATH, SUCCESS
from Neuron_Selection.ObservationTooling.finite_worlds.recurrence import named_states
from Neuron_Selection.ObservationTooling.finite_worlds.transition_tables import world_from_table
from Neuron_Selection.ObservationTooling.finite_worlds.worlds import finite_world_of
from Neuron_Selection.ObservationTooling.grid_worlds.environments import first_seeds, make_environment
from Neuron_Selection.ObservationTooling.state_tables import tabulate_states
from tests.conftest import ROOT

LAVA_ENV = f"{ROOT / 'examples' / 'lava_crossing' / 'environment.py'}:make_env"


def test_the_world_of_lava_crossings_has_the_states_of_their_table(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(grids, "LAYOUT_SEEDS", 3)
    world = finite_world_of(environment_from(LAVA_ENV))
    env = make_environment("MiniGrid-LavaCrossingS9N1-v0")
    seeds = first_seeds(env, range(3))
    table = tabulate_states(env, seeds)
    assert world.n_states == len(table.states)
    assert np.array_equal(world.successors[..., 0], table.successors)
    assert np.array_equal(np.stack(world.observations), table.observations)
    assert np.array_equal(world.rewards[..., 0], table.successors == SUCCESS)
    assert set(world.groups) == {f"seed {seed}" for seed in seeds.values()}
    started = [label for label, share in zip(world.labels, world.start, strict=True) if share]
    assert started == [f"{seed}-1,1,0" for seed in seeds.values()]
    assert (world.start.sum(), world.horizon) == (pytest.approx(1.0), 324)


def line(**changed: Any) -> dict[str, Any]:
    """Three states in a row, the last of which ends the episode; action 0 stays."""
    outcomes = {
        0: {0: [(1.0, 0, 0.0, False)], 1: [(0.5, 1, 0.0, False), (0.25, 1, 2.0, False), (0.25, 2, 0.0, True)]},
        1: {0: [(1.0, 1, 0.0, False)], 1: [(1.0, 2, 1.0, True)]},
        2: {0: [(1.0, 2, 0.0, True)], 1: [(1.0, 2, 0.0, True)]},
    }
    return {"P": outcomes, "observations": ["a", "b", "c"], "start": [1.0, 0.0, 0.0], **changed}


def read(table: Any, **more: Any) -> Any:
    return world_from_table(table, n_actions=2, observe=str.upper, horizon=None, where="here", **more)


def test_a_table_of_the_user_is_read_and_its_ends_are_no_states() -> None:
    world = read(line(labels=["x", "y", "z"], groups=["left", "left", "right"]))
    assert (world.labels, world.groups, world.observations) == (("x", "y"), ("left", "left"), ["A", "B"])
    assert world.successors[0, 1].tolist() == [1, DEATH]
    assert world.probabilities[0, 1].tolist() == [0.75, 0.25]
    assert world.rewards[0, 1].tolist() == pytest.approx([0.5 / 0.75, 0.0])  # the mean over equal outcomes
    assert world.successors[1, 1].tolist() == [SUCCESS, DEATH]
    assert not world.is_deterministic
    assert "1 of 3" in world.remark
    own = line()
    own["P"][1][1] = [(1.0, 2, 1.0, True, False)]
    assert read(own).successors[1, 1, 0] == DEATH


def broken(state: int, action: int, outcome: Any) -> dict[str, Any]:
    table = line()
    table["P"][state][action] = outcome
    return table


@pytest.mark.parametrize(
    ("table", "field"),
    [
        ([], "transitions()"),
        ({"observations": []}, "transitions()"),
        (line(start=[0.5, 0.0, 0.0]), "start"),
        (line(start=[1.0, 0.0]), "start"),
        (line(start=None), "start"),
        (line(observations=["a"]), "observations"),
        (line(labels=["a"]), "labels"),
        (line(P={0: {0: []}, 2: {}}), "P"),
        (broken(1, 0, [(0.5, 1, 0.0, False)]), "P[1][0]"),
        (broken(1, 0, [(1.0, 7, 0.0, False)]), "P[1][0]"),
        (broken(1, 0, [(1.0, 1, float("nan"), False)]), "P[1][0]"),
        (broken(1, 0, ["wrong"]), "P[1][0]"),
        ({**line(), "P": {**line()["P"], 1: {0: [(1.0, 1, 0.0, False)]}}}, "P[1]"),
    ],
)
def test_a_table_with_a_fault_names_the_field(table: Any, field: str) -> None:
    with pytest.raises(InputError) as raised:
        read(table)
    assert (raised.value.file, raised.value.field) == ("here", field)


FACTORY = """\
import gymnasium
import numpy as np
from gymnasium.wrappers import RescaleObservation, TransformObservation, TransformReward

def doubled():
    env = gymnasium.make("FrozenLake-v1")
    return TransformObservation(env, lambda s: np.full(2, s, np.float32), gymnasium.spaces.Box(0, 20, (2,)))

def rewarded():
    return TransformReward(gymnasium.make("FrozenLake-v1"), lambda r: 2 * r)

def cartpole():
    return gymnasium.make("CartPole-v1")
"""


def test_observations_pass_the_wrappers_and_other_wrappers_are_refused(tmp_path: Path) -> None:
    (tmp_path / "own.py").write_text(FACTORY)
    world = finite_world_of(environment_from(f"{tmp_path / 'own.py'}:doubled"))
    assert world.observations[5].tolist() == [6.0, 6.0]  # state 5 is a hole, in which nobody acts
    for name, words in (("rewarded", "TransformReward"), ("cartpole", "no table")):
        with pytest.raises(InputError) as raised:
            finite_world_of(environment_from(f"{tmp_path / 'own.py'}:{name}"))
        assert words in raised.value.problem
    with pytest.raises(InputError):
        finite_world_of(environment_from("FrozenLake-v1", frame_stack=2))


def test_states_are_named_where_nothing_is_left_to_chance() -> None:
    env = environment_from(LAVA_ENV).make()
    env.reset(seed=0)
    named = named_states(env)
    assert named is not None
    first = named.key()
    for action in (0, 0, 0, 0):
        env.step(action)
    assert named.key() == first
    assert named.limit == 324
    for env_id, limit in (("FrozenLake-v1", None), ("CartPole-v1", None), ("MiniGrid-DoorKey-5x5-v0", None)):
        other = environment_from(env_id).make()
        other.reset(seed=0)
        assert named_states(other) is limit
    sure = gymnasium.make("FrozenLake-v1", is_slippery=False)
    sure.reset(seed=0)
    own = named_states(sure)
    assert own is not None
    assert (own.key(), own.limit) == (0, 100)


@pytest.mark.parametrize(
    ("env", "meaning"),
    [("CartPole-v1", "failure"), ("Acrobot-v1", "success"), ("FrozenLake-v1", "reward"), ("Pendulum-v1", "")],
)
def test_termination_means_what_the_environment_says(env: str, meaning: str) -> None:
    assert meaning_of_termination(gymnasium.make(env)) == meaning


def test_endings_follow_from_the_last_step() -> None:
    end = {"reward": 1.0, "terminated": True, "truncated": False}
    cut = {"reward": 1.0, "terminated": False, "truncated": True}
    assert ending_of("reward", **end) == Ending(success=True, death=False)
    assert ending_of("reward", **{**end, "reward": 0.0}) == Ending(success=False, death=True)
    assert ending_of("reward", **cut) == Ending(success=False, death=False)
    assert ending_of("failure", **end) == Ending(success=False, death=True)
    assert ending_of("failure", **cut) == Ending(success=True, death=False)
    assert ending_of("", **end) == Ending(success=None, death=None)
    assert ending_of("", **end, info={"is_success": np.bool_(1)}) == Ending(success=True, death=False)
