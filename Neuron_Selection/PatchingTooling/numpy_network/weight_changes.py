"""Changed weights, one at a time, expressed as units that change.

Weight (row, column) of a Linear changes neuron ``row`` by the change of the weight times what the layer reads at
``column``: one unit of the next Linear's inputs, whatever the size of the matrix.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from Neuron_Selection.errors import UsageError
from Neuron_Selection.FileFormats.observations import Observations, count_of
from Neuron_Selection.PatchingTooling.agent.network import WeightChange, refuse_nonfinite_scores
from Neuron_Selection.PatchingTooling.numpy_network.changes import ChangedRun, change_units

if TYPE_CHECKING:
    from Neuron_Selection.PatchingTooling.numpy_network.network import NumpyNetwork

_NUMBERS_AT_ONCE = 1 << 13  # deltas; temporary memory grows with them


def scores_of_weight_changes(
    network: NumpyNetwork, observations: Observations, changes: Sequence[WeightChange]
) -> np.ndarray:
    """The scores under each of many changed weights, one at a time.

    The values are used as they are; a network in float32 would round them first.

    :return: (n_changes, n, n_actions), float64
    :raises UsageError: no such weight
    """
    scores = np.empty((len(changes), count_of(observations), network.n_actions))
    by_parameter: dict[str, list[int]] = defaultdict(list)
    for number, change in enumerate(changes):
        by_parameter[change.parameter].append(number)
    groups = [_group(network, parameter, np.array(members), changes) for parameter, members in by_parameter.items()]
    for rows, part in network.chunks(observations):
        changed = ChangedRun(network=network, run=network.run(part))
        for group in groups:
            _run_group(changed, group, scores[:, rows])
    refuse_nonfinite_scores(scores)
    return scores


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class _Group:
    """Changes of one Linear's weight: their numbers, places, and by how much each weight changes."""

    linear: int
    members: np.ndarray
    rows: np.ndarray
    columns: np.ndarray
    differences: np.ndarray


def _group(network: NumpyNetwork, parameter: str, members: np.ndarray, changes: Sequence[WeightChange]) -> _Group:
    number = network.number_of(parameter)
    linear = network.linears[number]
    height, width = linear.n_outputs, linear.n_inputs
    chosen = [changes[number] for number in members]
    rows, columns = np.array([(change.row, change.column) for change in chosen]).T
    for place in np.flatnonzero((rows < 0) | (rows >= height) | (columns < 0) | (columns >= width)):
        raise UsageError(
            field=f"weight {parameter}",
            found=f"row {rows[place]}, column {columns[place]}",
            expected=f"rows 0..{height - 1}, columns 0..{width - 1}",
        )
    differences = np.array([change.value for change in chosen]) - linear.columns[columns, rows]
    return _Group(linear=number, members=members, rows=rows, columns=columns, differences=differences)


def _run_group(changed: ChangedRun, group: _Group, scores: np.ndarray) -> None:
    """Fill in the scores of the group's changes.

    :param scores: (all changes, n, n_actions)
    """
    network, number, n_rows = changed.network, group.linear, changed.n_rows
    inputs, summed = (np.ascontiguousarray(of[number][:n_rows].T) for of in (changed.run.inputs, changed.run.sums))
    is_last = number == len(network.linears) - 1
    read_next = None if is_last else np.ascontiguousarray(changed.run.inputs[number + 1][:n_rows].T)
    at_once = max(changed.changes_at_once, _NUMBERS_AT_ONCE // n_rows)
    for start in range(0, len(group.members), at_once):
        part = slice(start, start + at_once)
        rows, members = group.rows[part], group.members[part]
        added = group.differences[part, None] * inputs[group.columns[part]]
        if read_next is None:
            scores[members] = changed.baseline
            scores[members, :, rows] += added
        else:
            delta = network.linears[number].following.compute(summed[rows] + added) - read_next[rows]
            scores[members] = change_units(changed, number + 1, rows[:, None], delta[:, None])
