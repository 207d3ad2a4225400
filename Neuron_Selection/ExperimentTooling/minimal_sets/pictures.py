"""Pictures of minimal sets: how many first neurons of a ranking decide, and how large the sets are."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from Neuron_Selection.DrawingTooling.curves import Curve, Panel, draw_curves

if TYPE_CHECKING:
    from Neuron_Selection.DrawingTooling.canvas import Drawing

_NAMES = {
    ("measured_effect", "pair"): "measured effect, for each pair",
    ("measured_effect", "all"): "measured effect, one order",
    ("gradient_x_difference", "pair"): "attribution, for each pair",
    ("activation_difference", "pair"): "activation difference",
    ("random", "pair"): "random orders",
}
GOALS = {"denoising": "pairs with the clean action", "noising": "pairs with the corrupted action"}


def curve_panels(rows: Sequence[Mapping[str, Any]]) -> list[Panel]:
    """The share of pairs that reach the goal against the number of first neurons, by direction and layer.

    :param rows: of ``minimal_sets_curves.csv``
    """
    return [
        _panel(direction, layer, [row for row in rows if (row["direction"], row["layer"]) == (direction, layer)])
        for direction, layer in dict.fromkeys((row["direction"], row["layer"]) for row in rows)
    ]


def draw_ranking_curves(rows: Sequence[Mapping[str, Any]]) -> Drawing:
    """All panels in one picture."""
    return draw_curves(curve_panels(rows))


def size_counts(site: Mapping[str, Any], *, most: int) -> list[int]:
    """How many pairs of a layer have a minimal set of 1, 2, ... neurons; the last count is of ``most`` and more.

    :param site: the entry of a layer in ``minimal_sets.json``
    """
    sizes = Counter(min(pair["size"], most) for pair in site["pairs"].values() if pair["size"])
    return [sizes[size] for size in range(1, most + 1)]


def _panel(direction: str, layer: str, rows: Sequence[Mapping[str, Any]]) -> Panel:
    curves = []
    for (ranking, scope), label in _NAMES.items():
        own = [row for row in rows if (row["ranking"], row["scope"]) == (ranking, scope)]
        if own:
            curves.append(
                Curve(
                    label=label,
                    x=np.array([row["size"] for row in own]),
                    y=np.array([row["share_reached"] for row in own]),
                    is_control=ranking == "random",
                    is_dashed=scope == "all",
                )
            )
    return Panel(
        title=f"{layer}, {direction}",
        curves=curves,
        x_label="first neurons of the ranking",
        y_label=GOALS[direction],
        scale="symlog",
        as_percent=True,
    )


def effect_panel(direction: str, layer: str, rows: Sequence[Mapping[str, Any]]) -> Panel:
    """The effect of the first neurons, with the band of the random orders."""
    curves = []
    for ranking in ("measured_effect", "random"):
        own = [row for row in rows if (row["direction"], row["layer"], row["ranking"], row["scope"])
               == (direction, layer, ranking, "pair")]  # fmt: skip
        if not own:
            continue
        has_band = all(row["low"] is not None and row["high"] is not None for row in own)
        curves.append(
            Curve(
                label=_NAMES[ranking, "pair"],
                x=np.array([row["size"] for row in own]),
                y=np.array([row["effect"] for row in own]),
                low=np.array([row["low"] for row in own]) if has_band else None,
                high=np.array([row["high"] for row in own]) if has_band else None,
                is_control=ranking == "random",
            )
        )
    return Panel(
        title=f"{layer}, {direction}", curves=curves, x_label="first neurons of the ranking", y_label="margin effect",
        scale="symlog",
    )  # fmt: skip
