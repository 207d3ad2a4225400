"""The smallest parts of one input that flip the decision of another: delta debugging of many pairs in lockstep.

Delta debugging is the algorithm ddmin of A. Zeller and R. Hildebrandt, Simplifying and Isolating Failure-Inducing Input
(2002): blocks of groups and their complements are run, in ever finer division.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from itertools import chain, combinations, islice

import numpy as np

EXHAUSTIVE = 12
"""Up to this many groups, every smaller set is run."""
_SETS_AT_ONCE = 512  # of one pair
_GROUPS_AT_ONCE = 20_000  # of all pairs in lockstep

Search = Generator[np.ndarray, np.ndarray, np.ndarray]
"""Yields sets to run, (k, n_groups) booleans; is sent whether each flips the decision, (k,); returns a set."""

Flips = Callable[[np.ndarray, Sequence[np.ndarray]], np.ndarray]
"""The number of the pair of each of k sets, (k,), and the sets, over the groups of their pair: whether each flips."""


def minimal_sets(n_groups: Sequence[int], flips: Flips) -> list[np.ndarray]:
    """Search the sets of many pairs in lockstep, so that the network runs on one batch for each step of all.

    :param n_groups: for each pair, in how many groups its inputs differ; all together they must flip the decision
    :return: for each pair a set of its groups, (n_groups,) booleans, that flips the decision while no set with one
        group less does
    """
    found: list[np.ndarray] = []
    for first, last in _batches(n_groups):
        found += _in_lockstep([minimal_set(n) for n in n_groups[first:last]], first, flips)
    return found


def minimal_set(n_groups: int) -> Search:
    """The search of one pair: delta debugging down to few groups, then every smaller set, the smallest first.

    Of at most ``EXHAUSTIVE`` groups the set found is a smallest one. Of more it is 1-minimal: no set with one group
    less flips the decision; and if it has at most ``EXHAUSTIVE`` groups, no part of it does.
    """
    chosen = np.arange(n_groups)
    if n_groups > EXHAUSTIVE:
        chosen = yield from _delta_debugged(n_groups)
    if len(chosen) <= EXHAUSTIVE:
        smaller = (combination for size in range(1, len(chosen)) for combination in combinations(chosen.tolist(), size))
        found = yield from _first_that_flips(smaller, n_groups)
        chosen = chosen if found is None else np.array(found[1])
    return _mask(chosen, n_groups)


def _delta_debugged(n_groups: int) -> Search:
    chosen, n_blocks = np.arange(n_groups), 2
    while True:
        blocks = np.array_split(chosen, n_blocks)
        rests = (chosen[~np.isin(chosen, block)] for block in blocks)
        found = yield from _first_that_flips(chain(blocks, rests if n_blocks > 2 else ()), n_groups)
        if found is None and n_blocks == len(chosen):
            return chosen
        if found is None:
            n_blocks *= 2
        else:
            number, chosen = found[0], np.asarray(found[1])
            n_blocks = 2 if number < n_blocks else n_blocks - 1
        if len(chosen) == 1:
            return chosen
        n_blocks = min(max(n_blocks, 2), len(chosen))


def _first_that_flips(
    sets: Iterable[Sequence[int] | np.ndarray], n_groups: int
) -> Generator[np.ndarray, np.ndarray, tuple[int, Sequence[int] | np.ndarray] | None]:
    """The number of the first of these sets that flips the decision, and the set; None if none does."""
    remaining, tried = iter(sets), 0
    while some := list(islice(remaining, _SETS_AT_ONCE)):
        answers = yield np.stack([_mask(one, n_groups) for one in some])
        if answers.any():
            first = int(answers.argmax())
            return tried + first, some[first]
        tried += len(some)
    return None


def _mask(groups: Sequence[int] | np.ndarray, n_groups: int) -> np.ndarray:
    mask = np.zeros(n_groups, bool)
    mask[list(groups)] = True
    return mask


def _in_lockstep(searches: Sequence[Search], first_pair: int, flips: Flips) -> list[np.ndarray]:
    found: dict[int, np.ndarray] = {}
    asked: dict[int, np.ndarray] = {}

    def advance(number: int, answers: np.ndarray | None) -> None:
        try:
            asked[number] = searches[number].send(answers)  # type: ignore[arg-type]  # None starts a generator
        except StopIteration as end:
            found[number] = end.value
            asked.pop(number, None)

    for number in range(len(searches)):
        advance(number, None)
    while asked:
        counts = [len(sets) for sets in asked.values()]
        pairs = np.repeat(np.array(list(asked)), counts) + first_pair
        answers = np.split(flips(pairs, [one for sets in asked.values() for one in sets]), np.cumsum(counts)[:-1])
        for number, answer in zip(list(asked), answers, strict=True):
            advance(number, answer)
    return [found[number] for number in range(len(searches))]


def _batches(n_groups: Sequence[int]) -> Iterator[tuple[int, int]]:
    """First and last + 1 of consecutive pairs that are searched in lockstep."""
    first, total = 0, 0
    for pair, count in enumerate(n_groups):
        if pair > first and total + count > _GROUPS_AT_ONCE:
            yield first, pair
            first, total = pair, 0
        total += count
    if first < len(n_groups):
        yield first, len(n_groups)
