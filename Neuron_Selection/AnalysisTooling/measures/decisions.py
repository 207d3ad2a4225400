"""Decisions of an agent: greedy actions, their margins, near ties."""

from __future__ import annotations

import numpy as np

# Float32 noise of a network across machines, batch sizes and library versions, as measured, relative to the largest
# Q-value. A decision is robust if the gap between its two best actions is more than twice that.
NOISE = 2e-5


def greedy_actions(q_values: np.ndarray) -> np.ndarray:
    """The action with the largest Q-value, the lowest index on a tie.

    :param q_values: (n_inputs, n_actions), finite
    :return: (n_inputs,), int64
    """
    actions: np.ndarray = np.argmax(q_values, axis=1)
    return actions


def action_margins(q_values: np.ndarray) -> np.ndarray:
    """The lead of the greedy action, in units of discounted return.

    :param q_values: (n_inputs, n_actions)
    :return: (n_inputs,), best minus second best; 0 on a tie, infinite for a single action
    """
    if q_values.shape[1] < 2:
        return np.full(len(q_values), np.inf)
    best_two: np.ndarray = np.partition(q_values, -2, axis=1)[:, -2:]
    margins: np.ndarray = best_two[:, 1] - best_two[:, 0]
    return margins


def near_ties(q_values: np.ndarray) -> np.ndarray:
    """Which decisions float noise alone could change.

    :param q_values: (n_inputs, n_actions)
    :return: (n_inputs,), True if the margin is at most 4e-5 * max(1, max |q|) of its row
    """
    scale = np.maximum(1.0, np.abs(q_values).max(axis=1))
    ties: np.ndarray = action_margins(q_values) <= 2 * NOISE * scale
    return ties


def noise_floor(q_values: np.ndarray) -> float:
    """The largest difference of Q-values that float noise alone can cause, over a batch."""
    return float(NOISE * max(1.0, float(np.abs(q_values).max(initial=0.0))))
