"""A MiniGrid world that can be walked, and observed in any state through the wrappers around it."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager
from typing import Any

import gymnasium
import numpy as np
from minigrid.minigrid_env import MiniGridEnv

from Neuron_Selection.errors import UsageError
from Neuron_Selection.FileFormats.observations import Observations


class World:
    """One MiniGrid environment, its wrappers, and how its observations become a network's inputs.

    :param env: in its wrappers
    :param reset: starts the episode of a seed through all wrappers and returns the first observation, a batch of one
    :param step: takes an action and returns the next observation, a batch of one, and whether the episode continues
    :param action_mask: which actions are allowed now, (n_actions,); None if the agent uses no masks
    :raises UsageError: the environment is not MiniGrid's
    """

    def __init__(
        self,
        env: gymnasium.Env[Any, Any],
        *,
        reset: Callable[[int], Observations],
        step: Callable[[int], tuple[Observations, bool]],
        action_mask: Callable[[], np.ndarray | None] = lambda: None,
    ) -> None:
        self.env = env
        self.base = base_of(env)
        self.reset = reset
        self.step = step
        self.action_mask = action_mask

    def observe(self) -> Observations:
        """The current state as the first observation of an episode, a batch of one; the state is unchanged.

        All wrappers are reset, and get the current view instead of that of a new world.
        """
        with _reset_to_current_state(self.base):
            return self.reset(0)

    def state(self) -> Hashable:
        """What the agent's view depends on; equal in equal states."""
        base = self.base
        carried = None if base.carrying is None else tuple(map(int, base.carrying.encode()))
        x, y = base.agent_pos
        return base.grid.encode().tobytes(), int(x), int(y), int(base.agent_dir), carried


def base_of(env: gymnasium.Env[Any, Any]) -> MiniGridEnv:
    """The MiniGrid environment inside of all wrappers.

    :raises UsageError: it is another one
    """
    base = env.unwrapped
    if isinstance(base, MiniGridEnv):
        return base
    raise UsageError(
        f"method environment edits MiniGrid worlds, and this is a {type(base).__name__}; nearest and features are "
        "methods for every environment"
    )


@contextmanager
def _reset_to_current_state(base: MiniGridEnv) -> Iterator[None]:
    def reset(**_: Any) -> tuple[Any, dict[str, Any]]:
        return base.gen_obs(), {}  # type: ignore[no-untyped-call]

    vars(base)["reset"] = reset
    try:
        yield
    finally:
        del vars(base)["reset"]
