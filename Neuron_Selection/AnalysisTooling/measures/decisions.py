"""What an agent decides, and how surely: greedy actions, margins, near ties."""

from __future__ import annotations

import numpy as np

# Measured float32 noise of one network on other machines, batch sizes and library versions, as a share of the
# largest Q-value; a decision is safe where the gap of its two best actions is more than twice that.
NOISE = 2e-5


def greedy_actions(q_values: np.ndarray) -> np.ndarray:
    """The action of the greatest Q-value, the lowest index on a tie.

    :param q_values: (n_inputs, n_actions), finite
    :return: (n_inputs,), int64
    """
    actions: np.ndarray = np.argmax(q_values, axis=1)
    return actions


def action_margins(q_values: np.ndarray) -> np.ndarray:
    """How far the greedy action leads, in units of discounted return.

    :param q_values: (n_inputs, n_actions)
    :return: (n_inputs,), best minus second best; 0 on a tie, infinite where there is one action only
    """
    if q_values.shape[1] < 2:
        return np.full(len(q_values), np.inf)
    best_two: np.ndarray = np.partition(q_values, -2, axis=1)[:, -2:]
    margins: np.ndarray = best_two[:, 1] - best_two[:, 0]
    return margins


def near_ties(q_values: np.ndarray) -> np.ndarray:
    """Which decisions could fall otherwise by float noise alone.

    :param q_values: (n_inputs, n_actions)
    :return: (n_inputs,), True where the margin is at most 4e-5 * max(1, max |q|) of its row
    """
    scale = np.maximum(1.0, np.abs(q_values).max(axis=1))
    ties: np.ndarray = action_margins(q_values) <= 2 * NOISE * scale
    return ties


def noise_floor(q_values: np.ndarray) -> float:
    """The difference of Q-values that float noise alone can make, over a whole batch."""
    return float(NOISE * max(1.0, float(np.abs(q_values).max(initial=0.0))))
