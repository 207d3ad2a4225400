"""Pictures of edges: the faithfulness of circuits of more and more edges."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from Neuron_Selection.DrawingTooling.curves import Curve, Panel, draw_curves

if TYPE_CHECKING:
    from Neuron_Selection.DrawingTooling.canvas import Drawing

_NAMES = {"importance": "strongest edges first", "random": "random orders"}


def edge_curve_panel(rows: Sequence[Mapping[str, Any]]) -> Panel:
    """Faithfulness against number of edges, with the band of the random orders.

    :param rows: of ``edges_curve.csv``
    """
    curves = []
    for ranking in dict.fromkeys(row["ranking"] for row in rows):
        own = [row for row in rows if row["ranking"] == ranking and row["faithfulness"] is not None]
        has_band = all(row["low"] is not None and row["high"] is not None for row in own)
        curves.append(
            Curve(
                label=_NAMES.get(ranking, ranking),
                x=np.array([row["edges"] for row in own]),
                y=np.array([row["faithfulness"] for row in own]),
                low=np.array([row["low"] for row in own]) if has_band else None,
                high=np.array([row["high"] for row in own]) if has_band else None,
                is_control=ranking == "random",
            )
        )
    return Panel(title="", curves=curves, x_label="edges in the circuit", y_label="faithfulness", scale="symlog")


def draw_edge_curve(rows: Sequence[Mapping[str, Any]]) -> Drawing:
    """The panel as a picture."""
    return draw_curves([edge_curve_panel(rows)])
