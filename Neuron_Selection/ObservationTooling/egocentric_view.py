"""The agent's view of a grid world, encoded as 151 zeros and ones."""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
import numpy.typing as npt
from minigrid.core.constants import OBJECT_TO_IDX
from minigrid.minigrid_env import MiniGridEnv

from Neuron_Selection.ObservationTooling.grid_worlds.environments import place
from Neuron_Selection.ObservationTooling.grid_worlds.layouts import Cell, Layout

VIEW = 7
CHANNELS = ("wall_or_unseen", "lava", "goal")
HEADING_NAMES = ("right", "down", "left", "up")
ACTIONS = ("left", "right", "forward")
LENGTH = VIEW * VIEW * len(CHANNELS) + len(HEADING_NAMES)
ENCODING: dict[str, Any] = {
    "name": "egocentric_view",
    "length": LENGTH,
    "view": {"rows": VIEW, "columns": VIEW, "agent": {"row": VIEW - 1, "column": VIEW // 2}, "looks_at": "row 0"},
    "channels": list(CHANNELS),
    "headings": list(HEADING_NAMES),
    "index": {
        "view": f"(row * {VIEW} + column) * {len(CHANNELS)} + channel",
        "heading": f"{VIEW * VIEW * len(CHANNELS)} + heading",
    },
    "values": [0, 1],
    "actions": list(ACTIONS),
}
"""The content of ``encoding.json``, which describes the inputs of an agent."""

_OBJECTS = [(OBJECT_TO_IDX["wall"], OBJECT_TO_IDX["unseen"]), (OBJECT_TO_IDX["lava"],), (OBJECT_TO_IDX["goal"],)]
_CHANNELS_OF = np.array([[index in indices for indices in _OBJECTS] for index in range(256)], np.float32)
"""(256, 3), the channels of each object."""


def encode_view(image: npt.NDArray[np.uint8], heading: int) -> npt.NDArray[np.float32]:
    """Turn MiniGrid's view into the agent's input.

    :param image: (7, 7, 3), ``gen_obs()["image"]``: column, row, (object, colour, state)
    :param heading: 0 right, 1 down, 2 left, 3 up
    :return: (151,)
    """
    encoded = np.zeros(LENGTH, np.float32)
    view = VIEW * VIEW * len(CHANNELS)
    encoded[:view] = _CHANNELS_OF[image[:, :, 0].T].ravel()
    encoded[view + heading] = 1.0
    return encoded


def observe(env: MiniGridEnv, layout: Layout, *, cell: Cell, heading: int) -> npt.NDArray[np.float32]:
    """Put the environment into a state and encode the agent's view.

    :return: (151,)
    """
    place(env, layout, cell=cell, heading=heading)
    return observe_now(env)


def observe_now(env: MiniGridEnv) -> npt.NDArray[np.float32]:
    """Encode the agent's current view.

    :return: (151,)
    """
    seen: dict[str, Any] = env.gen_obs()  # type: ignore[no-untyped-call]
    return encode_view(seen["image"], int(seen["direction"]))


class EgocentricView(gymnasium.ObservationWrapper[npt.NDArray[np.float32], Any, Any]):
    """A MiniGrid environment with 151 inputs, and the three actions that move the agent."""

    def __init__(self, env: gymnasium.Env[Any, Any]) -> None:
        super().__init__(env)
        self.observation_space = gymnasium.spaces.Box(0.0, 1.0, (LENGTH,), np.float32)
        self.action_space = gymnasium.spaces.Discrete(len(ACTIONS))

    def observation(self, observation: dict[str, Any]) -> npt.NDArray[np.float32]:
        """Encode an observation of MiniGrid.

        :return: (151,)
        """
        return encode_view(observation["image"], int(observation["direction"]))
