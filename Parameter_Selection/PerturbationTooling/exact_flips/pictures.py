"""Pictures of smallest flips: the share of decisions that a change of one weight up to some size can flip."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from Neuron_Selection.DrawingTooling.curves import Curve, Panel, draw_curves

if TYPE_CHECKING:
    from Neuron_Selection.DrawingTooling.canvas import Drawing

_LINES = 4  # layers that get a line of their own


def flip_panel(document: Mapping[str, Any]) -> Panel:
    """For each weight matrix, the share of decisions that its best chosen weight flips within a size of change.

    :param document: of ``smallest_flips.json``
    """
    by_layer: dict[str, list[Sequence[float | None]]] = {}
    for record in document["results"]:
        by_layer.setdefault(record["layer_name"], []).append(record["changes"])
    curves = []
    for layer, changes in list(by_layer.items())[:_LINES]:
        x, y = _cumulative(changes)
        curves.append(Curve(label=layer, x=x, y=y, is_stepped=True))
    return Panel(
        title="",
        curves=curves,
        x_label="size of the change",
        y_label="decisions that it flips",
        as_percent=True,
    )


def draw_flips(document: Mapping[str, Any]) -> Drawing:
    """The panel as a picture."""
    return draw_curves([flip_panel(document)])


def _cumulative(changes: Sequence[Sequence[float | None]]) -> tuple[np.ndarray, np.ndarray]:
    """Sizes of the smallest change of each input over the weights, and the share of inputs up to each."""
    sizes = np.array([[np.inf if one is None else abs(one) for one in of_weight] for of_weight in changes])
    least = np.sort(sizes.min(axis=0))
    found = least[np.isfinite(least)]
    x = np.concatenate([[0.0], found])
    return x, np.arange(len(x)) / len(least)
