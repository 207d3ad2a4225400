"""Slow derivations of pairs from their definitions: loops over all states and all sets."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from itertools import combinations

import numpy as np


def slow_nearest(values: np.ndarray, actions: Sequence[int], row: int, donors: Iterable[int]) -> tuple[int, int, float]:
    """The donor of a row, in how many entries they differ, and their distance."""
    deviations = [float(np.std([float(value) for value in column])) for column in values.T]
    best: tuple[int, int, float] | None = None
    for donor in donors:
        if actions[donor] == actions[row]:
            continue
        entries = [entry for entry in range(values.shape[1]) if values[donor, entry] != values[row, entry]]
        distance = math.fsum(
            abs(float(values[donor, entry]) - float(values[row, entry])) / deviations[entry] for entry in entries
        )
        is_nearer = best is None or len(entries) < best[1] or (len(entries) == best[1] and distance < best[2] - 1e-9)
        if is_nearer:
            best = (donor, len(entries), distance)
    assert best is not None
    return best


def slow_smallest(groups: Sequence[int], flips: Callable[[frozenset[int]], bool]) -> int:
    """The size of the smallest set of groups that flips the decision."""
    return next(
        size
        for size in range(1, len(groups) + 1)
        if any(flips(frozenset(chosen)) for chosen in combinations(groups, size))
    )
