"""Choose some of many possible pairs, spread evenly over clusters and kinds of pairs."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Hashable, Iterable, Sequence
from typing import TypeVar

Candidate = TypeVar("Candidate")


def choose(
    clusters: Iterable[Sequence[Candidate]],
    n_pairs: int,
    *,
    traits: Callable[[Candidate], tuple[Hashable, ...]],
    clean: Callable[[Candidate], Hashable],
) -> list[Candidate]:
    """Take one candidate per cluster in turn, preferring rare traits; no clean input twice.

    :param clusters: the candidates of each cluster, in the order of preference among equals
    :param traits: what is to be balanced, the most important first
    :param clean: what identifies the clean input of a candidate
    :return: ``n_pairs`` candidates, or all that differ in their clean inputs if these are fewer
    """
    chosen: list[Candidate] = []
    taken: Counter[Hashable] = Counter()
    waiting = deque(_by_traits(candidates, traits) for candidates in clusters)
    while waiting and len(chosen) < n_pairs:
        queues = waiting.popleft()
        for kind in list(queues):
            while queues[kind] and taken[clean(queues[kind][0][1])]:
                queues[kind].popleft()
            if not queues[kind]:
                del queues[kind]
        if queues:
            rarest = min(queues, key=lambda kind: (*(taken[number] for number in enumerate(kind)), queues[kind][0][0]))
            _, candidate = queues[rarest].popleft()
            taken.update([*enumerate(rarest), clean(candidate)])
            chosen.append(candidate)
            waiting.append(queues)
    return chosen


def _by_traits(
    candidates: Sequence[Candidate], traits: Callable[[Candidate], tuple[Hashable, ...]]
) -> dict[tuple[Hashable, ...], deque[tuple[int, Candidate]]]:
    """The candidates with the same traits in a queue each, with their places in the order of preference."""
    queues: dict[tuple[Hashable, ...], deque[tuple[int, Candidate]]] = {}
    for place, candidate in enumerate(candidates):
        queues.setdefault(traits(candidate), deque()).append((place, candidate))
    return queues
