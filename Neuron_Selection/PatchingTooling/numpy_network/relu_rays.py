"""Scores of a ReLU network along rays, one linear piece after the other: first flips, mean gradients.

The outputs of one Linear move by s >= 0 times a direction; while no later unit crosses zero, every later value is
c + s g. The next crossing ends the piece. No grid, no tolerance: the answers are exact up to rounding (Montufar et al.
2014 count the pieces).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np

from Neuron_Selection.PatchingTooling.agent.network import Linear

SIDE_STEP = 1e-6  # distance from a flip at which both sides are verified, as a share of the way to it
LEAST_STEP = 1e-11  # the least such distance, as a share of the range; needed on ties, where the way is 0
_RAYS_AT_ONCE = 1024

Piece: TypeAlias = tuple[np.ndarray, np.ndarray]
"""The c and g of a Linear's outputs, (rays, width) each."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Rays:
    """Rays through the outputs of one Linear, the same for all rays.

    ``start``, ``direction``: (rays, width), its outputs at s = 0 and their change per unit of s; ``ends``: (rays,), the
    largest s considered.
    """

    start: np.ndarray
    direction: np.ndarray
    ends: np.ndarray


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Stretch:
    """One linear piece of some rays.

    ``rays``: (k,), which; ``begin``, ``end``: (k,), where it begins, and where the next crossing ends it, which may be
    infinite; ``pieces``: of every Linear from the moving one on, the scores last; ``active``: the open units of every
    hidden layer, (k, width) each.
    """

    rays: np.ndarray
    begin: np.ndarray
    end: np.ndarray
    pieces: Sequence[Piece]
    active: Sequence[np.ndarray]


def walk_to_flips(
    linears: Sequence[Linear], rays: Rays, actions: np.ndarray, allowed: np.ndarray | None = None
) -> np.ndarray:
    """The least s beyond which another allowed action is chosen; a rival that only reaches a tie flips nothing.

    :param linears: the one whose outputs move, and all after it, with ReLU in between
    :param actions: (rays,), the greedy actions at s = 0
    :param allowed: (rays, n_actions), which actions masks allow; None for all
    :return: (rays,), infinite where none is before the end of the ray
    """
    found = np.full(len(rays.ends), np.inf)
    rivals = np.ones((len(actions), linears[-1].n_outputs), bool) if allowed is None else allowed

    def visit(stretch: Stretch) -> np.ndarray:
        constant, slope = stretch.pieces[-1]
        flip = _takeover(constant, slope, actions[stretch.rays], rivals[stretch.rays], stretch.begin)
        flips: np.ndarray = (flip < stretch.end) & (flip < rays.ends[stretch.rays])  # at a crossing the next decides
        found[stretch.rays[flips]] = flip[flips]
        return flips

    walk(linears, rays, visit)
    return found


def mean_gradients(linears: Sequence[Linear], rays: Rays, score_weights: np.ndarray) -> np.ndarray:
    """The mean over a ray of the gradient of sum_a score_weights[a] * score[a] with respect to what moves.

    :param linears: as for ``walk_to_flips``
    :param score_weights: (rays, n_actions)
    :return: (rays, width of the moving outputs); 0 for a ray of no length
    """
    total = np.zeros(rays.start.shape)
    padding = ((0, 0), (0, linears[-1].columns.shape[1] - score_weights.shape[1]))
    weights = np.pad(score_weights, padding)

    def visit(stretch: Stretch) -> np.ndarray:
        gradient = weights[stretch.rays]
        for pattern, linear in zip(reversed(stretch.active), reversed(linears[1:]), strict=True):
            gradient = (gradient @ linear.columns.T) * pattern
        share = (np.minimum(stretch.end, rays.ends[stretch.rays]) - stretch.begin) / rays.ends[stretch.rays]
        total[stretch.rays] += share[:, None] * gradient
        return np.zeros(len(stretch.rays), bool)

    walk(linears, rays, visit)
    return total


def walk(linears: Sequence[Linear], rays: Rays, visit: Callable[[Stretch], np.ndarray]) -> None:
    """Visit the pieces of every ray in their order.

    :param visit: which rays of a stretch, (k,), need not be followed further
    """
    for first in range(0, len(rays.ends), _RAYS_AT_ONCE):
        going = np.arange(first, min(first + _RAYS_AT_ONCE, len(rays.ends)))
        active = _patterns_at_start(linears, rays.start[going])
        going, active = _kept(going, active, rays.ends[going] > 0)
        position = np.zeros(len(going))
        while len(going):
            pieces = _linear_pieces(linears, rays.start[going], rays.direction[going], active)
            crossing, layers, units = _next_crossing(pieces[:-1], active, position)
            done = visit(Stretch(rays=going, begin=position, end=crossing, pieces=pieces, active=active))
            stays = ~done & (crossing < rays.ends[going])
            going, active = _kept(going, active, stays)
            position, layers, units = crossing[stays], layers[stays], units[stays]
            for layer, pattern in enumerate(active):
                crossed = np.flatnonzero(layers == layer)
                pattern[crossed, units[crossed]] ^= True


def side_step(change: Any, limit: float) -> Any:
    """Distance from a flip at which both sides are verified.

    :param change: the way to it, a number or an array
    :param limit: of the range
    """
    return np.maximum(np.abs(change) * SIDE_STEP, limit * LEAST_STEP)


def _kept(going: np.ndarray, active: Sequence[np.ndarray], stays: np.ndarray) -> tuple[np.ndarray, list[np.ndarray]]:
    return going[stays], [pattern[stays] for pattern in active]


def _patterns_at_start(linears: Sequence[Linear], start: np.ndarray) -> list[np.ndarray]:
    """The open units of each later hidden layer, (rays, width) each."""
    patterns, values = [], start
    for linear in linears[1:]:
        patterns.append(values > 0)
        values = np.maximum(values, 0.0) @ linear.columns + linear.bias
    return patterns


def _linear_pieces(
    linears: Sequence[Linear], start: np.ndarray, direction: np.ndarray, active: Sequence[np.ndarray]
) -> list[Piece]:
    """The c and g of each Linear's outputs, the scores last."""
    pieces = [(start, direction)]
    for pattern, linear in zip(active, linears[1:], strict=True):
        constant, slope = pieces[-1]
        pieces.append(((constant * pattern) @ linear.columns + linear.bias, (slope * pattern) @ linear.columns))
    return pieces


def _next_crossing(
    pieces: Sequence[Piece], active: Sequence[np.ndarray], position: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The least s from ``position`` on at which an open unit closes or a closed one opens; its layer and unit."""
    best = np.full(len(position), np.inf)
    layers, units = np.full(len(position), -1), np.zeros(len(position), np.intp)
    for layer, ((constant, slope), pattern) in enumerate(zip(pieces, active, strict=True)):
        crosses = np.where(pattern, slope < 0, slope > 0)
        places = np.divide(-constant, slope, out=np.full(slope.shape, np.inf), where=crosses)
        np.maximum(places, position[:, None], out=places)
        first = places.argmin(axis=1)
        least = places[np.arange(len(position)), first]
        nearer = least < best  # on a tie the earlier layer first: later ones depend on it
        best[nearer], layers[nearer], units[nearer] = least[nearer], layer, first[nearer]
    return best, layers, units


def _takeover(
    constant: np.ndarray, slope: np.ndarray, actions: np.ndarray, allowed: np.ndarray, position: np.ndarray
) -> np.ndarray:
    """The least s from ``position`` on beyond which an allowed rival is chosen in this piece, (rays,).

    A rival that gains is chosen once it has caught up; one that stays tied only if its index is lower.
    """
    rows, n_actions = np.arange(len(actions)), allowed.shape[1]
    gap = constant[rows, actions][:, None] - constant[:, :n_actions]
    gain = slope[:, :n_actions] - slope[rows, actions][:, None]
    places = np.divide(gap, gain, out=np.full(gap.shape, np.inf), where=gain > 0)
    np.maximum(places, position[:, None], out=places)
    level = (gain == 0) & (gap == 0) & (np.arange(n_actions) < actions[:, None])
    places[level] = np.broadcast_to(position[:, None], places.shape)[level]
    places[~allowed] = np.inf
    least: np.ndarray = places.min(axis=1)
    return least
