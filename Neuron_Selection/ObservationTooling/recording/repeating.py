"""Whether an episode can be repeated: the same seed and the same actions give the same observations."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from Neuron_Selection.FileFormats.observations import Observations, rows_of
from Neuron_Selection.ObservationTooling.environments.episodes import Episodes

STEPS = 10


def first_difference(episodes: Episodes, *, seed: int, actions: Sequence[int]) -> int | None:
    """Run the start of an episode twice and compare the observations, bit for bit.

    The environments are those in which other episodes have run, so a state that survives ``reset`` is found as well.

    :param actions: recorded in the episode of this seed; the first ``STEPS`` are repeated
    :return: the step before which the observations differ, 0 for the first ones; None if they do not
    """
    one, other = (_start(episodes, seed, actions[:STEPS]) for _ in range(2))
    different = [step for step, pair in enumerate(zip(one, other, strict=False)) if not _are_equal(*pair)]
    if different:
        return different[0]
    return None if len(one) == len(other) else min(len(one), len(other))


def _start(episodes: Episodes, seed: int, actions: Sequence[int]) -> list[Observations]:
    """The observations of the start of an episode, run in the first environment."""
    seen = [rows_of(episodes.reset([seed]), 0)]
    chosen = np.zeros(len(episodes.running), np.int64)
    for action in actions:
        if not episodes.running[0]:
            break
        chosen[0] = action
        seen.append(rows_of(episodes.step(chosen).observations, 0))
    return seen


def _are_equal(one: Observations, other: Observations) -> bool:
    if isinstance(one, dict) and isinstance(other, dict):
        return all(np.array_equal(one[key], other[key]) for key in one)
    return np.array_equal(np.asarray(one), np.asarray(other))
