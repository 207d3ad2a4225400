"""States that can be named: in a deterministic environment, an episode that comes back to a state repeats itself."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import Any

import gymnasium
from gymnasium.wrappers import OrderEnforcing, PassiveEnvChecker, TimeLimit
from minigrid.minigrid_env import MiniGridEnv

from Neuron_Selection.errors import UsageError
from Neuron_Selection.ObservationTooling.grid_worlds.environments import agent_cell, current_layout

_WITHOUT_STATE = (OrderEnforcing, PassiveEnvChecker, TimeLimit, gymnasium.ObservationWrapper)
"""Wrappers after which the state is that of the environment inside, but for the number of steps."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class NamedStates:
    """``key``: the current state, equal for equal states. ``limit``: the step at which an episode is truncated."""

    key: Callable[[], Hashable]
    limit: int | None


def named_states(env: gymnasium.Env[Any, Any]) -> NamedStates | None:
    """The states of an episode that has just started; None where they cannot be named, or steps are random.

    They are known for MiniGrid with walls, lava and goals, which nothing moves, and for toy text without chance. The
    reward must be a function of state and action until the episode ends.
    """
    limits = []
    while isinstance(env, gymnasium.Wrapper):
        if not isinstance(env, _WITHOUT_STATE):
            return None
        if isinstance(env, TimeLimit):
            limits.append(env._max_episode_steps)  # noqa: SLF001 - gymnasium has no other access to it
        env = env.env
    base: Any = env
    if isinstance(base, MiniGridEnv) and type(base).__module__.startswith("minigrid."):
        try:
            current_layout(base)
        except UsageError:
            return None
        return NamedStates(key=lambda: (agent_cell(base), int(base.agent_dir)), limit=min([*limits, base.max_steps]))
    if type(base).__module__.startswith("gymnasium.envs.toy_text.") and _is_deterministic(base):
        return NamedStates(key=lambda: int(base.s), limit=min(limits, default=None))
    return None


def _is_deterministic(env: Any) -> bool:
    table = getattr(env, "P", None)
    return table is not None and all(len(outcomes) == 1 for actions in table.values() for outcomes in actions.values())
