"""Decisions of an agent: greedy actions, their margins, near ties.

A mask forbids actions of an input. Their scores are then minus infinity: no decision falls on them, and no metric of
decisions counts them. Files hold the scores themselves, and the masks beside them.
"""

from __future__ import annotations

import numpy as np

# Float32 noise of a network across machines, batch sizes and library versions, as measured, relative to the largest
# Q-value. A decision is robust if the gap between its two best actions is more than twice that.
NOISE = 2e-5


def allowed_scores(scores: np.ndarray, masks: np.ndarray | None) -> np.ndarray:
    """The scores with minus infinity for every forbidden action; the scores as they are without masks.

    :param scores: (..., n_actions)
    :param masks: that broadcast to the same shape, True for an allowed action; at least one in each row
    """
    return scores if masks is None else np.where(masks, scores, -np.inf)


def greedy_actions(q_values: np.ndarray) -> np.ndarray:
    """The action with the largest Q-value, the lowest index on a tie.

    :param q_values: (n_inputs, n_actions), finite or of ``allowed_scores``
    :return: (n_inputs,), int64
    """
    actions: np.ndarray = np.argmax(q_values, axis=1)
    return actions


def action_margins(q_values: np.ndarray) -> np.ndarray:
    """The lead of the greedy action, in units of discounted return.

    :param q_values: (n_inputs, n_actions)
    :return: (n_inputs,), best minus second best; 0 on a tie, infinite for a single allowed action
    """
    if q_values.shape[1] < 2:
        return np.full(len(q_values), np.inf)
    best_two: np.ndarray = np.partition(q_values, -2, axis=1)[:, -2:]
    margins: np.ndarray = best_two[:, 1] - best_two[:, 0]
    return margins


def score_sizes(q_values: np.ndarray) -> np.ndarray:
    """The largest |score| of an allowed action, at least 1: what float noise is relative to.

    :param q_values: (n_inputs, n_actions)
    :return: (n_inputs,)
    """
    sizes: np.ndarray = np.abs(_of_allowed(q_values)).max(axis=1, initial=1.0)
    return sizes


def near_ties(q_values: np.ndarray) -> np.ndarray:
    """Which decisions float noise alone could change.

    :param q_values: (n_inputs, n_actions)
    :return: (n_inputs,), True if the margin is at most 4e-5 * max(1, max |q|) of its row
    """
    ties: np.ndarray = action_margins(q_values) <= 2 * NOISE * score_sizes(q_values)
    return ties


def noise_floor(q_values: np.ndarray) -> float:
    """The largest difference of Q-values that float noise alone can cause, over a batch."""
    return NOISE * float(score_sizes(q_values).max(initial=1.0))


def score_changes(before: np.ndarray, after: np.ndarray) -> np.ndarray:
    """The change of every score, float64; 0 for forbidden actions, which are minus infinity in both."""
    with np.errstate(invalid="ignore"):
        changes: np.ndarray = np.asarray(after, np.float64) - before
    changes[np.isnan(changes)] = 0.0
    return changes


def _of_allowed(q_values: np.ndarray) -> np.ndarray:
    """0 for forbidden actions."""
    forbidden = np.isneginf(q_values)
    return np.where(forbidden, 0.0, q_values) if forbidden.any() else q_values
