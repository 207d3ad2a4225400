"""Agents for MiniGrid worlds and recorded inputs, made for tests of pairs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import gymnasium
import minigrid  # noqa: F401 - registers its environments
import numpy as np
from gymnasium import spaces
from minigrid.wrappers import FlatObsWrapper

from tests.extractors import MinigridFeaturesExtractor
from tests.made_agents import new_dqn, save_dqn, vector_space

DOOR_KEY = "MiniGrid-DoorKey-5x5-v0"
EXTRACTOR = f"{Path(__file__).parent}/extractors.py:MinigridFeaturesExtractor"


def decisive(model: Any) -> Any:
    """The model with larger weights and no biases: an untrained network otherwise decides alike everywhere."""
    for network in (model.policy.q_net, model.policy.q_net_target):
        for parameter in network.parameters():
            parameter.data *= 6 if parameter.ndim > 1 else 0
    return model


def vector_agent(folder: Path, width: int) -> Path:
    """An agent with vectors, which acts differently in random ones."""
    return save_dqn(folder, decisive(new_dqn(vector_space(width), net_arch=[12])))


def flat_agent(folder: Path) -> Path:
    """An agent with the 2,835 inputs of FlatObsWrapper."""
    space = FlatObsWrapper(gymnasium.make(DOOR_KEY)).observation_space
    return save_dqn(folder, decisive(new_dqn(space, n_actions=7, net_arch=[32, 32], seed=1)))


def image_agent(folder: Path) -> Path:
    """An agent with MiniGrid's image and an own features extractor."""
    space = spaces.Box(0, 255, (3, 7, 7), np.uint8)
    model = new_dqn(
        space, policy="CnnPolicy", n_actions=7, net_arch=[16], seed=2,
        features_extractor_class=MinigridFeaturesExtractor,
    )  # fmt: skip
    return save_dqn(folder, decisive(model))


def dict_agent(folder: Path) -> Path:
    """An agent with a Dict of an image, a vector and a Discrete."""
    parts = {
        "image": spaces.Box(0, 255, (3, 36, 36), np.uint8),
        "position": spaces.Box(-1, 1, (2,), np.float32),
        "room": spaces.Discrete(4),
    }
    model = new_dqn(spaces.Dict(parts), policy="MultiInputPolicy", n_actions=3, net_arch=[16], seed=5)
    return save_dqn(folder, decisive(model))


def dict_inputs(n: int = 24) -> dict[str, Any]:
    """Observations of ``dict_agent``."""
    random = np.random.default_rng(0)
    images = np.full((n, 3, 36, 36), 20, np.uint8)
    for row in range(n):
        images[row, :, 5 * row % 30 : 5 * row % 30 + 6, 10:20] = 200
    positions = random.uniform(-1, 1, (n, 2)).astype(np.float32)
    rooms = random.integers(0, 4, n)
    return {
        f"state-{row}": {"image": images[row].tolist(), "position": positions[row].tolist(), "room": int(rooms[row])}
        for row in range(n)
    }


def with_visited(folder: Path, inputs: dict[str, Any], *, n_clusters: int = 3) -> Path:
    """The agent folder with a file of visited inputs."""
    (folder / "activation_inputs").mkdir(exist_ok=True)
    entries = {name: {"input": one, "cluster": str(row % n_clusters)} for row, (name, one) in enumerate(inputs.items())}
    (folder / "activation_inputs" / "visited_inputs.json").write_text(json.dumps(entries))
    return folder


def random_inputs(width: int, n: int, *, seed: int = 0, values: int | None = None) -> dict[str, Any]:
    """Vectors: whole numbers below ``values``, or floats."""
    random = np.random.default_rng(seed)
    rows = random.normal(size=(n, width)).round(4) if values is None else random.integers(0, values, (n, width))
    return {f"state-{row}": one for row, one in enumerate(rows.astype(float).tolist())}


def loaded(folder: Path) -> dict[str, Any]:
    """The three files of pairs as JSON."""
    names = {"clean": "clean_inputs", "corrupted": "corrupted_inputs", "records": "pairs"}
    return {kind: json.loads((folder / f"{name}.json").read_text()) for kind, name in names.items()}
