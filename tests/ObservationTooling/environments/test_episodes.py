"""Episodes in lockstep, compared with the vectorised environments of Stable-Baselines3."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium import spaces
from stable_baselines3.common.vec_env import DummyVecEnv, VecFrameStack, VecNormalize, VecTransposeImage

from Neuron_Selection.errors import InputError, SuiteError, UsageError
from Neuron_Selection.FileFormats.observations import Observations
from Neuron_Selection.ObservationTooling import Episodes
from Neuron_Selection.ObservationTooling.environments.environment import Environment, environment_from
from Neuron_Selection.PatchingTooling import OpenedAgent
from tests.made_agents import new_dqn, save_dqn
from tests.made_normalizers import new_normalizer, saved
from tests.raised import raises

FACTORIES = Path(__file__).with_name("factories.py")


def environment(factory: str, **more: Any) -> Environment:
    return environment_from(f"{FACTORIES}:{factory}", **more)


def agent_for(folder: Path, space: spaces.Space[Any], n_actions: int = 2, **options: Any) -> OpenedAgent:
    policy = "MultiInputPolicy" if isinstance(space, spaces.Dict) else "MlpPolicy"
    model = new_dqn(space, n_actions=n_actions, net_arch=[8], policy=policy)
    return OpenedAgent(save_dqn(folder, model), **options)


def parts(observations: Any) -> dict[str, np.ndarray]:
    return observations if isinstance(observations, dict) else {"": np.asarray(observations)}


# name: environment, what Stable-Baselines3 puts around it
CASES: dict[str, tuple[Environment, Callable[[Any], Any]]] = {
    "vector": (environment_from("CartPole-v1"), lambda env: env),
    "discrete": (environment_from("FrozenLake-v1", env_kwargs={"is_slippery": True}), lambda env: env),
    "stacked vector": (environment("make_line", frame_stack=3), lambda env: VecFrameStack(env, 3)),
    "flat": (
        environment_from("MiniGrid-Empty-5x5-v0", wrapper=["minigrid.wrappers.FlatObsWrapper"]),
        lambda env: env,
    ),
    "image": (
        environment_from("MiniGrid-Empty-5x5-v0", wrapper=["minigrid.wrappers.ImgObsWrapper"]),
        VecTransposeImage,
    ),
    "stacked images": (
        environment("make_images", frame_stack=4),
        lambda env: VecTransposeImage(VecFrameStack(env, 4)),
    ),
    "dict": (environment("make_parts"), lambda env: env),
}


@pytest.mark.parametrize("case", CASES)
def test_observations_are_those_of_stable_baselines3(case: str, tmp_path: Path) -> None:
    world, around = CASES[case]
    vectorised = around(DummyVecEnv([world.make, world.make]))
    n_actions = int(vectorised.action_space.n)
    agent = agent_for(tmp_path / "agent", vectorised.observation_space, n_actions)
    episodes = Episodes(world, agent, n=2, max_steps=20)
    vectorised.seed(3)  # the second environment gets seed 4
    seen, expected = episodes.reset([3, 4]), vectorised.reset()
    random, steps = np.random.default_rng(0), 0
    while episodes.running.all() and steps < 20:
        assert parts(seen).keys() == parts(expected).keys()
        for key, part in parts(expected).items():
            np.testing.assert_array_equal(parts(seen)[key], part)
        actions = random.integers(n_actions, size=2)
        step = episodes.step(actions)
        expected, rewards, _, _ = vectorised.step(actions)
        np.testing.assert_allclose(step.rewards, rewards, rtol=1e-6)
        seen, steps = step.observations, steps + 1
    assert steps > 1


def test_observations_are_normalised_as_by_vecnormalize(tmp_path: Path) -> None:
    world = environment_from("Acrobot-v1")
    space = world.make().observation_space
    normalizer = new_normalizer(space)
    save_dqn(tmp_path, new_dqn(space, net_arch=[8]))
    agent = OpenedAgent(tmp_path, vecnormalize=saved(normalizer, tmp_path / "vecnormalize.pkl"))
    vectorised = VecNormalize.load(str(tmp_path / "vecnormalize.pkl"), DummyVecEnv([world.make]))
    vectorised.training = False
    vectorised.seed(7)
    episodes = Episodes(world, agent, n=1)
    np.testing.assert_array_equal(episodes.reset([7]), vectorised.reset())
    for action in (0, 2, 2, 1):
        np.testing.assert_array_equal(
            episodes.step(np.array([action])).observations, vectorised.step(np.array([action]))[0]
        )


def returns_of(agent: OpenedAgent, seeds: list[int], n: int) -> list[float]:
    episodes = Episodes(environment_from("CartPole-v1"), agent, n=n)
    found = []
    for start in range(0, len(seeds), n):
        observations: Observations = episodes.reset(seeds[start : start + n])
        totals = np.zeros(n)
        while episodes.running.any():
            step = episodes.step(agent.network.scores(observations).argmax(axis=1))
            observations = step.observations
            totals += step.rewards
        found += totals[: len(seeds[start : start + n])].tolist()
    return found


def test_how_many_run_at_once_changes_nothing(tmp_path: Path) -> None:
    agent = agent_for(tmp_path / "agent", gymnasium.make("CartPole-v1").observation_space)
    together = returns_of(agent, list(range(7)), 7)
    assert together == returns_of(agent, list(range(7)), 1) == returns_of(agent, list(range(7)), 3)
    assert len(set(together)) > 1


def test_a_row_that_has_ended_stays_as_it_is_until_it_is_started_again(tmp_path: Path) -> None:
    episodes = Episodes(environment("make_line"), agent_for(tmp_path, LINE), n=3, max_steps=6)
    episodes.reset([0, 1])
    assert episodes.running.tolist() == [True, True, False]
    for _ in range(5):
        step = episodes.step(np.array([1, 0, 1]))
    assert step.terminated.tolist() == [True, False, False]
    assert step.infos[0] == {"position": 5}
    last = np.asarray(step.observations)[0]
    step = episodes.step(np.array([1, 0, 1]))
    assert step.truncated.tolist() == [False, True, False]
    assert episodes.stopped.tolist() == [False, True, False]
    assert not episodes.running.any()
    assert (step.rewards.tolist(), dict(step.infos[0])) == ([0, 1, 0], {})
    np.testing.assert_array_equal(np.asarray(step.observations)[0], last)
    episodes.restart(0, 9)
    assert episodes.advance(0, 1)[0] == 1.0
    np.testing.assert_array_equal(np.asarray(episodes.observations_of([0]))[0, 0], 1.0)
    assert (episodes.steps.tolist(), episodes.seeds.tolist()) == ([1, 6, 0], [9, 1, 0])
    episodes.add_rows(2)
    assert len(np.asarray(episodes.step(np.ones(5, np.int64)).observations)) == 5
    episodes.close()


LINE = spaces.Box(-1000, 1000, (2,), np.float32)

# factory: field, found, the agent's space
BAD_STEPS: dict[str, tuple[str, str, spaces.Space[Any]]] = {
    "make_nan": ("observation", "NaN", LINE),
    "make_wrong_shape": ("observation", "shape (3,) of float32", LINE),
    "make_nan_reward": ("reward", "NaN or infinity", LINE),
    "make_half": ("observation", "5.0", spaces.Discrete(5)),
    "make_pixel": ("observation", "300", spaces.Box(0, 255, (3, 5, 4), np.uint8)),
}


@pytest.mark.parametrize("factory", BAD_STEPS)
def test_a_step_that_returns_something_wrong_is_named(factory: str, tmp_path: Path) -> None:
    field, found, space = BAD_STEPS[factory]
    episodes = Episodes(environment(factory), agent_for(tmp_path, space), n=2)
    episodes.reset([5, 6])
    with pytest.raises(InputError) as raised:
        for _ in range(4):
            episodes.step(np.array([0, 0]))
    assert (raised.value.field, raised.value.found) == (field, found)
    assert "seed 5, step 3" in raised.value.file


def test_an_error_in_a_step_names_its_seed_and_its_step(tmp_path: Path) -> None:
    episodes = Episodes(environment("make_raising_step"), agent_for(tmp_path, LINE), n=2)
    episodes.reset([5, 6])
    where, hint = re.compile(".*seed 5, step 2.*"), re.compile(".*the door is stuck.*")
    with raises(UsageError, field=where, problem=..., hint=hint):
        for _ in range(4):
            episodes.step(np.array([1, 0]))


def test_a_factory_must_make_a_new_environment_each_time(tmp_path: Path) -> None:
    with pytest.raises(SuiteError):
        Episodes(environment("make_same"), agent_for(tmp_path, LINE), n=2)
    Episodes(environment("make_same"), agent_for(tmp_path / "one", LINE), n=1)


def test_frames_are_pictures_or_an_error(tmp_path: Path) -> None:
    agent = agent_for(tmp_path, LINE)
    episodes = Episodes(environment("make_line"), agent, n=1, with_frames=True)
    episodes.reset([0])
    assert episodes.frame(0).shape == (8, 6, 3)
    without = Episodes(environment("make_line"), agent, n=1)
    without.reset([0])
    assert without.frame(0).shape == (8, 6, 3)  # this one renders in every mode
    cart = agent_for(tmp_path / "cart", gymnasium.make("CartPole-v1").observation_space)
    other = Episodes(environment_from("CartPole-v1"), cart, n=1)
    other.reset([0])
    with pytest.warns(UserWarning, match="render"), pytest.raises(InputError) as raised:
        other.frame(0)
    assert raised.value.field == "render()"
