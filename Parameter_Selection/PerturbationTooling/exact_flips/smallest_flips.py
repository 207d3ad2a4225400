"""The smallest change of one weight that changes the greedy action, for each input and weight of an MLP.

A weight changes the value of one neuron. So each neuron's value is walked once up and once down for each input, and
the result serves all weights of its row.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from Neuron_Selection.AnalysisTooling.measures.decisions import allowed_scores
from Neuron_Selection.FileFormats.observations import Observations
from Neuron_Selection.PatchingTooling.numpy_network.network import NumpyNetwork
from Neuron_Selection.PatchingTooling.numpy_network.relu_rays import Rays, side_step, walk_to_flips
from Parameter_Selection.PerturbationTooling.exact_flips.bracketed_flips import bracket_flips, nearest_brackets
from Parameter_Selection.PerturbationTooling.exact_flips.unchanged_run import (
    UnchangedRun,
    actions_with_change,
    folded_run,
    run_unchanged,
)
from Parameter_Selection.PerturbationTooling.weights.targets import WeightTarget

_ROWS_AT_ONCE = 4096


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class SmallestFlips:
    """For each target and input, (n_targets, n).

    ``changes``: to be added to the weight; a 0 is signed, as on a tie any change of that sign flips; NaN where no
    change within the range flips. ``actions``: the action just beyond the change, -1 where nothing flips. ``verified``:
    whether the action is the old one just short of the change and another one just beyond it.

    ``is_exact``: (n_targets,); where it is False, the change is the outer end of a bracket, ``inner_ends`` has the
    other end, and ``certified`` whether bounds exclude every flip nearer than that, or every flip where none was found.
    """

    changes: np.ndarray
    actions: np.ndarray
    verified: np.ndarray
    is_exact: np.ndarray
    inner_ends: np.ndarray
    certified: np.ndarray


def no_flips(n_targets: int, n_inputs: int) -> SmallestFlips:
    """The result, to be filled in; as it is, no change of any weight flips."""
    shape = n_targets, n_inputs
    return SmallestFlips(
        changes=np.full(shape, np.nan),
        actions=np.full(shape, -1),
        verified=np.zeros(shape, np.bool_),
        is_exact=np.ones(n_targets, np.bool_),
        inner_ends=np.full(shape, np.nan),
        certified=np.ones(shape, np.bool_),
    )


def compute_smallest_flips(
    network: NumpyNetwork,
    observations: Observations,
    targets: Sequence[WeightTarget],
    *,
    ranges: Mapping[str, float],
    masks: np.ndarray | None = None,
) -> SmallestFlips:
    """In float64: exact for ReLU and for weights of the last Linear, else brackets.

    Rounding a found weight to float32 can put it on either side of its point.

    :param ranges: parameter to the largest change that is considered
    :param masks: (n, n_actions), the actions that are allowed; None for all
    """
    run = run_unchanged(network, observations, masks)
    folded = folded_run(run)
    linears = folded.network.linears
    weights = [f"{linear.name}.weight" for linear in linears]
    found = no_flips(len(targets), len(run.actions))
    rows: dict[tuple[int, int], list[int]] = {}
    for place, target in enumerate(targets):
        if target.parameter in weights:  # a critic's weights have no influence on the decision
            rows.setdefault((weights.index(target.parameter), target.row), []).append(place)
    for (number, row), places in rows.items():
        reads = folded.inputs[number][:, [targets[place].column for place in places]].T
        limit = ranges[weights[number]]
        farthest = limit * np.abs(reads).max(axis=0)
        if number == len(linears) - 1:
            found.changes[places] = _smallest(_moves_of_output(run, row), reads, limit)
        elif folded.activation_kinds <= {"ReLU"}:
            found.changes[places] = _smallest(_moves_of_neuron(folded, number, row, farthest), reads, limit)
        else:
            brackets = bracket_flips(folded, number, row, farthest)
            nearest = nearest_brackets(brackets, reads, limit)
            found.changes[places], found.inner_ends[places], found.certified[places] = nearest
            found.is_exact[places] = False
    _verify(run, targets, weights, found, ranges)
    return found


def _moves_of_output(run: UnchangedRun, row: int) -> list[np.ndarray]:
    """By how much an output of the last Linear with weights must move, (n,): a score, or one of its quantiles."""
    network = run.network
    stored = network.stored_linears[-1]
    q_values = allowed_scores(run.sums[-1][:, : network.n_actions], run.allowed)
    moves = _moves_of_q(q_values, row % network.n_actions, run.actions)
    n_quantiles = stored.n_outputs // network.n_actions  # outputs are quantiles x actions
    return [move * n_quantiles for move in moves]


def _moves_of_q(q_values: np.ndarray, row: int, actions: np.ndarray) -> list[np.ndarray]:
    """By how much the row's Q-value must move, (n,): up to the greedy one, or down to the second.

    A 0 carries its direction as its sign: on a tie the greedy one must go down, any other up.
    """
    others = q_values.copy()
    others[:, row] = -np.inf
    moves = np.copysign(others.max(axis=1) - q_values[:, row], np.where(actions == row, -1.0, 1.0))
    return [np.where(np.isfinite(moves), moves, np.nan)]


def _moves_of_neuron(run: UnchangedRun, number: int, row: int, farthest: np.ndarray) -> list[np.ndarray]:
    """By how much the neuron's pre-activation must move, (n,) upwards and (n,) downwards; NaN where it cannot flip."""
    network = run.network
    before, value = run.sums[number][:, row], run.inputs[number + 1][:, row]
    start, column = run.sums[number + 1], network.linears[number + 1].columns[row]
    moves = []
    for sign, ends in ((1.0, farthest), (-1.0, value)):  # a ReLU goes down to 0 and no further
        direction = np.broadcast_to(sign * column, start.shape)
        rays = Rays(start=start, direction=direction, ends=ends)
        least = walk_to_flips(network.linears[number + 1 :], rays, run.actions, run.allowed)
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


def _verify(
    run: UnchangedRun,
    targets: Sequence[WeightTarget],
    weights: Sequence[str],
    found: SmallestFlips,
    ranges: Mapping[str, float],
) -> None:
    """Verify both sides of every change, computed from the changed weight on; fill in ``actions`` and ``verified``."""
    numbers = np.array([weights.index(target.parameter) if target.parameter in weights else -1 for target in targets])
    rows, columns = (np.array([getattr(target, name) for target in targets]) for name in ("row", "column"))
    for number in dict.fromkeys(numbers[numbers >= 0].tolist()):
        of_layer = np.flatnonzero(numbers == number)
        places, inputs = np.nonzero(np.isfinite(found.changes[of_layer]))
        places = of_layer[places]
        for start in range(0, len(places), _ROWS_AT_ONCE):
            some, at = places[start : start + _ROWS_AT_ONCE], inputs[start : start + _ROWS_AT_ONCE]
            change, inner = found.changes[some, at], np.abs(found.inner_ends[some, at])
            step = side_step(change, ranges[weights[number]])
            exact = found.is_exact[some]
            sizes = (
                np.where(exact, np.maximum(np.abs(change) - step, 0.0), inner),
                np.where(exact, np.abs(change) + step, np.abs(change)),
            )
            short, beyond = (
                actions_with_change(run, number, (rows[some], columns[some], at), np.copysign(size, change))
                for size in sizes
            )
            found.actions[some, at] = beyond
            found.verified[some, at] = (short == run.actions[at]) & (beyond != run.actions[at])
    found.certified[np.isfinite(found.changes) & ~found.verified] = False
