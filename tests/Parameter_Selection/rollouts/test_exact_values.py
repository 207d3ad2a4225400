"""Exact values: against slow iteration, two methods against each other, known worlds, the identity."""

from __future__ import annotations

from pathlib import Path

import gymnasium
import numpy as np
import pytest

from Neuron_Selection.ObservationTooling.environments.environment import environment_from
from Neuron_Selection.ObservationTooling.finite_worlds.finite_world import DEATH, SUCCESS, FiniteWorld
from Neuron_Selection.ObservationTooling.finite_worlds.worlds import finite_world_of
from Neuron_Selection.PatchingTooling import open_agent
from Parameter_Selection.RolloutTooling.exact.exact_values import exact_values
from Parameter_Selection.RolloutTooling.rollouts import Changes, exact_rollouts, run_rollouts
from tests import slow_rollouts
from tests.made_behaviour import BLOCKED, GAMMA, frozen_lake_agent, grid_agent


def random_world(random: np.random.Generator, *, n_states: int = 30, outcomes: int = 1) -> FiniteWorld:
    successors = random.integers(-2, n_states, (n_states, 3, outcomes))
    probabilities = random.dirichlet(np.ones(outcomes), (n_states, 3))
    start = random.dirichlet(np.ones(n_states))
    return FiniteWorld(
        observations=[None] * n_states,
        successors=successors,
        probabilities=probabilities,
        rewards=random.normal(size=successors.shape),
        start=start,
        labels=tuple(map(str, range(n_states))),
        horizon=20,
    )


def table_of(world: FiniteWorld) -> list[list[list[tuple[float, int, float, bool]]]]:
    return [
        [
            [
                (float(p), max(int(after), 0), float(reward), bool(after < 0))
                for p, after, reward in zip(*parts, strict=True)
            ]
            for parts in zip(*rows, strict=True)
        ]
        for rows in zip(world.probabilities, world.successors, world.rewards, strict=True)
    ]


@pytest.mark.parametrize("seed", range(4))
def test_followed_policies_are_those_walked_step_by_step(seed: int) -> None:
    random = np.random.default_rng(seed)
    world = random_world(random)
    actions = random.integers(0, 3, (5, world.n_states))
    found = exact_values(world, actions, gamma=0.9, horizon=20)
    ends = [[slow_rollouts.walk(world.successors[..., 0], own, s) for s in range(world.n_states)] for own in actions]
    assert np.array_equal(found.success, np.array(ends) == SUCCESS)
    assert np.array_equal(found.death, np.array(ends) == DEATH)
    assert np.array_equal(found.classes, np.select([found.success == 1, found.death == 1], [0, 1], 2))
    for own, values in zip(actions, found.values, strict=True):
        expected = slow_rollouts.values_of_policy(table_of(world), np.eye(3)[own], 0.9, sweeps=400)
        assert np.abs(values - expected).max() < 1e-12
    assert found.residuals.max() < 1e-12


@pytest.mark.parametrize("seed", range(4))
def test_solved_policies_are_those_of_repeated_substitution(seed: int) -> None:
    random = np.random.default_rng(seed)
    world = random_world(random, outcomes=3, n_states=12)
    policies = random.dirichlet(np.ones(3), (4, world.n_states))
    found = exact_values(world, policies, gamma=0.8, horizon=7)
    table = table_of(world)
    for number, policy in enumerate(policies):
        assert (
            np.abs(found.values[number] - slow_rollouts.values_of_policy(table, policy, 0.8, sweeps=200)).max() < 1e-12
        )
        limited = slow_rollouts.values_of_policy(table, policy, 1.0, sweeps=7) @ world.start
        assert found.within_limit["return"][number] == pytest.approx(limited, abs=1e-12)
    assert found.residuals.max() < 1e-12
    assert np.all(found.success + found.death <= 1 + 1e-12)


def test_both_methods_agree_where_both_apply() -> None:
    random = np.random.default_rng(7)
    world = random_world(random)
    actions = random.integers(0, 3, (6, world.n_states))
    followed = exact_values(world, actions, gamma=0.95, horizon=20)
    solved = exact_values(world, np.eye(3)[actions], gamma=0.95, horizon=20)
    for name in ("values", "success", "death", "from_start"):
        assert np.abs(getattr(followed, name) - getattr(solved, name)).max() < 1e-12, name
    for name, values in followed.within_limit.items():
        assert np.abs(values - solved.within_limit[name]).max() < 1e-12, name


def test_only_the_states_at_the_wall_matter_in_the_planted_grid(tmp_path: Path) -> None:
    agent = open_agent(grid_agent(tmp_path))
    env = f"{tmp_path / 'grid.py'}:make_env"
    found = exact_rollouts(agent, Changes(neurons=["all"]), env=env, gamma=GAMMA)
    assert found.document["baseline"]["value"] == pytest.approx(GAMMA**7, abs=1e-12)
    behaviour = {row["patch"]: row for row in found.document["experiments"] if row["class"] == "behaviour"}
    assert set(behaviour) == {f"q_net.0:{state}" for state in BLOCKED}
    assert all(row["value"] == 0.0 and row["states_loop"] > 0 for row in behaviour.values())
    assert found.document["largest_identity_residual"] < 1e-12
    assert found.document["classes"]["no effect"] + found.document["classes"]["decisions only"] == 21
    again = exact_rollouts(agent, Changes(neurons=["all"]), env=env, gamma=GAMMA)
    assert again.was_up_to_date
    assert again.document == found.document


def test_sampled_episodes_of_a_slippery_lake_agree_with_the_exact_values(tmp_path: Path) -> None:
    agent = open_agent(frozen_lake_agent(tmp_path))
    changes = Changes(neurons=["all"])
    exact = exact_rollouts(agent, changes, env="FrozenLake-v1")
    assert exact.document["largest_identity_residual"] < 1e-12
    assert exact.document["horizon"] == 100
    sampled = run_rollouts(agent, changes, env="FrozenLake-v1", episodes=300)
    assert len(sampled.rows) == 21
    for one, other in zip(exact.rows, sampled.rows, strict=True):
        assert one["experiment"] == other["experiment"]
        for measure in ("return", "success", "death"):
            deviation = np.sqrt(one[measure] * (1 - one[measure]) / 300)
            assert abs(one[measure] - other[measure]) <= 4 * deviation + 1e-12, (one["experiment"], measure)
    assert sampled.rows[0]["success"] > 0.6


def test_a_stochastic_policy_mixes_the_actions(tmp_path: Path) -> None:
    agent = open_agent(grid_agent(tmp_path))
    env = f"{tmp_path / 'grid.py'}:make_env"
    found = exact_rollouts(agent, Changes(neurons=["q_net.0:4"]), env=env, gamma=GAMMA, policy="epsilon=0.2")
    world = finite_world_of(environment_from(env))
    table = table_of(world)
    greedy = agent.network.scores(np.arange(24)).argmax(axis=1)
    policy = 0.8 * np.eye(4)[greedy] + 0.05
    expected = slow_rollouts.values_of_policy(table, policy, GAMMA, sweeps=600)[0]
    assert found.document["baseline"]["value"] == pytest.approx(expected, abs=1e-12)
    assert found.document["experiments"][0]["value"] < expected


@pytest.mark.parametrize(("env", "states"), [("FrozenLake-v1", 11), ("CliffWalking-v1", 37), ("Taxi-v4", 400)])
def test_toy_text_is_read_from_its_own_table(env: str, states: int) -> None:
    if env not in gymnasium.registry:
        pytest.skip(f"this gymnasium has no {env}")
    world = finite_world_of(environment_from(env))
    assert world.n_states == states
    assert world.start.sum() == pytest.approx(1.0)
    assert (world.successors == SUCCESS).any()
    assert (world.successors == DEATH).any() == (env == "FrozenLake-v1")
