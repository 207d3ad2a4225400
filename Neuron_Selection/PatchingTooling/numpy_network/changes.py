"""The one kernel, "these units change by delta": the scores after a change, computed from the change on.

Everything before a change stays as it was, so the unchanged run is the start. A few changed units change the sums of
the next Linear by a low-rank product; where most of a layer is replaced the product is computed in full; from there the
network is run on. Sweeps, interventions and changed weights are all expressed in these terms.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from Neuron_Selection.FileFormats.provenance import CHUNK_ROWS
from Neuron_Selection.PatchingTooling.agent.interventions import Edit
from Neuron_Selection.PatchingTooling.numpy_network.products import LANES, low_rank_product, padded, product
from Neuron_Selection.PatchingTooling.numpy_network.runs import Run, Site

if TYPE_CHECKING:
    from Neuron_Selection.PatchingTooling.numpy_network.network import NumpyNetwork

_WORTH_ALL = 2 / 3  # where more rows than this change, all are computed: picking them costs more


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class SiteEdit:
    """New outputs of one site, the same for many changes but for the units.

    ``masks``: (n_changes, width), which units each change edits; ``edit``: with values padded as the run's outputs are.
    """

    masks: np.ndarray
    edit: Edit


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class ChangedRun:
    """The unchanged run, and what is edited in it after the first change.

    ``edits``: site to what is edited there. ``counts`` is filled by the run, unless it is None: site to the number of
    values that really changed, (n_changes, n padded). ``buffers``: memory in which one portion after the other is
    computed; fresh memory costs more than the work.
    """

    network: NumpyNetwork
    run: Run
    edits: Mapping[Site, SiteEdit] = field(default_factory=dict)
    counts: dict[Site, np.ndarray] | None = None
    buffers: dict[str, np.ndarray] = field(default_factory=dict)

    @property
    def n_rows(self) -> int:
        """Inputs of the run."""
        return self.run.n_rows

    @property
    def baseline(self) -> np.ndarray:
        """The scores of the unchanged run, (n, n_actions)."""
        return self.run.sums[-1][: self.n_rows, : self.network.n_actions]

    @property
    def padded_rows(self) -> int:
        """Rows of each change, padding included."""
        return padded(self.n_rows, LANES)

    @property
    def changes_at_once(self) -> int:
        """As many changes as fill the buffers."""
        return -(-self.network.buffer_rows // self.padded_rows)

    def buffer(self, name: str, rows: int, width: int) -> np.ndarray:
        """A number of rows, padded to 64; their content is undefined."""
        found, n_padded = self.buffers.get(name), padded(rows, CHUNK_ROWS)
        if found is None or found.shape[1] != width or len(found) < n_padded:
            found = self.buffers[name] = np.zeros((n_padded, width))
        return found[:n_padded]


def change_units(changed: ChangedRun, number: int, units: np.ndarray, delta: np.ndarray) -> np.ndarray:
    """The scores after some inputs of the ``number``-th Linear changed.

    A row in which nothing changes keeps its scores bit for bit, unless something is edited later on.

    :param units: (n_changes, k), different ones in each change
    :param delta: (n_changes, k, n), by how much each changes
    :return: (n_changes, n, n_actions)
    """
    if number == len(changed.network.linears) - 1 and not changed.edits:
        return _change_last_inputs(changed, units, delta)
    if units.shape[1] == 1:  # two terms, the second times 0: a single one would leave BLAS for something slower
        units, delta = np.repeat(units, 2, axis=1), np.concatenate([delta, np.zeros_like(delta)], axis=1)
    if changed.edits:
        return _change_all_rows(changed, number, units, delta)
    changes_rows = (delta != 0).any(axis=1)
    if np.count_nonzero(changes_rows) < _WORTH_ALL * changes_rows.size:
        return _change_some_rows(changed, number, units, delta, changes_rows)
    scores = _change_all_rows(changed, number, units, delta)
    np.copyto(scores, changed.baseline, where=~changes_rows[..., None])
    return scores


def _change_all_rows(changed: ChangedRun, number: int, units: np.ndarray, delta: np.ndarray) -> np.ndarray:
    (n_changes, terms, n_rows), network, n_padded = delta.shape, changed.network, changed.padded_rows
    columns, before = network.linears[number].columns, changed.run.sums[number][:n_padded]
    summed = changed.buffer(f"summed {number}", changed.changes_at_once * n_padded, columns.shape[1])
    factors = np.zeros((changed.changes_at_once, n_padded, terms))
    scores = np.empty((n_changes, n_rows, network.n_actions))
    for start in range(0, n_changes, changed.changes_at_once):
        part = slice(start, min(start + changed.changes_at_once, n_changes))
        count = part.stop - part.start
        factors[:count, :n_rows] = delta[part].transpose(0, 2, 1)
        values = summed[: padded(count * n_padded, CHUNK_ROWS)]
        low_rank_product(
            factors[:count].reshape(count, -1, LANES, terms),
            columns[units[part]][:, None],
            out=values[: count * n_padded].reshape(count, -1, LANES, columns.shape[1]),
        )
        by_change = values[: count * n_padded].reshape(count, n_padded, -1)
        by_change += before
        scores[part] = _run_on(changed, number, values, part)
    return scores


def _change_some_rows(
    changed: ChangedRun, number: int, units: np.ndarray, delta: np.ndarray, changes_rows: np.ndarray
) -> np.ndarray:
    """Only the rows that change.

    :param changes_rows: (n_changes, n)
    """
    changes, rows = np.nonzero(changes_rows)
    results = change_units_of_pairs(changed, number, units, changes=changes, rows=rows, delta=delta[changes, :, rows])
    scores = np.repeat(changed.baseline[None], len(units), axis=0)
    scores.reshape(-1, changed.network.n_actions)[changes * changed.n_rows + rows] = results
    return scores


def change_units_of_pairs(
    changed: ChangedRun, number: int, units: np.ndarray, *, changes: np.ndarray, rows: np.ndarray, delta: np.ndarray
) -> np.ndarray:
    """The scores of pairs of a change and a row, after some inputs of the ``number``-th Linear changed.

    The pairs are laid out in blocks of 8, each block of one change.

    :param units: (n_changes, k), at least 2 different ones in each change, or one of them twice
    :param changes: (n_pairs,), the change of each pair, ascending
    :param rows: (n_pairs,)
    :param delta: (n_pairs, k)
    :return: (n_pairs, n_actions)
    """
    network, columns, before = changed.network, changed.network.linears[number].columns, changed.run.sums[number]
    width, terms = columns.shape[1], units.shape[1]
    slots, block_changes = _blocks_of_pairs(changes, len(units))
    factors, slot_rows = np.zeros((len(block_changes) * LANES, terms)), np.zeros(len(block_changes) * LANES, np.intp)
    factors[slots], slot_rows[slots] = delta, rows
    results = np.empty((len(factors), changed.run.sums[-1].shape[1]))
    added, summed = (changed.buffer(f"{name} {number}", network.buffer_rows, width) for name in ("added", "summed"))
    for start in range(0, len(factors), network.buffer_rows):
        part = slice(start, min(start + network.buffer_rows, len(factors)))
        count, blocks = part.stop - part.start, block_changes[part.start // LANES : part.stop // LANES]
        low_rank_product(
            factors[part].reshape(-1, LANES, terms),
            np.take(columns, units[blocks], axis=0, mode="clip"),
            out=added[:count].reshape(-1, LANES, width),
        )
        np.take(before, slot_rows[part], axis=0, out=summed[:count], mode="clip")
        summed[:count] += added[:count]
        results[part] = _run_layers(changed, number, summed[: padded(count, CHUNK_ROWS)], None)[:count]
    found: np.ndarray = results.take(slots, axis=0)[:, : network.n_actions]
    return found


def _change_last_inputs(changed: ChangedRun, units: np.ndarray, delta: np.ndarray) -> np.ndarray:
    """Nothing follows the last Linear: its scores plus delta times the units' columns."""
    n_changes, terms, n_rows = delta.shape
    columns = changed.network.linears[-1].columns
    scores = np.empty((n_changes, n_rows, changed.network.n_actions))
    if terms == 1:
        # a second term of 0 changes no bit, and makes it a product: four times faster than a multiplication
        factors, pairs = np.zeros((n_changes, n_rows, 2)), np.zeros((n_changes, 2, scores.shape[2]))
        factors[..., 0], pairs[:, 0] = delta[:, 0], columns[units[:, 0], : scores.shape[2]]
        np.matmul(factors, pairs, out=scores)
    else:
        factors = np.zeros((n_changes, changed.padded_rows, terms))
        factors[:, :n_rows] = delta.transpose(0, 2, 1)
        added = low_rank_product(factors.reshape(n_changes, -1, LANES, terms), columns[units][:, None])
        scores[:] = added.reshape(n_changes, -1, columns.shape[1])[:, :n_rows, : scores.shape[2]]
    scores += changed.baseline
    return scores


def replace_inputs(changed: ChangedRun, number: int, edits: Sequence[SiteEdit]) -> np.ndarray:
    """The scores after many inputs of the ``number``-th Linear were edited; its product is computed in full.

    :param edits: of the inputs, one after the other; the last is counted
    :return: (n_changes, n, n_actions)
    """
    inputs, n_padded, n_changes = changed.run.inputs[number], changed.padded_rows, len(edits[0].masks)
    edited = changed.buffer("edited", changed.changes_at_once * n_padded, inputs.shape[1])
    scores = np.empty((n_changes, changed.n_rows, changed.network.n_actions))
    for start in range(0, n_changes, changed.changes_at_once):
        part = slice(start, min(start + changed.changes_at_once, n_changes))
        count = part.stop - part.start
        values = edited[: padded(count * n_padded, CHUNK_ROWS)]
        values[: count * n_padded].reshape(count, n_padded, -1)[:] = inputs[:n_padded]
        for edit in edits:
            _edit(changed, Site(number, "input"), values, edit, part)
        scores[part] = _run_on(changed, number, _linear(changed, number, values), part)
    return scores


def _run_on(changed: ChangedRun, number: int, values: np.ndarray, part: slice) -> np.ndarray:
    """From the sums of the ``number``-th Linear to the scores; ``values`` is overwritten.

    :param values: (rows of the changes one after the other, padded to 64, width)
    :param part: which changes
    :return: (changes, n, n_actions)
    """
    count = part.stop - part.start
    results = _run_layers(changed, number, values, part)[: count * changed.padded_rows]
    by_change: np.ndarray = results.reshape(count, changed.padded_rows, -1)
    return by_change[:, : changed.n_rows, : changed.network.n_actions]


def _run_layers(changed: ChangedRun, number: int, values: np.ndarray, part: slice | None) -> np.ndarray:
    """The layers after the ``number``-th Linear, on rows in any order where nothing is edited (``part`` None)."""
    for following in range(number, len(changed.network.linears)):
        if following > number:
            values = changed.network.linears[following - 1].following.compute_into(values, values)
            values = _edited(changed, Site(following, "input"), values, part)
            values = _linear(changed, following, values)
        values = _edited(changed, Site(following, "sum"), values, part)
    return values


def _linear(changed: ChangedRun, number: int, inputs: np.ndarray) -> np.ndarray:
    linear = changed.network.linears[number]
    out = changed.buffer(f"summed {number}", len(inputs), linear.columns.shape[1])
    summed = product(inputs, linear.columns, out=out)
    summed += linear.bias
    return summed


def _edited(changed: ChangedRun, site: Site, values: np.ndarray, part: slice | None) -> np.ndarray:
    if part is not None and site in changed.edits:
        _edit(changed, site, values, changed.edits[site], part)
    return values


def _edit(changed: ChangedRun, site: Site, values: np.ndarray, site_edit: SiteEdit, part: slice) -> None:
    """Edit in place, and count."""
    count, n_padded = part.stop - part.start, changed.padded_rows
    by_change = values[: count * n_padded].reshape(count, n_padded, -1)
    mask, new = site_edit.masks[part, None], site_edit.edit.of_rows(slice(n_padded)).new_outputs(by_change)
    if changed.counts is not None:
        counts = changed.counts.setdefault(site, np.zeros((len(site_edit.masks), n_padded), np.int64))
        counts[part] = np.count_nonzero(mask & (new != by_change), axis=2)
    np.copyto(by_change, new, where=mask)


def _blocks_of_pairs(changes: np.ndarray, n_changes: int) -> tuple[np.ndarray, np.ndarray]:
    """Lay pairs out in blocks of 8 slots, each block of one change.

    :param changes: (n_pairs,), the change of each pair, ascending
    :return: the slot of each pair; and the change that each block belongs to
    """
    counts = np.bincount(changes, minlength=n_changes)
    blocks = -(-counts // LANES)
    within = np.arange(len(changes)) - (np.cumsum(counts) - counts)[changes]
    slots = (np.cumsum(blocks) - blocks)[changes] * LANES + within
    return slots, np.repeat(np.arange(n_changes), blocks)
