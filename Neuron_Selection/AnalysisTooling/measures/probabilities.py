"""Probabilities of actions, the softmax of logits: an actor's own policy."""

from __future__ import annotations

import numpy as np

from Neuron_Selection.AnalysisTooling.measures.decisions import greedy_actions


def softmax(scores: np.ndarray) -> np.ndarray:
    """Softmax at temperature 1, (n_inputs, n_actions), float64."""
    double = np.asarray(scores, np.float64)
    shifted = np.exp(double - double.max(axis=1, keepdims=True))
    normalised: np.ndarray = shifted / shifted.sum(axis=1, keepdims=True)
    return normalised


def probability_shift(baseline: np.ndarray, patched: np.ndarray) -> np.ndarray:
    """Change of the probability of the unpatched run's greedy action, p_patched[a] - p_baseline[a], (n_inputs,)."""
    rows, action = np.arange(len(baseline)), greedy_actions(baseline)
    shift: np.ndarray = softmax(patched)[rows, action] - softmax(baseline)[rows, action]
    return shift
