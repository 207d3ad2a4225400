"""The policies of a baseline and of experiments in all states of a finite world."""

from __future__ import annotations

import numpy as np

from Neuron_Selection.AnalysisTooling.measures.decisions import greedy_actions
from Neuron_Selection.AnalysisTooling.measures.probabilities import softmax
from Neuron_Selection.FileFormats.observations import Observations, count_of, rows_of
from Neuron_Selection.ObservationTooling.environments.acting import Acting
from Parameter_Selection.RolloutTooling.experiments.deciders import BASELINE, Deciders
from Parameter_Selection.RolloutTooling.experiments.user_functions import UserFunction

_PAIRS_AT_ONCE = 1 << 18


def policies_of(
    deciders: Deciders, observations: Observations, acting: Acting, *, when: UserFunction | None
) -> np.ndarray:
    """What the baseline and every experiment do in every state.

    :param observations: of all states
    :param when: the changes are active where this function of observation and None is true
    :return: (1 + n_experiments, n_states) actions if the agent acts greedily, else probabilities with an axis more
    """
    n_states, count = count_of(observations), 1 + len(deciders.experiments)
    rows = np.arange(n_states)
    if when is not None:
        rows = np.array([row for row in rows if when(rows_of(observations, int(row)), None)], np.intp)
    unchanged = _policy(deciders.scores(observations, np.full(n_states, BASELINE), np.arange(n_states), None), acting)
    found = np.repeat(unchanged[None], count, axis=0)
    at_once = max(1, _PAIRS_AT_ONCE // max(len(rows), 1))
    for first in range(1, count, at_once):
        part = np.arange(first, min(first + at_once, count))
        which = np.repeat(part, len(rows))
        if len(which):
            scores = deciders.scores(observations, which, np.tile(rows, len(part)), None)
            found[part[:, None], rows] = _policy(scores, acting).reshape(len(part), len(rows), *unchanged.shape[1:])
    return found


def _policy(scores: np.ndarray, acting: Acting) -> np.ndarray:
    """Actions, (n,), or probabilities, (n, n_actions)."""
    if acting.kind == "greedy":
        return greedy_actions(scores)
    if acting.kind == "sampled":
        return softmax(scores)
    n_actions = scores.shape[1]
    epsilon = 1.0 if acting.kind == "random" else acting.epsilon
    mixed: np.ndarray = (1.0 - epsilon) * np.eye(n_actions)[greedy_actions(scores)] + epsilon / n_actions
    return mixed
