"""The smallest change of one weight that changes the greedy action, for each input and weight of a ReLU network.

A weight changes the value of one neuron. So each neuron's value is walked once up and once down for each input, and
the result serves all weights of its row.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from Neuron_Selection.AnalysisTooling.measures.decisions import greedy_actions
from Neuron_Selection.FileFormats.observations import Observations, count_of
from Neuron_Selection.PatchingTooling.numpy_network.network import NumpyNetwork
from Parameter_Selection.PerturbationTooling.exact_flips.flip_walk import Rays, walk_to_flips
from Parameter_Selection.PerturbationTooling.weights.targets import WeightTarget

SIDE_STEP = 1e-6  # distance from the change at which both sides are verified, as a share of the change
LEAST_STEP = 1e-11  # the least such distance, as a share of the range; needed on ties, where the change is 0
_ROWS_AT_ONCE = 4096


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class SmallestFlips:
    """For each target and input, (n_targets, n).

    ``changes``: to be added to the weight; a 0 is signed, as on a tie any change of that sign flips; NaN where no
    change within the range flips. ``actions``: the action just beyond the change, -1 where nothing flips. ``verified``:
    whether the action is the old one just short of the change and another one just beyond it.
    """

    changes: np.ndarray
    actions: np.ndarray
    verified: np.ndarray


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class _Run:
    """The unchanged network on n inputs: what each Linear reads and outputs, (n, padded width); greedy ``actions``."""

    network: NumpyNetwork
    inputs: Sequence[np.ndarray]
    sums: Sequence[np.ndarray]
    actions: np.ndarray


def compute_smallest_flips(
    network: NumpyNetwork, observations: Observations, targets: Sequence[WeightTarget], *, ranges: Mapping[str, float]
) -> SmallestFlips:
    """Exact in float64; rounding a found weight to float32 can put it on either side of its point.

    :param ranges: parameter to the largest change that is considered
    """
    n_inputs = count_of(observations)
    outputs = network.run(observations)
    inputs, sums = ([array[:n_inputs] for array in arrays] for arrays in (outputs.inputs, outputs.sums))
    actions = greedy_actions(sums[-1][:, : network.n_actions])
    run = _Run(network=network, inputs=inputs, sums=sums, actions=actions)
    weights = [f"{linear.name}.weight" for linear in network.linears]
    decisive = [place for place, target in enumerate(targets) if target.parameter in weights]
    if len(decisive) < len(targets):  # a critic's weights have no influence on the decision
        found = compute_smallest_flips(network, observations, [targets[place] for place in decisive], ranges=ranges)
        shape = (len(targets), n_inputs)
        all_targets = SmallestFlips(
            changes=np.full(shape, np.nan), actions=np.full(shape, -1), verified=np.zeros(shape, np.bool_)
        )
        for name in ("changes", "actions", "verified"):
            getattr(all_targets, name)[decisive] = getattr(found, name)
        return all_targets
    changes = np.full((len(targets), n_inputs), np.nan)
    rows: dict[tuple[int, int], list[int]] = {}
    for place, target in enumerate(targets):
        rows.setdefault((weights.index(target.parameter), target.row), []).append(place)
    for (number, row), places in rows.items():
        reads = inputs[number][:, [targets[place].column for place in places]].T
        limit = ranges[weights[number]]
        if number == len(network.linears) - 1:
            moves = _moves_of_q(sums[-1][:, : network.n_actions], row, actions)
        else:
            farthest = limit * np.abs(reads).max(axis=0)
            moves = _moves_of_neuron(run, number, row, farthest)
        changes[places] = _smallest(moves, reads, limit)
    found_actions, verified = _verify(run, targets, weights, changes, ranges)
    return SmallestFlips(changes=changes, actions=found_actions, verified=verified)


def _moves_of_q(q_values: np.ndarray, row: int, actions: np.ndarray) -> list[np.ndarray]:
    """By how much the row's Q-value must move, (n,): up to the greedy one, or down to the second.

    A 0 carries its direction as its sign: on a tie the greedy one must go down, any other up.
    """
    others = q_values.copy()
    others[:, row] = -np.inf
    moves = np.copysign(others.max(axis=1) - q_values[:, row], np.where(actions == row, -1.0, 1.0))
    return [np.where(np.isfinite(moves), moves, np.nan)]


def _moves_of_neuron(run: _Run, number: int, row: int, farthest: np.ndarray) -> list[np.ndarray]:
    """By how much the neuron's pre-activation must move, (n,) upwards and (n,) downwards; NaN where it cannot flip."""
    network = run.network
    before, value = run.sums[number][:, row], run.inputs[number + 1][:, row]
    start, column = run.sums[number + 1], network.linears[number + 1].columns[row]
    moves = []
    for sign, ends in ((1.0, farthest), (-1.0, value)):  # a ReLU goes down to 0 and no further
        direction = np.broadcast_to(sign * column, start.shape)
        rays = Rays(start=start, direction=direction, actions=run.actions, ends=ends)
        least = walk_to_flips(network, number + 1, rays)
        with np.errstate(invalid="ignore"):
            move = value + sign * least - before
            signed = np.where(move == 0, np.copysign(0.0, sign), move)
            moves.append(np.where(np.isfinite(least), signed, np.nan))
    return moves


def _smallest(moves: Sequence[np.ndarray], reads: np.ndarray, limit: float) -> np.ndarray:
    """The least change of each weight that makes one of the moves; NaN for none within the range.

    :param moves: (n,) each
    :param reads: (k, n), the factors of the weights
    """
    best = np.full(reads.shape, np.nan)
    for move in moves:
        possible = (reads != 0) & np.isfinite(move)
        needed = np.divide(np.broadcast_to(move, reads.shape), reads, out=np.full(reads.shape, np.nan), where=possible)
        with np.errstate(invalid="ignore"):
            better = (np.abs(needed) <= limit) & ~(np.abs(best) <= np.abs(needed))
        best[better] = needed[better]
    return best


def side_step(change: Any, limit: float) -> Any:
    """Distance from a change at which both sides are verified."""
    return np.maximum(np.abs(change) * SIDE_STEP, limit * LEAST_STEP)


def _verify(
    run: _Run,
    targets: Sequence[WeightTarget],
    weights: Sequence[str],
    changes: np.ndarray,
    ranges: Mapping[str, float],
) -> tuple[np.ndarray, np.ndarray]:
    """Verify both sides of every change, computed from the changed weight on."""
    found, verified = np.full(changes.shape, -1), np.zeros(changes.shape, np.bool_)
    numbers = np.array([weights.index(target.parameter) for target in targets])
    rows, columns = (np.array([getattr(target, name) for target in targets]) for name in ("row", "column"))
    for number in dict.fromkeys(numbers.tolist()):
        of_layer = np.flatnonzero(numbers == number)
        places, inputs = np.nonzero(np.isfinite(changes[of_layer]))
        places = of_layer[places]
        for start in range(0, len(places), _ROWS_AT_ONCE):
            some, at = places[start : start + _ROWS_AT_ONCE], inputs[start : start + _ROWS_AT_ONCE]
            change = changes[some, at]
            step = side_step(change, ranges[weights[number]])
            sizes = np.maximum(np.abs(change) - step, 0.0), np.abs(change) + step
            short, beyond = (
                _actions_at(run, number, (rows[some], columns[some], at), np.copysign(size, change)) for size in sizes
            )
            found[some, at] = beyond
            verified[some, at] = (short == run.actions[at]) & (beyond != run.actions[at])
    return found, verified


def _actions_at(
    run: _Run, number: int, places: tuple[np.ndarray, np.ndarray, np.ndarray], change: np.ndarray
) -> np.ndarray:
    """The greedy action of each input with one weight of the ``number``-th Linear changed.

    :param places: row, column and input of each change
    """
    network, (rows, columns, inputs) = run.network, places
    values = run.sums[number][inputs]  # a copy
    values[np.arange(len(inputs)), rows] += change * run.inputs[number][inputs, columns]
    for linear in network.linears[number + 1 :]:
        values = np.maximum(values, 0.0) @ linear.columns + linear.bias
    return greedy_actions(values[:, : network.n_actions])
