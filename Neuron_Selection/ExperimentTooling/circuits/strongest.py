"""Circuits of the strongest edges, and faithfulness against their number."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from Neuron_Selection.AnalysisTooling.measures.curves import area_from_one, area_under
from Neuron_Selection.ExperimentTooling.circuits.masked_runs import CircuitRuns
from Neuron_Selection.ExperimentTooling.circuits.measures import connected, faithfulness_of, scale_of

POINTS = 25


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class FaithfulnessCurve:
    """Faithfulness of the first edges of an order.

    :param sizes: (k,), numbers of edges from 0 to all, spaced evenly in the logarithm
    :param faithfulness: (k,), of the order itself; of random orders the mean
    :param low: the least of the random orders, like ``high``; equal to ``faithfulness`` for a single order
    """

    ranking: str
    sizes: np.ndarray
    faithfulness: np.ndarray
    low: np.ndarray
    high: np.ndarray

    @property
    def area(self) -> float:
        """CPR of Mueller et al. 2025 (MIB, arXiv 2504.13151): the area under the curve; more is better."""
        return area_under(self.sizes, self.faithfulness)

    @property
    def area_from_one(self) -> float:
        """CMD: the area between the curve and 1; less is better."""
        return area_from_one(self.sizes, self.faithfulness)


def strongest_edges(
    importance: Sequence[np.ndarray], *, count: int | None, threshold: float | None
) -> list[np.ndarray]:
    """The circuit of the most important edges, without those that no path of the circuit leads through.

    :param importance: link by link, (senders, receivers), at least 0; edges of 0 are left out
    :param count: the most edges that the circuit has; or ``threshold``: edges of at least that importance
    """
    flat = _flat(importance)
    if threshold is not None:
        return connected(_unflat((flat >= threshold) & (flat > 0), importance))
    places, least, most = np.argsort(_order(flat)), 0, int(np.count_nonzero(flat))
    while least < most:  # the number of connected edges rises with the number of edges taken
        middle = (least + most + 1) // 2
        if sum(mask.sum() for mask in connected(_unflat(places < middle, importance))) <= (count or 0):
            least = middle
        else:
            most = middle - 1
    return connected(_unflat(places < least, importance))


def faithfulness_curves(
    runs: CircuitRuns, importance: Sequence[np.ndarray], *, random_orders: int, seed: int
) -> list[FaithfulnessCurve]:
    """The curve by importance and, as control, that of random orders; empty where nothing is to be explained."""
    scale = scale_of(runs)
    if not scale[1]:
        return []
    flat = _flat(importance)
    sizes = np.unique(np.concatenate([[0], np.geomspace(1, len(flat), POINTS).round().astype(np.intp)]))
    random = np.random.default_rng(seed)
    curves = []
    for ranking, orders in (
        ("importance", [_order(flat)]),
        ("random", [random.permutation(len(flat)) for _ in range(random_orders)]),
    ):
        values = np.empty((len(orders), len(sizes)))
        for row, order in zip(values, orders, strict=True):
            places = np.argsort(order)
            row[:] = [faithfulness_of(runs, _unflat(places < size, importance), scale) for size in sizes]
        if orders:
            mean, low, high = values.mean(axis=0), values.min(axis=0), values.max(axis=0)
            curves.append(FaithfulnessCurve(ranking=ranking, sizes=sizes, faithfulness=mean, low=low, high=high))
    return curves


def _flat(importance: Sequence[np.ndarray]) -> np.ndarray:
    return np.concatenate([array.ravel() for array in importance])


def _order(flat: np.ndarray) -> np.ndarray:
    order: np.ndarray = np.argsort(-flat, kind="stable")
    return order


def _unflat(chosen: np.ndarray, importance: Sequence[np.ndarray]) -> list[np.ndarray]:
    ends = np.cumsum([array.size for array in importance])[:-1]
    parts = np.split(chosen, ends)
    return [part.reshape(array.shape) for part, array in zip(parts, importance, strict=True)]
