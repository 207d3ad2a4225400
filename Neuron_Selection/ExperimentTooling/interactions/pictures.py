"""Pictures of interactions: a matrix of every two neurons in each direction."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from Neuron_Selection.DrawingTooling.heatmaps import Matrix, draw_matrices

if TYPE_CHECKING:
    from Neuron_Selection.DrawingTooling.canvas import Drawing


def interaction_matrices(rows: Sequence[Mapping[str, Any]]) -> list[Matrix]:
    """A symmetric matrix for each direction, neurons in the order of the table; NaN where two were not run.

    :param rows: of ``interactions.csv``
    """
    return [_matrix(direction, [row for row in rows if row["direction"] == direction])
            for direction in dict.fromkeys(row["direction"] for row in rows)]  # fmt: skip


def draw_interactions(rows: Sequence[Mapping[str, Any]]) -> Drawing:
    """All matrices in one picture."""
    return draw_matrices(interaction_matrices(rows))


def _matrix(direction: str, rows: Sequence[Mapping[str, Any]]) -> Matrix:
    ends = [((row["layer"], int(row["neuron"])), (row["other_layer"], int(row["other_neuron"]))) for row in rows]
    nodes = list(dict.fromkeys(node for pair in ends for node in pair))
    place = {node: number for number, node in enumerate(nodes)}
    values = np.full((len(nodes), len(nodes)), np.nan)
    for (one, other), row in zip(ends, rows, strict=True):
        value = np.nan if row["interaction"] is None else row["interaction"]
        values[place[one], place[other]] = values[place[other], place[one]] = value
    labels = [f"{layer}:{neuron}" for layer, neuron in nodes]
    has_one_layer = len({layer for layer, _ in nodes}) == 1
    short_labels = [str(neuron) for _, neuron in nodes] if has_one_layer else labels
    title = f"{nodes[0][0]}, {direction}" if has_one_layer else direction
    return Matrix(
        title=title,
        values=values,
        x_label="neuron",
        y_label="neuron",
        value_label="interaction",
        limit=float(np.nanmax(np.abs(values), initial=0.0)) or 1.0,
        columns=short_labels,
        rows=short_labels,
    )
