"""The spaces of an environment against the agent's: what fits, and the wrapper that is suggested where it does not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from gymnasium import spaces

from Neuron_Selection.errors import InputError
from Neuron_Selection.ObservationTooling import Episodes
from Neuron_Selection.ObservationTooling.environments.environment import Environment, environment_from
from tests.made_normalizers import new_normalizer, saved
from tests.ObservationTooling.environments.test_episodes import FACTORIES, agent_for, environment

EMPTY = "MiniGrid-Empty-5x5-v0"
PREFIX = "minigrid.wrappers."


def refusal(world: Environment, folder: Path, space: spaces.Space[Any], n_actions: int) -> InputError:
    agent = agent_for(folder, space, n_actions)
    with pytest.raises(InputError) as raised:
        Episodes(world, agent, n=1)
    return raised.value


def image(*shape: int) -> spaces.Box:
    return spaces.Box(0, 255, shape, np.uint8)


# what the agent was trained on: the wrappers that give it, the agent's space
SUGGESTED: dict[str, tuple[str, spaces.Space[Any]]] = {
    "FlatObs": (f"--wrapper {PREFIX}FlatObsWrapper", image(2835)),
    "ImgObs": (f"--wrapper {PREFIX}ImgObsWrapper", image(3, 7, 7)),
    "flat image": (f"--wrapper {PREFIX}ImgObsWrapper gymnasium.wrappers.FlattenObservation", image(147)),
    "FullyObs": (f"--wrapper {PREFIX}FullyObsWrapper {PREFIX}ImgObsWrapper", image(3, 5, 5)),
    "RGB part": (f"--wrapper {PREFIX}RGBImgPartialObsWrapper {PREFIX}ImgObsWrapper", image(3, 56, 56)),
    "RGB": (f"--wrapper {PREFIX}RGBImgObsWrapper {PREFIX}ImgObsWrapper", image(3, 40, 40)),
}


@pytest.mark.parametrize("case", SUGGESTED)
def test_a_known_wrapper_of_minigrid_is_suggested(case: str, tmp_path: Path) -> None:
    flags, space = SUGGESTED[case]
    error = refusal(environment_from(EMPTY), tmp_path, space, 7)
    assert error.field == "observation space"
    assert error.hint == f"{flags} would give it"
    assert error.found.startswith("Dict {direction: Discrete 4, image: Box (7, 7, 3) uint8 (image), mission: ")
    world = environment_from(EMPTY, wrapper=flags.split()[1:])
    Episodes(world, agent_for(tmp_path, space, 7), n=1).reset([0])


def test_stacked_frames_flat_vectors_and_keys_are_suggested(tmp_path: Path) -> None:
    frames = refusal(environment("make_images"), tmp_path / "frames", image(4, 36, 40), 2)
    assert frames.hint == "--frame_stack 4 would give it"
    one_hot = spaces.Box(0, 1, (16,), np.int64)
    flat = refusal(environment_from("FrozenLake-v1"), tmp_path / "flat", one_hot, 4)
    assert flat.hint == "--wrapper gymnasium.wrappers.FlattenObservation would give it"
    part = spaces.Dict({"grid": spaces.Box(-1, 1, (2, 4), np.float32)})
    keys = refusal(environment("make_parts"), tmp_path / "keys", part, 2)
    assert keys.hint == '--wrapper gymnasium.wrappers.FilterObservation:filter_keys=["grid"] would give it'


# factory or id: found, expected, the agent's space
OTHERS: dict[str, tuple[str, str, spaces.Space[Any]]] = {
    "make_line": ("Box (2,) float32", "Box (3,) float32, as the agent's", spaces.Box(-1, 1, (3,), np.float32)),
    "make_tuple": ("Tuple (Box (2,) float32, Text)", "Box (3,) float32, as the agent's",
                   spaces.Box(-1, 1, (3,), np.float32)),
    "make_images": ("Box (36, 40, 1) uint8 (image)", "Box (1, 36, 40) float32, as the agent's",
                    spaces.Box(0, 1, (1, 36, 40), np.float32)),
    "make_parts": ("Dict {grid: Box (2, 4) float32, state: Discrete 5}",
                   "Dict {grid: Box (2, 4) float32, state: Discrete 6}, as the agent's",
                   spaces.Dict({"grid": spaces.Box(-1, 1, (2, 4), np.float32), "state": spaces.Discrete(6)})),
}  # fmt: skip


@pytest.mark.parametrize("factory", OTHERS)
def test_other_observations_are_refused_with_both_spaces(factory: str, tmp_path: Path) -> None:
    found, expected, space = OTHERS[factory]
    error = refusal(environment(factory), tmp_path, space, 2)
    assert (error.found, error.expected, error.hint) == (found, expected, "")


def test_other_actions_are_refused(tmp_path: Path) -> None:
    error = refusal(environment("make_other_actions"), tmp_path, spaces.Box(-1000, 1000, (2,), np.float32), 2)
    assert (error.field, error.found, error.expected) == ("action space", "Discrete 3", "Discrete 2, as the agent's")
    continuous = refusal(environment_from("Pendulum-v1"), tmp_path, spaces.Box(-8, 8, (3,), np.float32), 2)
    assert continuous.found == "Box (1,) float32"


def test_bounds_may_differ_but_an_image_must_be_one(tmp_path: Path) -> None:
    Episodes(environment("make_line"), agent_for(tmp_path, spaces.Box(-1, 1, (2,), np.float64)), n=1).reset([0])
    error = refusal(environment("make_images"), tmp_path / "other", spaces.Box(0, 254, (1, 36, 40), np.uint8), 2)
    assert error.found.endswith("(image)")


def test_images_that_vecnormalize_changes_have_another_dtype(tmp_path: Path) -> None:
    normalizer = new_normalizer(image(36, 40, 1))
    path = saved(normalizer, tmp_path / "vecnormalize.pkl")
    agent = agent_for(tmp_path, normalizer.observation_space, vecnormalize=path)
    observations = np.asarray(Episodes(environment("make_images"), agent, n=1).reset([0]))
    assert (observations.shape, observations.dtype) == ((1, 36, 40, 1), np.float32)


def test_an_environment_is_rendered_where_a_wrapper_needs_it(tmp_path: Path) -> None:
    world = environment_from("CartPole-v1", wrapper=["gymnasium.wrappers.AddRenderObservation"])
    assert world.make().render_mode == "rgb_array"


def test_the_file_of_factories_is_run_once_and_hashed() -> None:
    world = environment("make_line")
    assert world.described()["env"] == f"{FACTORIES}:make_line"
    assert len(world.described()["env_file_sha256"]) == 64
    assert type(world.make()) is type(environment("make_line").make())
