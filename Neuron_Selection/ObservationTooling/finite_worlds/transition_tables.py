"""Finite worlds from transition tables: Gymnasium's toy text, and environments of the user with ``transitions()``.

A table is ``P[state][action] = [(probability, next_state, reward, terminated), ...]``, as in Gymnasium's toy text.
``transitions()`` returns a dict:

    P             list or dict, states 0..n-1, of lists or dicts, actions 0..m-1; an outcome may have a fifth entry,
                  whether a terminated one is a success (default: where its reward is positive)
    observations  what the environment returns as observation in each state, in order (default: the state itself)
    start         n probabilities of the states in which episodes start
    labels        n texts, optional
    groups        n texts, such as the name of each state's layout, optional
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from Neuron_Selection.errors import InputError, shown
from Neuron_Selection.ObservationTooling.finite_worlds.finite_world import DEATH, SUCCESS, FiniteWorld

Outcomes = dict[tuple[int, bool, bool], tuple[float, float]]
"""(next state, terminated, success) -> (probability, mean reward)."""


def world_from_table(
    table: Mapping[str, Any],
    *,
    n_actions: int,
    observe: Callable[[Any], Any],
    horizon: int | None,
    meaning: str = "reward",
    where: str,
) -> FiniteWorld:
    """A world from what ``transitions()`` returns.

    States that no actions reach from a start, or that are entered only where the episode ends, are left out.

    :param n_actions: of the environment's action space
    :param observe: from an observation in the table to that behind the wrappers
    :param meaning: of termination, where outcomes do not report success: ``success`` or ``reward``
    :param where: the environment, for messages
    :raises InputError: the part of the table, what was found and what was expected
    """
    if not isinstance(table, Mapping) or "P" not in table:
        raise InputError(where, "transitions()", found=shown(table), expected="a dict with P, observations and start")
    outcomes = _outcomes(table["P"], n_actions, meaning, where)
    count = len(outcomes)
    start = _start(table.get("start"), count, where)
    observations = _listed(table, "observations", range(count), count, where)
    acting = _reachable(outcomes, start)
    place = {state: number for number, state in enumerate(acting)}
    most = max(len(outcomes[state][action]) for state in acting for action in range(n_actions))
    successors = np.full((len(acting), n_actions, most), DEATH, np.int64)
    probabilities, rewards = np.zeros((2, len(acting), n_actions, most))
    for state, row in place.items():
        for action in range(n_actions):
            for number, ((after, ended, success), (share, reward)) in enumerate(outcomes[state][action].items()):
                end = SUCCESS if success else DEATH
                successors[row, action, number] = end if ended else place[after]
                probabilities[row, action, number], rewards[row, action, number] = share, reward
    labels = _listed(table, "labels", [f"state {state}" for state in range(count)], count, where)
    groups = _listed(table, "groups", None, count, where)
    return FiniteWorld(
        observations=[observe(observations[state]) for state in acting],
        successors=successors,
        probabilities=probabilities,
        rewards=rewards,
        start=start[acting],
        labels=tuple(str(labels[state]) for state in acting),
        groups=() if groups is None else tuple(str(groups[state]) for state in acting),
        horizon=horizon,
        remark=f"{count - len(acting)} of {count} states are never acted in" if len(acting) < count else "",
    )


def _outcomes(table: Any, n_actions: int, meaning: str, where: str) -> list[list[Outcomes]]:
    """Outcomes of each state and action, with those of probability 0 left out and equal ones added up."""
    rows = _in_order(table, None, where, "P")
    found = []
    for state, row in enumerate(rows):
        actions = _in_order(row, n_actions, where, f"P[{state}]")
        found.append(
            [
                _merged(outcomes, len(rows), meaning, where, f"P[{state}][{action}]")
                for action, outcomes in enumerate(actions)
            ]
        )
    return found


def _merged(outcomes: Any, count: int, meaning: str, where: str, field: str) -> Outcomes:
    merged: Outcomes = {}
    total = 0.0
    for outcome in outcomes:
        try:
            share, after, reward, ended, *success = outcome
            share, after, reward = float(share), int(after), float(reward)
        except (TypeError, ValueError):
            expected = "(probability, next_state, reward, terminated)"
            raise InputError(where, field, found=shown(outcome), expected=expected) from None
        if not (0 <= share <= 1 and 0 <= after < count and np.isfinite(reward)):
            expected = f"a probability, a state below {count} and a finite reward"
            raise InputError(where, field, found=shown(outcome), expected=expected)
        total += share
        if not share:
            continue
        succeeded = bool(success[0]) if success else meaning == "success" or reward > 0
        key = (-1 if ended else after, bool(ended), bool(ended) and succeeded)
        before = merged.get(key, (0.0, 0.0))
        merged[key] = (before[0] + share, before[1] + share * reward)
    if abs(total - 1.0) > 1e-9:
        raise InputError(where, field, found=f"probabilities that sum to {total:.6g}", expected="1")
    return {key: (share, reward / share) for key, (share, reward) in merged.items()}


def _reachable(outcomes: Sequence[Sequence[Outcomes]], start: np.ndarray) -> list[int]:
    """The states in which an agent can act, in order."""
    waiting = np.flatnonzero(start > 0).tolist()
    found = set(waiting)
    while waiting:
        after = {state for one in outcomes[waiting.pop()] for state, ended, _ in one if not ended} - found
        found |= after
        waiting += after
    return sorted(found)


def _in_order(value: Any, count: int | None, where: str, field: str) -> list[Any]:
    """The values of a list, or of a dict with keys 0, 1, ..."""
    if isinstance(value, Mapping):
        keys = range(len(value)) if count is None else range(count)
        if set(value) == set(keys):
            return [value[key] for key in keys]
    elif isinstance(value, Sequence | np.ndarray) and len(value) and len(value) == (count or len(value)):
        return list(value)
    expected = "one entry for each state, from 0" if count is None else f"one entry for each of {count} actions, from 0"
    raise InputError(where, field, found=shown(value), expected=expected)


def _start(start: Any, count: int, where: str) -> np.ndarray:
    try:
        found = np.asarray(start, np.float64)
    except (TypeError, ValueError):
        found = np.empty(0)
    if found.shape != (count,) or not (found >= 0).all() or abs(found.sum() - 1.0) > 1e-9:
        expected = f"{count} probabilities that sum to 1"
        raise InputError(where, "start", found=shown(start), expected=expected)
    return found


def _listed(table: Mapping[str, Any], key: str, default: Any, count: int, where: str) -> Any:
    values = table.get(key, default)
    if values is not None and len(values) != count:
        raise InputError(where, key, found=f"{len(values)} of them", expected=f"{count}, one for each state")
    return values
