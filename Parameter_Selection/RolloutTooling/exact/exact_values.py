"""Values of all states under many policies, exact: by following each path, or by sparse linear systems."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from Neuron_Selection.ObservationTooling.finite_worlds.finite_world import FiniteWorld
from Parameter_Selection.RolloutTooling.exact.functional_graph import FollowedPolicies
from Parameter_Selection.RolloutTooling.exact.linear_values import SolvedPolicy


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class ExactValues:
    """m policies in a world of n states; the first policy is the baseline.

    ``values``: (m, n), expected discounted returns. ``success``, ``death``: (m, n), probabilities of these ends without
    a time limit; the rest up to 1 never ends. ``from_start``: (m,), the value of the start distribution.
    ``within_limit``: mean undiscounted ``return`` and ``length``, shares of ``success`` and ``death`` of episodes from
    the start with the world's time limit, (m,) each. ``residuals``: (m,), how far the performance-difference identity
    is missed.
    """

    values: np.ndarray
    success: np.ndarray
    death: np.ndarray
    from_start: np.ndarray
    within_limit: dict[str, np.ndarray]
    residuals: np.ndarray

    @property
    def classes(self) -> np.ndarray:
        """(m, n): 0 where success is the likeliest end, 1 death, 2 a loop without end."""
        loop = 1.0 - self.success - self.death
        likeliest: np.ndarray = np.argmax(np.stack([self.success, self.death, loop]), axis=0).astype(np.uint8)
        return likeliest


def exact_values(world: FiniteWorld, policies: np.ndarray, *, gamma: float, horizon: int) -> ExactValues:
    """The values of all states under each policy.

    The performance-difference identity of Kakade and Langford (2002), J' - J = sum_s d'(s) (q(s, pi'(s)) - v(s)), with
    J, q and v of the baseline and the discounted visits d' of the other policy, is checked for every policy.

    :param policies: (m, n) actions, or (m, n, n_actions) probabilities; the first is the baseline
    :param gamma: the discount factor, below 1
    :param horizon: the time limit of episodes
    """
    if policies.ndim == 2 and world.is_deterministic:
        return _followed(world, policies, gamma=gamma, horizon=horizon)
    if policies.ndim == 2:
        policies = np.eye(world.successors.shape[1])[policies]
    return _solved(world, policies, gamma=gamma, horizon=horizon)


def _followed(world: FiniteWorld, actions: np.ndarray, *, gamma: float, horizon: int) -> ExactValues:
    followed = FollowedPolicies(world, actions)
    values = followed.discounted_sums(world.rewards[..., 0], gamma)
    from_start = values @ world.start
    gains = followed.discounted_sums(_advantages(world, values[0], gamma), gamma) @ world.start
    success, death = followed.ends()
    return ExactValues(
        values=values,
        success=success.astype(np.float64),
        death=death.astype(np.float64),
        from_start=from_start,
        within_limit=followed.within_limit(horizon),
        residuals=np.abs(from_start - from_start[0] - gains),
    )


def _solved(world: FiniteWorld, policies: np.ndarray, *, gamma: float, horizon: int) -> ExactValues:
    shape = policies.shape[:2]
    values, success, death, gains = np.empty((4, *shape))
    limited: list[dict[str, float]] = []
    advantages = np.empty(0)
    for number, policy in enumerate(policies):
        solved = SolvedPolicy(world, policy, gamma)
        values[number] = solved.values
        success[number], death[number] = solved.ends()
        limited.append(solved.within_limit(horizon))
        if not number:
            advantages = _advantages(world, solved.values, gamma)
        gains[number] = solved.visits() * (policy * advantages).sum(axis=1)
    from_start = values @ world.start
    return ExactValues(
        values=values,
        success=success,
        death=death,
        from_start=from_start,
        within_limit={name: np.array([one[name] for one in limited]) for name in limited[0]},
        residuals=np.abs(from_start - from_start[0] - gains.sum(axis=1)),
    )


def _advantages(world: FiniteWorld, values: np.ndarray, gamma: float) -> np.ndarray:
    """By how much each action is better than the policy with these values, (n, n_actions)."""
    after = np.where(world.successors >= 0, values[world.successors], 0.0)
    q_values = (world.probabilities * (world.rewards + gamma * after)).sum(axis=2)
    advantages: np.ndarray = q_values - values[:, None]
    return advantages
