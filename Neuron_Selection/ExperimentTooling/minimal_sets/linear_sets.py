"""The smallest set where Q is linear in the neurons: at the last activation and at the Linear before it.

One inequality is solved by sorting what each neuron adds to it; any of several, by the best of them; all of several, by
an integer program (HiGHS in scipy): the fewest neurons whose sums meet every inequality.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from Neuron_Selection.address_space import require_address_space
from Neuron_Selection.ExperimentTooling.minimal_sets.goals import Requirements

_ROUNDING = 1e-9  # of the largest sum: how sure an inequality must be
_PROGRAM_ROUNDING = 1e-6  # the same for an integer program, whose solver works to 1e-7
_NODES = 10_000  # of its branch and bound, so that the answer does not depend on the machine's speed


@dataclass(frozen=True, kw_only=True, slots=True)
class LinearOptimum:
    """No set of fewer than ``at_least`` neurons suffices; ``neurons`` do; None if no set was found."""

    at_least: int
    neurons: tuple[int, ...] | None
    method: str


def smallest_linear_set(pushes: np.ndarray, start: np.ndarray, required: Requirements) -> LinearOptimum | None:
    """The fewest neurons whose sums meet the requirements.

    :param pushes: (width, r), what each neuron adds to each difference
    :param start: (r,), the differences without any
    :return: None where no set does
    """
    needed = required.least - start
    if required.needs_all and len(needed) > 1:
        return _by_integer_program(pushes, needed)
    found = [_by_sorting(pushes[:, number], float(need)) for number, need in enumerate(needed)]
    possible = [optimum for optimum in found if optimum is not None]
    if not possible:
        return None
    sets = [optimum for optimum in possible if optimum.neurons is not None]
    shortest = min(sets, key=lambda optimum: len(optimum.neurons or ()), default=None)
    at_least = min(optimum.at_least for optimum in possible)
    return LinearOptimum(at_least=at_least, neurons=shortest.neurons if shortest else None, method="sorting")


def _by_sorting(pushes: np.ndarray, need: float) -> LinearOptimum | None:
    order = np.argsort(-pushes, kind="stable")
    order = order[pushes[order] > 0]
    sums = np.concatenate([[0.0], np.cumsum(pushes[order])])
    slack = _ROUNDING * max(1.0, abs(need), float(np.abs(pushes).sum()))
    loosely, surely = sums >= need - slack, sums > need + slack
    if not loosely.any():
        return None
    neurons = tuple(sorted(int(neuron) for neuron in order[: int(np.argmax(surely))])) if surely.any() else None
    return LinearOptimum(at_least=int(np.argmax(loosely)), neurons=neurons, method="sorting")


def _by_integer_program(pushes: np.ndarray, needed: np.ndarray) -> LinearOptimum | None:
    scale = np.maximum(np.abs(pushes).max(axis=0), 1e-300)
    coefficients, least = pushes / scale, needed / scale
    loose = _solved(coefficients, least - _PROGRAM_ROUNDING)
    if loose is None:
        return None
    at_least, neurons = loose
    if neurons is None or not (coefficients[list(neurons)].sum(axis=0) > least + _ROUNDING).all():
        sure = _solved(coefficients, least + _PROGRAM_ROUNDING)
        neurons = None if sure is None else sure[1]
    return LinearOptimum(at_least=at_least, neurons=neurons, method="integer program")


def _solved(coefficients: np.ndarray, least: np.ndarray) -> tuple[int, tuple[int, ...] | None] | None:
    """A bound from below and a solution, None for the latter where the nodes ran out; None where there is no set."""
    require_address_space("scipy")
    from scipy.optimize import Bounds, LinearConstraint, milp

    solution = milp(
        np.ones(len(coefficients)),
        integrality=np.ones(len(coefficients)),
        bounds=Bounds(0, 1),
        constraints=LinearConstraint(coefficients.T, lb=least),
        options={"node_limit": _NODES},
    )
    if solution.status == 2:  # infeasible
        return None
    bound = 0.0 if solution.mip_dual_bound is None else float(solution.mip_dual_bound)
    at_least = max(0, int(np.ceil(bound - 1e-6)))
    if solution.x is None:
        return at_least, None
    return at_least, tuple(int(neuron) for neuron in np.flatnonzero(solution.x > 0.5))
