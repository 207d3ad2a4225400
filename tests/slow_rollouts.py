"""Rollouts told again, slowly: one environment, one episode, one step at a time; values by iteration of Bellman."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

Decide = Callable[[Any, int], int]
"""(observation, step) -> action."""


def episode(env: Any, decide: Decide, seed: int, max_steps: int) -> tuple[list[int], list[float]]:
    """Actions and rewards of one episode."""
    observation, _ = env.reset(seed=seed)
    actions, rewards = [], []
    for step in range(max_steps):
        action = decide(observation, step)
        observation, reward, terminated, truncated, _ = env.step(action)
        actions.append(action)
        rewards.append(float(reward))
        if terminated or truncated:
            break
    return actions, rewards


def values_of_policy(
    table: Any, policy: np.ndarray, gamma: float, *, sweeps: int = 2000, rewards: Any = None
) -> np.ndarray:
    """The value of each state of a table ``P[state][action]``, by repeated substitution.

    :param policy: (n_states, n_actions)
    :param rewards: function of (reward, next state, terminated); None means the reward itself
    """
    values = np.zeros(len(table))
    for _ in range(sweeps):
        new = np.zeros(len(table))
        for state in range(len(table)):
            for action, share in enumerate(policy[state]):
                for probability, after, reward, ended in table[state][action] if share else ():
                    gain = reward if rewards is None else rewards(reward, after, ended)
                    new[state] += share * probability * (gain + (0.0 if ended else gamma * values[after]))
        values = new
    return values


def walk(successors: np.ndarray, actions: np.ndarray, state: int) -> int:
    """Where a deterministic policy ends from a state: -1, -2, or 0 if it never does."""
    for _ in range(len(successors) + 1):
        state = int(successors[state, actions[state]])
        if state < 0:
            return state
    return 0
