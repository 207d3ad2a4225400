"""The environment of the example agents, for ``--env examples/lava_crossing/environment.py:make_env``."""

from __future__ import annotations

from typing import Any

import gymnasium
import minigrid  # noqa: F401 - registers its environments

from Neuron_Selection.ObservationTooling.egocentric_view import EgocentricView


def make_env(env_id: str = "MiniGrid-LavaCrossingS9N1-v0", render_mode: str | None = None) -> gymnasium.Env[Any, Any]:
    """MiniGrid's lava crossing, observed as the agents were trained: 151 inputs, three actions."""
    return EgocentricView(gymnasium.make(env_id, render_mode=render_mode))
