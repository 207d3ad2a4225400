"""Metrics of patching in scores (Q-values, or an actor's logits), with their units and where they are undefined.

m(Q) = Q[a_c] - Q[a_r] is the margin between the greedy actions a_c and a_r of the unpatched clean and corrupted runs.
All arrays of scores are (n_inputs, n_actions), all with the masks of the target run where actions are masked (see
``decisions``); all results are (n_inputs,), NaN where undefined.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from Neuron_Selection.AnalysisTooling.measures.decisions import greedy_actions, score_changes


def action_flip(baseline: np.ndarray, patched: np.ndarray) -> np.ndarray:
    """1 where the greedy action changed, else 0."""
    flips: np.ndarray = (greedy_actions(baseline) != greedy_actions(patched)).astype(np.float64)
    return flips


def matches_source(patched: np.ndarray, source: np.ndarray) -> np.ndarray:
    """1 where the patched action is the source run's."""
    matches: np.ndarray = (greedy_actions(patched) == greedy_actions(source)).astype(np.float64)
    return matches


def margin_effect(baseline: np.ndarray, patched: np.ndarray, source: np.ndarray) -> np.ndarray:
    """The share of the way from the target run's margin to the source run's that the patch covers; not clipped.

    In denoising this is margin_recovery, (m(patched) - m(x_r)) / (m(x_c) - m(x_r)), in noising margin_damage,
    (m(x_c) - m(patched)) / (m(x_c) - m(x_r)) (Zhang and Nanda 2023, arXiv 2309.16042).

    :return: 0 as in the target run, 1 as in the source run, NaN without contrast
    """
    change, gap = margin_parts(baseline, patched, source)
    values: np.ndarray = np.divide(change, gap, out=np.full(len(gap), np.nan), where=gap != 0)
    return values


def margin_parts(baseline: np.ndarray, patched: np.ndarray, source: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Numerator and denominator of ``margin_effect``; a data set's effect is the ratio of their sums.

    :return: (n_inputs,) each; 0 and 0 without contrast
    """
    rows = np.arange(len(baseline))
    target_action, source_action = greedy_actions(baseline), greedy_actions(source)

    def margin(q_values: np.ndarray) -> np.ndarray:
        difference: np.ndarray = np.asarray(q_values, np.float64)
        values: np.ndarray = difference[rows, source_action] - difference[rows, target_action]
        return values

    return margin(patched) - margin(baseline), margin(source) - margin(baseline)


def self_regret(baseline: np.ndarray, patched: np.ndarray) -> np.ndarray:
    """The loss of the patched action in the unpatched network, Q(s, a*) - Q(s, a_patched) >= 0, in units of return."""
    rows = np.arange(len(baseline))
    regret: np.ndarray = np.asarray(baseline, np.float64).max(axis=1) - baseline[rows, greedy_actions(patched)]
    return regret


def value_shift(baseline: np.ndarray, patched: np.ndarray) -> np.ndarray:
    """Change of max_a Q; alone it cannot change the action."""
    shift: np.ndarray = np.asarray(patched, np.float64).max(axis=1) - np.asarray(baseline, np.float64).max(axis=1)
    return shift


def advantage_shift(baseline: np.ndarray, patched: np.ndarray) -> np.ndarray:
    """Euclidean norm of the change of Q - max Q; only this change can change the action."""
    before, after = (np.asarray(q, np.float64) for q in (baseline, patched))
    change = score_changes(before - before.max(axis=1, keepdims=True), after - after.max(axis=1, keepdims=True))
    norm: np.ndarray = np.linalg.norm(change, axis=1)
    return norm


def vector_recovery(baseline: np.ndarray, patched: np.ndarray, source: np.ndarray) -> np.ndarray:
    """1 - |Q_patched - Q_source|^2 / |Q_target - Q_source|^2; NaN if target and source agree."""
    left = np.square(score_changes(source, patched)).sum(axis=1)
    whole = np.square(score_changes(source, baseline)).sum(axis=1)
    values: np.ndarray = 1.0 - np.divide(left, whole, out=np.full(len(whole), np.nan), where=whole != 0)
    return values


OF_ITSELF: dict[str, Callable[[np.ndarray, np.ndarray], np.ndarray]] = {  # of baseline, patched
    "action_flip": action_flip,
    "self_regret": self_regret,
    "value_shift": value_shift,
    "advantage_shift": advantage_shift,
}
OF_Q_VALUES = ("self_regret", "value_shift")  # in units of return; undefined for logits
OF_THE_PAIR: dict[str, Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray]] = {  # of baseline, patched, source
    "matches_source": lambda _baseline, patched, source: matches_source(patched, source),
    "margin_effect": margin_effect,
    "vector_recovery": vector_recovery,
}
