"""The nearest state with another decision, for each of many visited states."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.spatial.distance import cdist

_BLOCK = 1 << 24  # comparisons at once, a byte each
_TIE = 1e-9  # relative; distances that differ by less are equal but for the order of their sums


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Nearest:
    """For each of m states its nearest state with another decision.

    ``donors``: (m,), rows of the table. ``differing``: (m,), the number of entries that differ. ``distances``: (m,),
    the sum over entries of the absolute difference in units of the entry's standard deviation.
    """

    donors: np.ndarray
    differing: np.ndarray
    distances: np.ndarray


def find_nearest(
    values: np.ndarray,
    actions: np.ndarray,
    rows: np.ndarray,
    donors: np.ndarray,
    *,
    fits: Callable[[int, np.ndarray], np.ndarray] | None = None,
) -> Nearest:
    """Find the donor of each row: another action, fewest differing entries, then least distance, then first visited.

    Entries that are the same in all states count in neither. A block of entries is compared with all states at once,
    16 million comparisons at most; the distance is computed for those states only that have the fewest differing
    entries.

    :param values: (n, n_entries), all states in the order of their visit
    :param actions: (n,), the greedy action in each
    :param rows: (m,), the states whose donors are sought
    :param donors: the states to choose from; for every row there must be one with another action, which fits
    :param fits: whether a row may have each of these donors, (k,); None means that it may have all
    """
    varying = (values != values[:1]).any(axis=0)
    values = values[:, varying]
    scaled = values / values.std(axis=0, dtype=np.float64)
    by_entry = np.ascontiguousarray(values.T)
    allowed = {action: donors[actions[donors] != action] for action in np.unique(actions[rows])}
    found = Nearest(
        donors=np.empty(len(rows), np.intp), differing=np.empty(len(rows), np.intp), distances=np.empty(len(rows))
    )
    for place, row in enumerate(rows):
        others = allowed[actions[row]]
        if fits is not None:
            others = others[fits(int(row), others)]
        counts = _differing(by_entry, row)[others]
        fewest = counts.min()
        tied = others[counts == fewest]
        distances = cdist(scaled[row : row + 1], scaled[tied], "cityblock")[0]
        nearest = int(np.argmax(distances <= distances.min() * (1 + _TIE)))
        found.donors[place], found.differing[place] = tied[nearest], fewest
        found.distances[place] = distances[nearest]
    return found


def _differing(by_entry: np.ndarray, row: int) -> np.ndarray:
    """In how many entries each state differs from one, (n,).

    :param by_entry: (n_entries, n)
    """
    counts = np.zeros(by_entry.shape[1], np.int32)
    step = max(1, _BLOCK // by_entry.shape[1])
    for start in range(0, len(by_entry), step):
        block = by_entry[start : start + step]
        counts += (block != block[:, row, None]).sum(axis=0, dtype=np.int32)
    return counts
