"""Faithfulness, completeness and minimality of a circuit (Wang et al. 2022, arXiv 2211.00593, section 4).

F(X) is the mean margin over the contrast pairs, score[clean action] - score[corrupted action], of the clean run with
only the edges X intact. M is the whole network, C the circuit, {} no edge. All three are in units of F(M) - F({}), so
that they are effects as those of neurons are.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TypeAlias

import numpy as np

from Neuron_Selection.ExperimentTooling.circuits.masked_runs import CircuitRuns, Masks

Edge: TypeAlias = tuple[int, int, int]
"""The link, the sender and the receiver."""

SUBSETS = 10  # random subsets K of a circuit


@dataclass(frozen=True, kw_only=True, slots=True)
class CircuitMeasures:
    r"""What a circuit does; None where F(M) = F({}), so that there is nothing to explain.

    :param faithfulness: (F(C) - F({})) / (F(M) - F({})); 1 if the circuit does what the network does. Wang et al.
        take |F(M) - F(C)|; the ratio is that of Hanna et al. 2024 (arXiv 2403.17806)
    :param completeness: the largest |F(C \ K) - F(M \ K)| over subsets K of C; 0 if the circuit is complete. K is the
        empty set, C itself, and random halves of C
    :param minimality: the smallest over edges e of C of the largest |F(C \ (K + e)) - F(C \ K)| over subsets K of C
        without e; 0 if some edge can be left out. K is the empty set and random halves
    """

    faithfulness: float | None
    completeness: float | None
    minimality: float | None


def mean_margin(runs: CircuitRuns, masks: Masks) -> float:
    """F of a set of edges."""
    return float(runs.margins(masks).mean())


def scale_of(runs: CircuitRuns) -> tuple[float, float]:
    """F({}) and F(M) - F({})."""
    empty = mean_margin(runs, without(runs.whole, runs.whole))
    return empty, mean_margin(runs, runs.whole) - empty


def faithfulness_of(runs: CircuitRuns, masks: Masks, scale: tuple[float, float]) -> float | None:
    """See ``CircuitMeasures``.

    :param scale: as ``scale_of`` returns it
    """
    empty, whole = scale
    return (mean_margin(runs, masks) - empty) / whole if whole else None


def measure_circuit(
    runs: CircuitRuns,
    circuit: Masks,
    *,
    subsets: int = SUBSETS,
    seed: int = 0,
    progress: Callable[[Sequence[Edge]], Iterable[Edge]] = iter,
) -> CircuitMeasures:
    """Compute all three.

    :param subsets: how many random K are drawn
    :param progress: iterates over the edges of the circuit
    """
    scale = scale_of(runs)
    if not scale[1]:
        return CircuitMeasures(faithfulness=None, completeness=None, minimality=None)
    random, whole, size = np.random.default_rng(seed), runs.whole, abs(scale[1])
    nothing = without(circuit, circuit)
    removed = [nothing, *([mask & (random.random(mask.shape) < 0.5) for mask in circuit] for _ in range(subsets))]
    left = [mean_margin(runs, without(circuit, one)) for one in removed]
    gaps = [
        abs(of_circuit - mean_margin(runs, without(whole, one))) for of_circuit, one in zip(left, removed, strict=True)
    ]
    gaps.append(abs(scale[0] - mean_margin(runs, without(whole, circuit))))
    losses = []
    for link, sender, receiver in progress(edges_of(circuit)):
        found = 0.0
        for before, one in zip(left, removed, strict=True):
            if not one[link][sender, receiver]:
                masks = without(circuit, one)
                masks[link][sender, receiver] = False
                found = max(found, abs(mean_margin(runs, masks) - before))
        losses.append(found)
    return CircuitMeasures(
        faithfulness=faithfulness_of(runs, circuit, scale),
        completeness=max(gaps) / size,
        minimality=min(losses, default=0.0) / size,
    )


def without(masks: Masks, removed: Masks) -> list[np.ndarray]:
    """The edges of the first that are not in the second, new arrays."""
    return [one & ~other for one, other in zip(masks, removed, strict=True)]


def edges_of(masks: Masks) -> list[Edge]:
    """Every edge, link by link."""
    return [
        (link, int(sender), int(receiver)) for link, mask in enumerate(masks) for sender, receiver in np.argwhere(mask)
    ]


def masks_of(edges: Sequence[Edge], widths: Sequence[int]) -> list[np.ndarray]:
    """The masks of a list of edges.

    :param widths: nodes of each layer
    """
    masks = [np.zeros(shape, bool) for shape in pairwise(widths)]
    for link, sender, receiver in edges:
        masks[link][sender, receiver] = True
    return masks


def connected(masks: Masks) -> list[np.ndarray]:
    """The edges that are on a path of the circuit from its first layer to the scores."""
    forward: list[np.ndarray] = []
    reached: np.ndarray = np.ones(len(masks[0]), bool)
    for mask in masks:
        forward.append(mask & reached[:, None])
        reached = np.asarray(forward[-1].any(axis=0))
    backward: list[np.ndarray] = []
    leads: np.ndarray = np.ones(masks[-1].shape[1], bool)
    for mask in reversed(forward):
        backward.append(mask & leads)
        leads = np.asarray(backward[-1].any(axis=1))
    return backward[::-1]
