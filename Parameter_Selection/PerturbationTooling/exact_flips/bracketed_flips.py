"""Brackets of the first change of the greedy action while one neuron's pre-activation moves; any activation function.

Where all activation functions are monotone, interval bounds (Gowal et al. 2018, arXiv 1810.12715) certify stretches in
which the action stays, from the unchanged value outwards. The rest is searched on a grid and by bisection.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from Neuron_Selection.ExperimentTooling.minimal_sets.interval_bounds import MONOTONE
from Parameter_Selection.PerturbationTooling.exact_flips.unchanged_run import UnchangedRun, scores_from

TOLERANCE = 1e-6  # of the range: the width of a bracket up to whose inner end bounds exclude a flip
RELATIVE_STEP = 0.02  # the grid of the search: of the distance at which it is
ABSOLUTE_STEP = 0.002  # and of the whole range at most
_LEAST_PROOF = 1e-8  # of the range: a stretch too short to be certified, next to a flip
_MOST_PROOFS = 1000  # stretches tried for a ray; the rest is searched
_SLACK = 1e-12  # of the terms of a difference of scores: rounding must not certify a tie
_CERTIFIABLE = MONOTONE - {"Softplus"}  # which torch makes fall by 2e-9 at 20
_ROWS_AT_ONCE = 4096
_GRID_AT_ONCE = 32
_LEAST_WIDTH = 1e-10  # of a bracket, as a share of its distance and of the range: where bisection ends
_BISECTIONS = 50


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Brackets:
    """For n inputs, the first flip while the pre-activation moves in one direction; all are distances, (n,).

    ``clear``: up to here bounds exclude a flip. ``inner``, ``outer``: the ends of the bracket, infinite where no flip
    was found; the action is the old one at the first, another at the second. ``sign``: of the direction.
    """

    sign: float
    clear: np.ndarray
    inner: np.ndarray
    outer: np.ndarray


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class _Neuron:
    """Neuron ``row`` of the ``number``-th Linear, which is not the last, moved in the direction ``sign``."""

    run: UnchangedRun
    number: int
    row: int
    sign: float

    def sums_after(self, inputs: np.ndarray, distance: np.ndarray) -> np.ndarray:
        """What the next Linear outputs after the move, (rows, padded width)."""
        function, following = self.run.network.linears[self.number].following, self.run.network.linears[self.number + 1]
        before = self.run.sums[self.number][inputs, self.row]
        push = function.compute(before + self.sign * distance) - function.compute(before)
        sums: np.ndarray = self.run.sums[self.number + 1][inputs] + push[:, None] * following.columns[self.row]
        return sums

    def flips(self, inputs: np.ndarray, distance: np.ndarray) -> np.ndarray:
        """Whether another action is chosen after the move, (rows,)."""
        found = np.zeros(len(inputs), np.bool_)
        for start in range(0, len(inputs), _ROWS_AT_ONCE):
            part = slice(start, start + _ROWS_AT_ONCE)
            scores = scores_from(self.run, self.number + 1, self.sums_after(inputs[part], distance[part]))
            found[part] = self.run.greedy(scores, inputs[part]) != self.run.actions[inputs[part]]
        return found


def bracket_flips(run: UnchangedRun, number: int, row: int, farthest: np.ndarray) -> list[Brackets]:
    """Brackets for a neuron's pre-activation moved upwards, and downwards.

    :param run: whose last Linear has weights
    :param number: a Linear before the last
    :param farthest: (n,), the largest distances considered
    """
    found = []
    for sign in (1.0, -1.0):
        neuron = _Neuron(run=run, number=number, row=row, sign=sign)
        clear = _certify(neuron, farthest) if run.activation_kinds <= _CERTIFIABLE else np.zeros(len(farthest))
        inner, outer = _search(neuron, clear, farthest)
        found.append(Brackets(sign=sign, clear=clear, inner=inner, outer=outer))
    return found


def nearest_brackets(
    brackets: Sequence[Brackets], reads: np.ndarray, limit: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The bracket of each weight's smallest change: outer ends, inner ends, and whether they are certified.

    :param reads: (k, n), the factors of the weights
    :return: (k, n) each; the ends are NaN where no change within the range is known to flip
    """
    changes, inner_ends = np.full(reads.shape, np.nan), np.full(reads.shape, np.nan)
    factors = np.where(reads == 0, np.nan, reads)
    for one in brackets:
        with np.errstate(invalid="ignore", over="ignore"):
            outer, inner = one.sign * one.outer / factors, one.sign * one.inner / factors
            better = (np.abs(outer) <= limit) & ~(np.abs(changes) <= np.abs(outer))
        changes[better], inner_ends[better] = outer[better], inner[better]
    end = np.where(np.isnan(changes), limit, np.abs(inner_ends)) * np.abs(reads)  # nearer flips are excluded or not
    clear = np.minimum.reduce([one.clear for one in brackets])
    return changes, inner_ends, clear >= end * (1 - 1e-12)


def _certify(neuron: _Neuron, farthest: np.ndarray) -> np.ndarray:
    """How far bounds exclude a flip, (n,): stretches that grow when one is certified and shrink when it is not."""
    clear, length = np.zeros(len(farthest)), farthest.copy()
    going = np.flatnonzero(farthest > 0)
    for _ in range(_MOST_PROOFS):
        if not len(going):
            break
        end = np.minimum(clear[going] + length[going], farthest[going])
        stays = _certainly_stays(neuron, going, clear[going], end)
        clear[going[stays]] = end[stays]
        length[going] *= np.where(stays, 2.0, 0.5)
        open_still = (clear[going] < farthest[going]) & (length[going] >= _LEAST_PROOF * farthest[going])
        going = going[open_still]
    return clear


def _certainly_stays(neuron: _Neuron, inputs: np.ndarray, start: np.ndarray, end: np.ndarray) -> np.ndarray:
    """Whether interval bounds exclude another action between two distances, (rows,)."""
    linears, actions = neuron.run.network.linears[neuron.number + 1 :], neuron.run.actions[inputs]
    ends = neuron.sums_after(inputs, start), neuron.sums_after(inputs, end)
    if len(linears) == 1:  # the scores are on the straight line between their ends
        allowed, n_actions = neuron.run.allowed[inputs], neuron.run.network.n_actions
        at_start, at_end = (_leads(sums[:, :n_actions], actions, allowed) for sums in ends)
        stays: np.ndarray = at_start & at_end
        return stays
    low, high = np.minimum(*ends), np.maximum(*ends)
    for before, linear in pairwise(linears[:-1]):
        low, high = (before.following.compute(values) for values in (low, high))
        rising, falling = np.maximum(linear.columns, 0.0), np.minimum(linear.columns, 0.0)
        low, high = low @ rising + high @ falling + linear.bias, high @ rising + low @ falling + linear.bias
    low, high = (linears[-2].following.compute(values) for values in (low, high))
    return _leads_within(neuron.run, low, high, inputs)


def _leads(scores: np.ndarray, actions: np.ndarray, allowed: np.ndarray) -> np.ndarray:
    """Whether an action leads all other allowed ones by more than rounding, (rows,)."""
    rivals = scores - scores[np.arange(len(scores)), actions][:, None]
    rivals[~allowed] = rivals[np.arange(len(scores)), actions] = -np.inf
    leads: np.ndarray = rivals.max(axis=1) < -_SLACK * (1.0 + np.abs(scores).max(axis=1))
    return leads


def _leads_within(run: UnchangedRun, low: np.ndarray, high: np.ndarray, inputs: np.ndarray) -> np.ndarray:
    """Whether the greedy action leads by more than rounding for all inputs of the last Linear between two, (rows,)."""
    last, n_actions, actions = run.network.linears[-1], run.network.n_actions, run.actions[inputs]
    columns, bias = last.columns[:, :n_actions], last.bias[:n_actions]
    middle, radius = (low + high) / 2, (high - low) / 2
    size = np.maximum(np.abs(low), np.abs(high))
    leads = np.empty(len(actions), np.bool_)
    for action in np.unique(actions):
        rows = actions == action
        rivals = np.arange(n_actions) != action
        ahead = columns[:, rivals] - columns[:, action : action + 1]
        gaps, sizes = bias[rivals] - bias[action], np.abs(bias[rivals]) + np.abs(bias[action])
        highest = middle[rows] @ ahead + radius[rows] @ np.abs(ahead) + gaps
        terms = 1.0 + size[rows] @ np.abs(ahead) + sizes
        forbidden = ~run.allowed[inputs[rows]][:, rivals]
        leads[rows] = ((highest < -_SLACK * terms) | forbidden).all(axis=1)
    return leads


def _search(neuron: _Neuron, clear: np.ndarray, farthest: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Inner and outer ends of the first flip found beyond ``clear``, (n,); infinite for none."""
    inner, outer = np.full(len(clear), np.inf), np.full(len(clear), np.inf)
    going, reached, grid = np.flatnonzero(clear < farthest), clear.copy(), _grid()
    for start in range(0, len(grid), _GRID_AT_ONCE):
        shares = grid[start : start + _GRID_AT_ONCE]
        distances = clear[going, None] + shares * (farthest - clear)[going, None]
        flips = neuron.flips(np.repeat(going, len(shares)), distances.ravel()).reshape(distances.shape)
        points, rows = np.concatenate([reached[going, None], distances], axis=1), np.arange(len(going))
        first, hit = flips.argmax(axis=1), flips.any(axis=1)
        inner[going[hit]], outer[going[hit]] = points[rows, first][hit], points[rows, first + 1][hit]
        reached[going] = points[:, -1]
        going = going[~hit]
    going = np.flatnonzero(np.isfinite(outer))
    for _ in range(_BISECTIONS):
        middle = (inner[going] + outer[going]) / 2
        flips = neuron.flips(going, middle)
        outer[going[flips]], inner[going[~flips]] = middle[flips], middle[~flips]
        going = going[outer[going] - inner[going] > _LEAST_WIDTH * (outer + farthest)[going]]
    certified = outer - clear <= TOLERANCE * farthest  # False where nothing was found
    return np.where(certified, clear, inner), outer


def _grid() -> np.ndarray:
    """Shares of the distance that is searched; the first is the tolerance, the last 1."""
    turn = ABSOLUTE_STEP / RELATIVE_STEP  # from here on the absolute step is the smaller one
    near = np.geomspace(TOLERANCE, turn, int(np.ceil(np.log(turn / TOLERANCE) / np.log1p(RELATIVE_STEP))) + 1)
    return np.concatenate([near, np.linspace(turn, 1.0, int(np.ceil((1 - turn) / ABSOLUTE_STEP)) + 1)[1:]])
