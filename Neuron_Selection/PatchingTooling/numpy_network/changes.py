"""The one kernel, "these units change by delta": what the Q-values become, from there on only.

Everything before a change stays as it was, so the target's own run is the start. Some changed units move the next
Linear by a low-rank product; where most of a layer is exchanged the product is done in full; from there the network is
run on. Sweeps, patch specs and changed weights are all put in these terms.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from Neuron_Selection.FileFormats.provenance import CHUNK_ROWS
from Neuron_Selection.PatchingTooling.numpy_network.mlp import FastMlp
from Neuron_Selection.PatchingTooling.numpy_network.products import LANES, filled_up, low_rank_product, product

_WORTH_ALL = 2 / 3  # where more rows than this move, none is left out: picking them costs more


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Exchange:
    """Values that a layer shall output instead of what it computes.

    ``mask``: (n_changes, width), which neurons; ``values``: (n, width); both filled up as the run's outputs are.
    """

    mask: np.ndarray
    values: np.ndarray


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Scene:
    """A target run, and what is exchanged in it by layer position.

    ``counts`` is filled by the run, unless it is None: position to the number of values that really changed,
    (n_changes, n filled up). ``buffers``: memory in which one portion after the other is worked on; fresh memory costs
    more than the work.
    """

    network: FastMlp
    outputs: Sequence[np.ndarray]
    n_rows: int
    exchanges: Mapping[int, Exchange] = field(default_factory=dict)
    counts: dict[int, np.ndarray] | None = None
    buffers: dict[str, np.ndarray] = field(default_factory=dict)

    @property
    def baseline(self) -> np.ndarray:
        """The target's own Q-values, (n, n_actions)."""
        return self.outputs[-1][: self.n_rows, : self.network.n_actions]

    @property
    def filled_rows(self) -> int:
        """Rows of each change, with those that are idle."""
        return filled_up(self.n_rows, LANES)

    @property
    def changes_at_once(self) -> int:
        """As many changes as fill the buffers."""
        return -(-self.network.buffer_rows // self.filled_rows)

    def buffer(self, name: str, rows: int, width: int) -> np.ndarray:
        """So many rows, filled up to 64, with anything in them."""
        found, filled = self.buffers.get(name), filled_up(rows, CHUNK_ROWS)
        if found is None or found.shape[1] != width or len(found) < filled:
            found = self.buffers[name] = np.zeros((filled, width))
        return found[:filled]


def change_units(scene: Scene, number: int, units: np.ndarray, delta: np.ndarray) -> np.ndarray:
    """Q-values after some inputs of the ``number``-th Linear changed.

    A row in which nothing changes keeps its Q-values bit for bit, unless something is exchanged later on.

    :param units: (n_changes, k), different ones in each change
    :param delta: (n_changes, k, n), by how much each changes
    :return: (n_changes, n, n_actions)
    """
    if number == len(scene.network.columns) - 1 and not scene.exchanges:
        return _change_last_inputs(scene, units, delta)
    if units.shape[1] == 1:  # two terms, the second times 0: a single one would leave BLAS for something slower
        units, delta = np.repeat(units, 2, axis=1), np.concatenate([delta, np.zeros_like(delta)], axis=1)
    if scene.exchanges:
        return _change_all_rows(scene, number, units, delta)
    moves = (delta != 0).any(axis=1)
    if np.count_nonzero(moves) < _WORTH_ALL * moves.size:
        return _change_moving_rows(scene, number, units, delta, moves)
    q_values = _change_all_rows(scene, number, units, delta)
    np.copyto(q_values, scene.baseline, where=~moves[..., None])
    return q_values


def _change_all_rows(scene: Scene, number: int, units: np.ndarray, delta: np.ndarray) -> np.ndarray:
    (n_changes, terms, n_rows), network, filled_rows = delta.shape, scene.network, scene.filled_rows
    columns, before = network.columns[number], scene.outputs[2 * number + 1][:filled_rows]
    summed = scene.buffer(f"summed {number}", scene.changes_at_once * filled_rows, columns.shape[1])
    factors = np.zeros((scene.changes_at_once, filled_rows, terms))
    q_values = np.empty((n_changes, n_rows, network.n_actions))
    for start in range(0, n_changes, scene.changes_at_once):
        part = slice(start, min(start + scene.changes_at_once, n_changes))
        count = part.stop - part.start
        factors[:count, :n_rows] = delta[part].transpose(0, 2, 1)
        values = summed[: filled_up(count * filled_rows, CHUNK_ROWS)]
        low_rank_product(
            factors[:count].reshape(count, -1, LANES, terms),
            columns[units[part]][:, None],
            out=values[: count * filled_rows].reshape(count, -1, LANES, columns.shape[1]),
        )
        by_change = values[: count * filled_rows].reshape(count, filled_rows, -1)
        by_change += before
        q_values[part] = _run_on(scene, number, values, part)
    return q_values


def _change_moving_rows(
    scene: Scene, number: int, units: np.ndarray, delta: np.ndarray, moves: np.ndarray
) -> np.ndarray:
    """Only what moves, laid out in blocks of 8 rows, each block of one change.

    :param moves: (n_changes, n)
    """
    network, columns, before = scene.network, scene.network.columns[number], scene.outputs[2 * number + 1]
    width, terms = columns.shape[1], units.shape[1]
    changes, rows, slots, block_changes = _blocks_of_rows(moves)
    factors, slot_rows = np.zeros((len(block_changes) * LANES, terms)), np.zeros(len(block_changes) * LANES, np.intp)
    factors[slots], slot_rows[slots] = delta[changes, :, rows], rows
    results = np.empty((len(factors), scene.outputs[-1].shape[1]))
    moved, summed = (scene.buffer(f"{name} {number}", network.buffer_rows, width) for name in ("moved", "summed"))
    for start in range(0, len(factors), network.buffer_rows):
        part = slice(start, min(start + network.buffer_rows, len(factors)))
        count, blocks = part.stop - part.start, block_changes[part.start // LANES : part.stop // LANES]
        low_rank_product(
            factors[part].reshape(-1, LANES, terms),
            np.take(columns, units[blocks], axis=0, mode="clip"),
            out=moved[:count].reshape(-1, LANES, width),
        )
        np.take(before, slot_rows[part], axis=0, out=summed[:count], mode="clip")
        summed[:count] += moved[:count]
        results[part] = _run_layers(scene, number, summed[: filled_up(count, CHUNK_ROWS)], None)[:count]
    q_values = np.repeat(scene.baseline[None], len(units), axis=0)
    q_values.reshape(-1, network.n_actions)[changes * scene.n_rows + rows] = results.take(slots, axis=0)[
        :, : network.n_actions
    ]
    return q_values


def _change_last_inputs(scene: Scene, units: np.ndarray, delta: np.ndarray) -> np.ndarray:
    """Nothing follows the last Linear: its Q-values plus delta times the units' columns."""
    n_changes, terms, n_rows = delta.shape
    columns = scene.network.columns[-1]
    q_values = np.empty((n_changes, n_rows, scene.network.n_actions))
    if terms == 1:
        # a second term of 0 changes no bit, and makes it a product: four times faster than a multiplication
        factors, pairs = np.zeros((n_changes, n_rows, 2)), np.zeros((n_changes, 2, q_values.shape[2]))
        factors[..., 0], pairs[:, 0] = delta[:, 0], columns[units[:, 0], : q_values.shape[2]]
        np.matmul(factors, pairs, out=q_values)
    else:
        factors = np.zeros((n_changes, scene.filled_rows, terms))
        factors[:, :n_rows] = delta.transpose(0, 2, 1)
        moved = low_rank_product(factors.reshape(n_changes, -1, LANES, terms), columns[units][:, None])
        q_values[:] = moved.reshape(n_changes, -1, columns.shape[1])[:, :n_rows, : q_values.shape[2]]
    q_values += scene.baseline
    return q_values


def exchange_units(scene: Scene, number: int, entries: Sequence[Exchange]) -> np.ndarray:
    """Q-values after many inputs of the ``number``-th Linear were exchanged.

    :param entries: what is exchanged among the inputs, one after the other; the last is counted
    :return: (n_changes, n, n_actions)
    """
    inputs, filled_rows, n_changes = scene.outputs[2 * number], scene.filled_rows, len(entries[0].mask)
    exchanged = scene.buffer("exchanged", scene.changes_at_once * filled_rows, inputs.shape[1])
    q_values = np.empty((n_changes, scene.n_rows, scene.network.n_actions))
    for start in range(0, n_changes, scene.changes_at_once):
        part = slice(start, min(start + scene.changes_at_once, n_changes))
        count = part.stop - part.start
        values = exchanged[: filled_up(count * filled_rows, CHUNK_ROWS)]
        values[: count * filled_rows].reshape(count, filled_rows, -1)[:] = inputs[:filled_rows]
        for entry in entries:
            _exchange(scene, 2 * number, values, entry, part)
        q_values[part] = _run_on(scene, number, _linear(scene, number, values), part)
    return q_values


def _run_on(scene: Scene, number: int, values: np.ndarray, part: slice) -> np.ndarray:
    """From what the ``number``-th Linear puts out to the Q-values; ``values`` is overwritten.

    :param values: (rows of the changes one after the other, filled up to 64, width)
    :param part: which changes
    :return: (changes, n, n_actions)
    """
    count = part.stop - part.start
    results = _run_layers(scene, number, values, part)[: count * scene.filled_rows]
    by_change: np.ndarray = results.reshape(count, scene.filled_rows, -1)
    return by_change[:, : scene.n_rows, : scene.network.n_actions]


def _run_layers(scene: Scene, number: int, values: np.ndarray, part: slice | None) -> np.ndarray:
    """The layers behind the ``number``-th Linear, on rows in any order where nothing is exchanged (``part`` None)."""
    for position in range(2 * number + 1, len(scene.outputs)):
        if position % 2 == 0:
            values = scene.network.activations[position // 2 - 1].compute_into(values, values)
        elif position > 2 * number + 1:
            values = _linear(scene, position // 2, values)
        if part is not None and position in scene.exchanges:
            _exchange(scene, position, values, scene.exchanges[position], part)
    return values


def _linear(scene: Scene, number: int, inputs: np.ndarray) -> np.ndarray:
    columns = scene.network.columns[number]
    out = scene.buffer(f"summed {number}", len(inputs), columns.shape[1])
    summed = product(inputs, columns, out=out)
    summed += scene.network.biases[number]
    return summed


def _exchange(scene: Scene, position: int, values: np.ndarray, entry: Exchange, part: slice) -> None:
    """Exchange in place, and count."""
    count, filled_rows = part.stop - part.start, scene.filled_rows
    by_change = values[: count * filled_rows].reshape(count, filled_rows, -1)
    mask, new = entry.mask[part, None], entry.values[:filled_rows]
    if scene.counts is not None:
        counts = scene.counts.setdefault(position, np.zeros((len(entry.mask), filled_rows), np.int64))
        counts[part] = np.count_nonzero(mask & (new != by_change), axis=2)
    np.copyto(by_change, new, where=mask)


def _blocks_of_rows(moves: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Lay what moves out in blocks of 8 slots, each block of one change.

    :param moves: (n_changes, n)
    :return: change, row and slot of each that moves; and the change that each block belongs to
    """
    counts = np.count_nonzero(moves, axis=1)
    blocks = -(-counts // LANES)
    changes, rows = np.nonzero(moves)
    within = np.arange(len(changes)) - (np.cumsum(counts) - counts)[changes]
    slots = (np.cumsum(blocks) - blocks)[changes] * LANES + within
    return changes, rows, slots, np.repeat(np.arange(len(moves)), blocks)
