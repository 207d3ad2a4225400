"""Goals of a search: ``flip``, ``matches_source`` and ``recovery=X``."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

import numpy as np

from Neuron_Selection.AnalysisTooling.measures.decisions import greedy_actions
from Neuron_Selection.AnalysisTooling.measures.metrics import action_flip, margin_effect, margin_parts, matches_source
from Neuron_Selection.errors import UsageError, shown

_ROUNDING = 1e-9  # of the effect: a whole layer recovers 1 less a few last bits


@dataclass(frozen=True, kw_only=True, slots=True)
class Goal:
    """``threshold`` belongs to ``recovery``, the margin effect (denoising: recovery, noising: damage) to be reached."""

    kind: Literal["flip", "matches_source", "recovery"]
    threshold: float = 0.0

    def __str__(self) -> str:
        return f"recovery={self.threshold!r}" if self.kind == "recovery" else self.kind


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Requirements:
    """A goal for one input as inequalities ``Q[ahead] - Q[behind] >= least``, up to ties.

    ``actions``: (r, 2), ahead and behind; ``least``: (r,); ``needs_all`` of them, or any.
    """

    actions: np.ndarray
    least: np.ndarray
    needs_all: bool


def parse_goal(text: str) -> Goal:
    """The goal of ``--goal``.

    :raises UsageError: another word, or a recovery out of range
    """
    if text == "flip":
        return Goal(kind="flip")
    if text == "matches_source":
        return Goal(kind="matches_source")
    found = re.fullmatch(r"recovery=([0-9]+(?:\.[0-9]+)?)", text, re.ASCII)
    if found is None or not 0 < float(found[1]) <= 1000:
        raise UsageError(
            field="goal",
            found=shown(text),
            expected="flip, matches_source or recovery=X with X above 0, as recovery=0.9",
        )
    return Goal(kind="recovery", threshold=float(found[1]))


def reached(goal: Goal, baseline: np.ndarray, patched: np.ndarray, source: np.ndarray) -> np.ndarray:
    """Which rows reach the goal.

    :param baseline: (m, n_actions), the target run's, like ``patched`` and ``source``
    :return: (m,)
    """
    if goal.kind == "flip":
        return action_flip(baseline, patched) > 0
    if goal.kind == "matches_source":
        return matches_source(patched, source) > 0
    return np.asarray(margin_effect(baseline, patched, source) >= goal.threshold - _ROUNDING)


def reached_together(
    goal: Goal, baseline: np.ndarray, patched: np.ndarray, source: np.ndarray, *, share: float
) -> np.ndarray:
    """Which sets reach the goal over all inputs: ``share`` of them do, or their ratio of sums does for ``recovery``.

    :param baseline: (n, n_actions), like ``source``
    :param patched: (n_sets, n, n_actions)
    :return: (n_sets,)
    """
    n_sets, n_rows, _ = patched.shape
    flat = patched.reshape(n_sets * n_rows, -1)
    before, origin = (np.tile(q_values, (n_sets, 1)) for q_values in (baseline, source))
    if goal.kind != "recovery":
        shares = reached(goal, before, flat, origin).reshape(n_sets, n_rows).mean(axis=1)
        return np.asarray(shares >= share - _ROUNDING)
    moved, whole = (part.reshape(n_sets, n_rows).sum(axis=1) for part in margin_parts(before, flat, origin))
    return np.asarray(moved >= (goal.threshold - _ROUNDING) * whole)


def requirements(goal: Goal, baseline: np.ndarray, source: np.ndarray) -> Requirements:
    """The goal's inequalities for one input, between allowed actions.

    :param baseline: (n_actions,), like ``source``
    """
    before, after = (int(greedy_actions(q_values[None])[0]) for q_values in (baseline, source))
    actions = np.flatnonzero(np.isfinite(baseline)).tolist()
    if goal.kind == "recovery":
        margins = [q_values[after] - q_values[before] for q_values in (baseline, source)]
        least = margins[0] + goal.threshold * (margins[1] - margins[0])
        return Requirements(actions=np.array([[after, before]]), least=np.array([least]), needs_all=True)
    if goal.kind == "flip":
        pairs = [[action, before] for action in actions if action != before]
    else:
        pairs = [[after, action] for action in actions if action != after]
    return Requirements(actions=np.array(pairs), least=np.zeros(len(pairs)), needs_all=goal.kind != "flip")
