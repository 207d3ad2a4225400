"""Deterministic policies in deterministic worlds: every state has one successor, so all are followed to their end.

Sums along the paths are computed by doubling: what happens in 2^(k+1) steps follows from what happens in 2^k steps.
"""

from __future__ import annotations

import numpy as np

from Neuron_Selection.ObservationTooling.finite_worlds.finite_world import DEATH, SUCCESS, FiniteWorld

_STATES_AT_ONCE = 1 << 15  # of all policies together: the arrays stay in a core's own cache


class FollowedPolicies:
    """m deterministic policies in a deterministic world.

    :param actions: (m, n_states)
    """

    def __init__(self, world: FiniteWorld, actions: np.ndarray) -> None:
        self._world, self._actions = world, actions
        states = np.arange(world.n_states)
        successors = world.successors[..., 0]
        self._after = np.empty((len(actions), world.n_states + 2), np.int64)
        ends = np.where(successors == SUCCESS, world.n_states, np.where(successors == DEATH, -1, successors))
        self._after[:, :-2] = ends[states, actions]
        self._after[:, :-2][self._after[:, :-2] < 0] = world.n_states + 1
        self._after[:, -2:] = world.n_states, world.n_states + 1  # both ends are followed by themselves

    def ends(self) -> tuple[np.ndarray, np.ndarray]:
        """Whether each state leads to success and to death, (m, n_states) each; a state of a loop leads to neither."""
        success, death = np.empty((2, *self._actions.shape), bool)
        for part in self._parts():
            after = self._after[part]
            for _ in range(self._world.n_states.bit_length()):
                after = np.take_along_axis(after, after, axis=1)
            success[part] = after[:, :-2] == self._world.n_states
            death[part] = after[:, :-2] == self._world.n_states + 1
        return success, death

    def discounted_sums(self, by_action: np.ndarray, gamma: float) -> np.ndarray:
        """Sums of gamma^t times a number that each state and action gives, along every path to its end.

        :param by_action: (n_states, n_actions)
        :param gamma: below 1, so that sums around loops exist
        :return: (m, n_states)
        """
        states, most = np.arange(self._world.n_states), float(np.abs(by_action).max())
        sums = np.empty(self._actions.shape)
        for part in self._parts():
            after = self._after[part]
            total = np.zeros(after.shape)
            total[:, :-2] = by_action[states, self._actions[part]]
            discount = gamma
            while discount * most > 1e-18 * (1.0 - gamma):
                total += discount * np.take_along_axis(total, after, axis=1)
                after = np.take_along_axis(after, after, axis=1)
                discount *= discount
            sums[part] = total[:, :-2]
        return sums

    def within_limit(self, horizon: int) -> dict[str, np.ndarray]:
        """What an episode from the start gives within a time limit, as means over the start distribution.

        :return: undiscounted ``return``, ``length``, shares of ``success`` and ``death``, (m,) each
        """
        world = self._world
        starts = np.flatnonzero(world.start > 0)
        place = np.tile(starts, (len(self._actions), 1))
        rewards = np.concatenate([world.rewards[..., 0], np.zeros((2, world.rewards.shape[1]))])
        actions = np.concatenate([self._actions, np.zeros((len(self._actions), 2), np.int64)], axis=1)
        total, length = np.zeros((2, *place.shape))
        for _ in range(horizon):
            running = place < world.n_states
            if not running.any():
                break
            total += rewards[place, np.take_along_axis(actions, place, axis=1)]
            length += running
            place = np.take_along_axis(self._after, place, axis=1)
        reached = {"return": total, "length": length, "success": place == world.n_states}
        reached["death"] = place == world.n_states + 1
        return {name: values @ world.start[starts] for name, values in reached.items()}

    def _parts(self) -> list[slice]:
        at_once = max(1, _STATES_AT_ONCE // self._world.n_states)
        return [slice(first, first + at_once) for first in range(0, len(self._actions), at_once)]
