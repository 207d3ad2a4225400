"""``FiniteWorld``: every state of an environment, what is observed in it, and where each action leads."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

SUCCESS, DEATH = -1, -2
"""The successor where the episode ends."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class FiniteWorld:
    """An environment with known transitions; n is the number of states in which an agent can act.

    :param observations: n observations, as the environment returns them behind its wrappers
    :param successors: (n, n_actions, k), the state after each of k possible outcomes, SUCCESS or DEATH at an end
    :param probabilities: (n, n_actions, k), which sum to 1 over k
    :param rewards: (n, n_actions, k)
    :param start: (n,), the probability that an episode starts in each state
    :param labels: n names of states
    :param groups: n names of what the states belong to, such as layouts; empty where there are none
    :param horizon: the time limit of an episode, None for none
    :param remark: what a reader must know about the table, such as a reward that is not the environment's own
    """

    observations: Sequence[Any]
    successors: npt.NDArray[np.int64]
    probabilities: npt.NDArray[np.float64]
    rewards: npt.NDArray[np.float64]
    start: npt.NDArray[np.float64]
    labels: tuple[str, ...]
    groups: tuple[str, ...] = ()
    horizon: int | None = None
    remark: str = ""

    @property
    def n_states(self) -> int:
        """The number of states."""
        return len(self.labels)

    @property
    def is_deterministic(self) -> bool:
        """Whether every action has a single outcome."""
        return bool(self.successors.shape[2] == 1)
