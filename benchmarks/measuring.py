"""Measuring: CPU seconds of one thread, interleaved rounds, medians, ratios; what this machine can do at best."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping

import numpy as np


def interleaved(calls: Mapping[str, Callable[[], object]], *, rounds: int) -> dict[str, list[float]]:
    """CPU seconds of each call in each round, in turn, after a round that does not count.

    A drift of the machine's speed hits all alike.
    """
    times: dict[str, list[float]] = {name: [] for name in calls}
    for number in range(rounds + 1):
        for name, call in calls.items():
            start = time.process_time()
            call()
            if number:
                times[name].append(time.process_time() - start)
    return times


def median_ratio(one: list[float], other: list[float]) -> float:
    """The median of the ratios round by round."""
    return statistics.median(a / b for a, b in zip(one, other, strict=True))


def rates() -> tuple[float, float]:
    """This machine's best: float64 multiply-adds a second in a matrix product; bytes a second of a copy in cache."""
    square, row = np.ones((512, 512)), np.ones(1 << 16)
    product, copied = np.empty_like(square), np.empty_like(row)
    calls = {"product": lambda: np.matmul(square, square, out=product), "copy": lambda: np.copyto(copied, row)}
    times = {name: min(seconds) for name, seconds in _many(calls).items()}
    return 512**3 / times["product"], 2 * row.nbytes / times["copy"]


def _many(calls: Mapping[str, Callable[[], object]]) -> dict[str, list[float]]:
    repeated = {name: _twenty_times(call) for name, call in calls.items()}
    return {name: [s / 20 for s in seconds] for name, seconds in interleaved(repeated, rounds=7).items()}


def _twenty_times(call: Callable[[], object]) -> Callable[[], None]:
    def run() -> None:
        for _ in range(20):
            call()

    return run
