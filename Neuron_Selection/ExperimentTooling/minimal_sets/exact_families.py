"""All minimal sets, by branch and bound in the order of their size; nothing is assumed monotone.

A set is minimal where it reaches the goal and no proper subset reaches. Sets grow by neurons that come later in one
order, so each is visited once; a branch ends at a set that reaches the goal, or where a bound shows that no neurons
that may still join can reach it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

from Neuron_Selection.ExperimentTooling.minimal_sets.search import Search

Possible: TypeAlias = Callable[[np.ndarray, np.ndarray], np.ndarray]  # chosen, free, both (k, width), to (k,)


@dataclass(frozen=True, kw_only=True, slots=True)
class Family:
    """Minimal sets, the smallest first.

    Every minimal set of at most ``complete_up_to`` neurons is among ``sets``; ``is_whole``: there are no others.
    ``looked_at``: sets run or excluded by the bound.
    """

    sets: tuple[tuple[int, ...], ...]
    complete_up_to: int
    is_whole: bool
    looked_at: int


def search_family(order: np.ndarray, width: int, *, budget: int, possible: Possible | None = None) -> Search[Family]:
    """The minimal sets among ``order`` as far as the budget goes.

    :param order: the candidates, strongest first, so that what may still join a late branch is weak
    :param budget: how many sets to visit
    :param possible: False only where no subset of the free neurons, added to the chosen ones, reaches the goal
    """
    order = np.asarray(order, np.intp)
    found = np.zeros((0, width), bool)
    empty = np.zeros((1, width), bool)
    looked_at = 1
    if (yield empty)[0]:
        return Family(sets=((),), complete_up_to=len(order), is_whole=True, looked_at=looked_at)
    masks, last = empty, np.array([-1])  # the sets of one size that fail, and the place of the last to join
    for size in range(1, len(order) + 1):
        if looked_at + int((len(order) - 1 - last).sum()) > budget:
            return _family(found, complete_up_to=size - 1, is_whole=False, looked_at=looked_at)
        masks, last = _grown(masks, last, order)
        looked_at += len(masks)
        for smaller in found:
            keep = ~(masks >= smaller).all(axis=1)
            masks, last = masks[keep], last[keep]
        if possible is not None and len(masks):
            keep = possible(masks, _free(last, order, width))
            masks, last = masks[keep], last[keep]
        if not len(masks):
            return _family(found, complete_up_to=len(order), is_whole=True, looked_at=looked_at)
        reaches = yield masks
        found = np.concatenate([found, masks[reaches]])
        masks, last = masks[~reaches], last[~reaches]
    return _family(found, complete_up_to=len(order), is_whole=True, looked_at=looked_at)


def _grown(masks: np.ndarray, last: np.ndarray, order: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Every set with one more neuron, after its last one."""
    counts = len(order) - 1 - last
    parents = np.repeat(np.arange(len(masks)), counts)
    starts = np.repeat(np.cumsum(counts) - counts, counts)
    places = np.arange(len(parents)) - starts + np.repeat(last, counts) + 1
    grown = masks[parents]
    grown[np.arange(len(grown)), order[places]] = True
    return grown, places


def _free(last: np.ndarray, order: np.ndarray, width: int) -> np.ndarray:
    free = np.zeros((len(last), width), bool)
    free[:, order] = np.arange(len(order)) > last[:, None]
    return free


def _family(found: np.ndarray, *, complete_up_to: int, is_whole: bool, looked_at: int) -> Family:
    sets = [tuple(int(neuron) for neuron in np.flatnonzero(mask)) for mask in found]
    return Family(
        sets=tuple(sorted(sets, key=lambda neurons: (len(neurons), neurons))),
        complete_up_to=complete_up_to,
        is_whole=is_whole,
        looked_at=looked_at,
    )
