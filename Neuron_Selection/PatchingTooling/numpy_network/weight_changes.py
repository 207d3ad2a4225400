"""Changed weights, one at a time, put in terms of units that change.

Weight (row, column) of a Linear moves neuron ``row`` by the change of the weight times what the layer reads at
``column``: one unit of the next Linear's inputs, whatever the size of the matrix.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from Neuron_Selection.errors import UsageError, shown
from Neuron_Selection.FileFormats.observations import Observations, count_of
from Neuron_Selection.PatchingTooling.numpy_network.changes import Scene, change_units
from Neuron_Selection.PatchingTooling.numpy_network.mlp import FastMlp, chunks, refuse_nonfinite_q_values, run_forward

_NUMBERS_AT_ONCE = 1 << 13  # deltas; temporary memory grows with them


@dataclass(frozen=True, kw_only=True, slots=True)
class WeightChange:
    """One entry of a Linear's weight, such as ``q_net.0.weight``, and the value it shall have."""

    parameter: str
    row: int
    column: int
    value: float


def compute_q_values_of_weight_changes(
    network: FastMlp, observations: Observations, changes: Sequence[WeightChange]
) -> np.ndarray:
    """Q-values under each of many changed weights, one at a time.

    The values are used as they are; a network in float32 would round them first.

    :return: (n_changes, n, n_actions), float64
    :raises UsageError: no such weight
    """
    q_values = np.empty((len(changes), count_of(observations), network.n_actions))
    by_parameter: dict[str, list[int]] = defaultdict(list)
    for number, change in enumerate(changes):
        by_parameter[change.parameter].append(number)
    groups = [_group(network, parameter, np.array(members), changes) for parameter, members in by_parameter.items()]
    for rows, part in chunks(network, observations):
        scene = Scene(network=network, outputs=run_forward(network, part), n_rows=rows.stop - rows.start)
        for group in groups:
            _run_group(scene, group, q_values[:, rows])
    refuse_nonfinite_q_values(q_values)
    return q_values


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class _Group:
    """Changes of one Linear's weight: their numbers, places, and by how much each weight changes."""

    linear: int
    members: np.ndarray
    rows: np.ndarray
    columns: np.ndarray
    moved: np.ndarray


def _group(network: FastMlp, parameter: str, members: np.ndarray, changes: Sequence[WeightChange]) -> _Group:
    layers = list(network.layers.layers.values())
    weights = {f"{layer.name}.weight": place // 2 for place, layer in enumerate(layers) if layer.kind == "Linear"}
    if parameter not in weights:
        raise UsageError(f"weight: found {shown(parameter)}, expected one of {', '.join(weights)}")
    linear = weights[parameter]
    height, width = layers[2 * linear + 1].width, layers[2 * linear].width
    chosen = [changes[number] for number in members]
    rows, columns = np.array([(change.row, change.column) for change in chosen]).T
    for number in np.flatnonzero((rows < 0) | (rows >= height) | (columns < 0) | (columns >= width)):
        raise UsageError(
            f"weight {parameter}: found row {rows[number]}, column {columns[number]}, "
            f"expected rows 0..{height - 1}, columns 0..{width - 1}"
        )
    moved = np.array([change.value for change in chosen]) - network.columns[linear][columns, rows]
    return _Group(linear=linear, members=members, rows=rows, columns=columns, moved=moved)


def _run_group(scene: Scene, group: _Group, q_values: np.ndarray) -> None:
    """Fill in the Q-values of the group's changes.

    :param q_values: (all changes, n, n_actions)
    """
    network, linear, n_rows = scene.network, group.linear, scene.n_rows
    inputs, summed = (np.ascontiguousarray(scene.outputs[place][:n_rows].T) for place in (2 * linear, 2 * linear + 1))
    is_last = linear == len(network.columns) - 1
    acted = None if is_last else np.ascontiguousarray(scene.outputs[2 * linear + 2][:n_rows].T)
    at_once = max(scene.changes_at_once, _NUMBERS_AT_ONCE // n_rows)
    for start in range(0, len(group.members), at_once):
        part = slice(start, start + at_once)
        rows, members = group.rows[part], group.members[part]
        moved = group.moved[part, None] * inputs[group.columns[part]]
        if acted is None:
            q_values[members] = scene.baseline
            q_values[members, :, rows] += moved
        else:
            delta = network.activations[linear].compute(summed[rows] + moved) - acted[rows]
            q_values[members] = change_units(scene, linear + 1, rows[:, None], delta[:, None])
