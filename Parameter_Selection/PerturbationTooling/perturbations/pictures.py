"""Pictures of perturbations: what chosen weights change, compared with random ones and with those of least gradient."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from Neuron_Selection.DrawingTooling.curves import Curve, Panel, draw_curves

if TYPE_CHECKING:
    from Neuron_Selection.DrawingTooling.canvas import Drawing

_MEASURES = {"flip_share": "changed decisions", "margin_change_size": "change of the margin"}
_LINES = {"candidates": "chosen weights", "least_gradient": "weights of least gradient", "random": "random weights"}


def control_panels(summary: Mapping[str, Any], mode: str) -> list[Panel]:
    """A panel for each measure; empty if the run drew no random sets.

    :param summary: of a perturbation results file
    :param mode: what was done with the values: scale, add or set
    """
    rows = summary.get("controls", {}).get("comparisons") or []
    return [_panel(measure, [row for row in rows if row["measure"] == measure], mode) for measure in _MEASURES if rows]


def together_panel(summary: Mapping[str, Any], mode: str) -> Panel:
    """The share of decisions that all chosen weights change together."""
    values = sorted((float(value), share) for value, share in summary["together"].items())
    curve = Curve(
        label="all chosen weights together",
        x=np.array([value for value, _ in values]),
        y=np.array([share for _, share in values]),
        has_points=True,
    )
    return Panel(
        title="", curves=[curve], x_label=_x_label(mode), y_label="changed decisions, all together", as_percent=True
    )


def draw_perturbations(document: Mapping[str, Any]) -> Drawing:
    """All panels of a perturbation results file in one picture."""
    mode = document["metadata"]["run"]["mode"]
    return draw_curves([*control_panels(document["summary"], mode), together_panel(document["summary"], mode)])


def _panel(measure: str, rows: Sequence[Mapping[str, Any]], mode: str) -> Panel:
    rows = sorted(rows, key=lambda row: row["value"])
    curves = []
    for key, label in _LINES.items():
        known = [row for row in rows if row[key] is not None]
        if known:
            curves.append(
                Curve(
                    label=label,
                    x=np.array([row["value"] for row in known]),
                    y=np.array([row[key] for row in known]),
                    is_control=key == "random",
                    has_points=True,
                )
            )
    return Panel(
        title="",
        curves=curves,
        x_label=_x_label(mode),
        y_label=_MEASURES[measure],
        as_percent=measure == "flip_share",
    )


def _x_label(mode: str) -> str:
    return {"scale": "factor of the weight", "add": "added to the weight", "set": "the weight is set to"}[mode]
