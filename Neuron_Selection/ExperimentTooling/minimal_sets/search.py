"""From a whole layer down to a 1-minimal set: delta debugging (ddmin, Zeller and Hildebrandt 2002).

A search yields the sets that it needs run and receives which of them reach the goal; ``run_searches`` runs many
searches in step. Nothing is assumed monotone: every failure that a certificate relies on was run.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Hashable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import TypeAlias, TypeVar

import numpy as np

Result = TypeVar("Result")
Key = TypeVar("Key", bound=Hashable)
Search: TypeAlias = Generator[np.ndarray, np.ndarray, Result]  # yields (k, width) masks, is sent (k,) booleans

_ALL_SUBSETS = 8  # up to this size every subset of the set found is run


@dataclass(frozen=True, kw_only=True, slots=True)
class FoundSet:
    """A set that reaches the goal and no longer reaches without any one of its members.

    ``is_minimal``: no proper subset reaches it, all were run; None for sets above 8, whose subsets were not all run.
    ``broken_by``: neurons that, added to the set, undo the goal, so that the effect is not monotone. ``has_detour``:
    ddmin had stopped at a larger set whose single removals all fail. ``runs``: sets run on the way.
    """

    neurons: tuple[int, ...]
    is_minimal: bool | None
    broken_by: tuple[int, ...]
    has_detour: bool
    runs: int


def search_minimal_set(order: np.ndarray, width: int) -> Search[FoundSet | None]:
    """A 1-minimal set, weak neurons removed first; None if even all of ``order`` together fail.

    :param order: the candidates, weakest first; neurons that differ nowhere need not be among them
    """
    members, granularity, runs = np.asarray(order, np.intp), 2, 2
    empty_does, whole_does = yield _masks([members[:0], members], width)
    if empty_does:
        return FoundSet(neurons=(), is_minimal=True, broken_by=(), has_detour=False, runs=runs)
    if not whole_does:
        return None
    while True:
        granularity = min(granularity, len(members))
        chunks = np.array_split(members, granularity)
        alone_masks = _masks(chunks, width)
        reaches = yield np.concatenate([alone_masks, _masks([members], width) & ~alone_masks])
        runs += len(reaches)
        alone, without = np.flatnonzero(reaches[:granularity]), np.flatnonzero(reaches[granularity:])
        if len(alone) and granularity > 1:
            members, granularity = chunks[alone[-1]], 2
        elif len(without):
            counts = _halvings(len(without))
            fewer = [_less(members, [chunks[number] for number in without[:count]]) for count in counts]
            reaches = yield _masks(fewer, width)
            runs += len(reaches)
            chosen = int(np.flatnonzero(reaches)[0])  # the last one, a single chunk, was run before
            members, granularity = fewer[chosen], max(granularity - counts[chosen], 2)
        elif granularity == len(members):
            break
        else:
            granularity *= 2
    return (yield from _certified(members, width, runs))


def _certified(members: np.ndarray, width: int, runs: int) -> Search[FoundSet]:
    """Run the subsets of a 1-minimal set, and the sets with one more neuron."""
    is_minimal: bool | None = None
    has_detour = False
    if len(members) <= _ALL_SUBSETS:
        is_minimal = True
        subsets = np.zeros((2 ** len(members) - 2, width), bool)
        subsets[:, members] = _proper_subsets(len(members))
        if len(subsets):
            reaches = yield subsets
            runs += len(reaches)
            if reaches.any():  # the first is a smallest one: all its own subsets were run and fail
                members, has_detour = np.flatnonzero(subsets[np.argmax(reaches)]), True
    larger = np.repeat(_masks([members], width), width, axis=0)
    others = np.flatnonzero(~larger[0])
    broken_by: tuple[int, ...] = ()
    if len(others):
        larger[others, others] = True
        reaches = yield larger[others]
        runs += len(reaches)
        broken_by = tuple(int(other) for other in others[~reaches])
    neurons = tuple(sorted(int(neuron) for neuron in members))
    return FoundSet(neurons=neurons, is_minimal=is_minimal, broken_by=broken_by, has_detour=has_detour, runs=runs)


def run_searches(
    searches: Mapping[Key, Search[Result]], evaluate: Callable[[list[tuple[Key, np.ndarray]]], np.ndarray]
) -> dict[Key, Result]:
    """Run searches in step: each round evaluates what all of them need together.

    :param evaluate: (key, masks) of each unfinished search -> the answers one after the other
    """
    results: dict[Key, Result] = {}
    wanted: dict[Key, np.ndarray] = {}

    def advance(key: Key, answer: np.ndarray | None) -> None:
        try:
            wanted[key] = searches[key].send(answer)  # type: ignore[arg-type]
        except StopIteration as end:
            results[key] = end.value

    for key in searches:
        advance(key, None)
    while wanted:
        round_of, wanted = list(wanted.items()), {}
        answers = np.split(evaluate(round_of), np.cumsum([len(masks) for _, masks in round_of])[:-1])
        for (key, _), answer in zip(round_of, answers, strict=True):
            advance(key, answer)
    return {key: results[key] for key in searches}


def _halvings(count: int) -> list[int]:
    """All, half of them, a quarter, ..., one."""
    counts = [count]
    while counts[-1] > 1:
        counts.append(counts[-1] // 2)
    return counts


def _less(members: np.ndarray, chunks: list[np.ndarray]) -> np.ndarray:
    """Without these chunks, in the same order: the weakest stay first."""
    removed = np.zeros(int(members.max()) + 1, bool)
    removed[np.concatenate(chunks)] = True
    kept: np.ndarray = members[~removed[members]]
    return kept


@cache
def _proper_subsets(size: int) -> np.ndarray:
    """Every subset but the empty and the whole one, the smaller first, (2 ** size - 2, size)."""
    codes = np.arange(1, 2**size - 1)
    bits = (codes[:, None] >> np.arange(size) & 1).astype(bool)
    return bits[np.argsort(bits.sum(axis=1), kind="stable")]


def _masks(sets: list[np.ndarray], width: int) -> np.ndarray:
    masks = np.zeros((len(sets), width), bool)
    for mask, members in zip(masks, sets, strict=True):
        mask[members] = True
    return masks
