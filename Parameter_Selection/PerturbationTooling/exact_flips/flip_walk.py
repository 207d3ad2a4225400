"""First change of the greedy action along a ray of a ReLU network, found piece by linear piece.

One unit's value moves by s >= 0 times a direction; while no later unit crosses zero, every later value is c + s g. The
next crossing ends the piece. No grid, no tolerance: the answer is exact up to rounding (Montufar et al. 2014 count the
pieces).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from Neuron_Selection.PatchingTooling.numpy_network.network import NumpyNetwork

_RAYS_AT_ONCE = 1024


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Rays:
    """Rays through the outputs of one Linear, the same for all rays.

    ``start``, ``direction``: (rays, width), its outputs at s = 0 and their change per unit of s; ``actions``: (rays,),
    the greedy actions at s = 0; ``ends``: (rays,), the largest s considered; ``allowed``: (rays, n_actions), the
    actions that masks allow.
    """

    start: np.ndarray
    direction: np.ndarray
    actions: np.ndarray
    ends: np.ndarray
    allowed: np.ndarray


def walk_to_flips(network: NumpyNetwork, number: int, rays: Rays) -> np.ndarray:
    """The least s beyond which another action is chosen; a rival that only reaches a tie flips nothing.

    :param number: the Linear whose outputs move
    :return: (rays,), infinite where none is before the end of the ray
    """
    found = np.full(len(rays.ends), np.inf)
    for start in range(0, len(found), _RAYS_AT_ONCE):
        part = slice(start, start + _RAYS_AT_ONCE)
        some = Rays(
            start=rays.start[part],
            direction=rays.direction[part],
            actions=rays.actions[part],
            ends=rays.ends[part],
            allowed=rays.allowed[part],
        )
        found[part] = _walk(network, number, some)
    return found


def _walk(network: NumpyNetwork, number: int, rays: Rays) -> np.ndarray:
    found = np.full(len(rays.ends), np.inf)
    going = np.flatnonzero(rays.ends > 0)
    reached = np.zeros(len(found))
    active = _patterns_at_start(network, number, rays.start)
    while len(going):
        position, open_now = reached[going], [layer[going] for layer in active]
        pieces = _linear_pieces(network, number, rays.start[going], rays.direction[going], open_now)
        crossing, layers, units = _next_crossing(pieces[:-1], open_now, position)
        flip = _takeover(*pieces[-1], rays.actions[going], rays.allowed[going], position)
        ends = rays.ends[going]
        flips = (flip < crossing) & (flip < ends)  # at the crossing itself, the next piece decides
        found[going[flips]] = flip[flips]
        stays = ~flips & (crossing < ends)
        for layer, pattern in enumerate(active):
            crossed = stays & (layers == layer)
            pattern[going[crossed], units[crossed]] ^= True
        reached[going] = crossing
        going = going[stays]
    return found


_Piece = tuple[np.ndarray, np.ndarray]


def _patterns_at_start(network: NumpyNetwork, number: int, start: np.ndarray) -> list[np.ndarray]:
    """The open units of each later hidden layer, (rays, width) each."""
    patterns, values = [], start
    for following in range(number + 1, len(network.linears)):
        patterns.append(values > 0)
        values = np.maximum(values, 0.0) @ network.linears[following].columns + network.linears[following].bias
    return patterns


def _linear_pieces(
    network: NumpyNetwork, number: int, start: np.ndarray, direction: np.ndarray, active: Sequence[np.ndarray]
) -> list[_Piece]:
    """The c and g of each later Linear's outputs, the Q-values last."""
    pieces = [(start, direction)]
    for pattern, following in zip(active, range(number + 1, len(network.linears)), strict=True):
        constant, slope = pieces[-1]
        columns, bias = network.linears[following].columns, network.linears[following].bias
        pieces.append(((constant * pattern) @ columns + bias, (slope * pattern) @ columns))
    return pieces


def _next_crossing(
    pieces: Sequence[_Piece], active: Sequence[np.ndarray], position: np.ndarray
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
