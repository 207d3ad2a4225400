"""Pictures of attribution: each neuron's estimate against its measured effect."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from Neuron_Selection.DrawingTooling.points import Points, draw_scatter
from Neuron_Selection.FileFormats.results.attribution_file import ESTIMATES

if TYPE_CHECKING:
    from Neuron_Selection.DrawingTooling.canvas import Drawing


def draw_estimates(rows: Sequence[Mapping[str, Any]]) -> Drawing:
    """Every neuron of every layer and direction; on the line the estimate is the effect.

    :param rows: of ``attribution.csv``
    """
    series = []
    for estimate in ESTIMATES:
        known = [row for row in rows if None not in (row["effect"], row[estimate])]
        series.append(
            Points(
                label=estimate.replace("_", " "),
                x=np.array([row["effect"] for row in known], float),
                y=np.array([row[estimate] for row in known], float),
                is_hollow=True,
            )
        )
    return draw_scatter(series, x_label="measured effect", y_label="estimate by gradients", diagonal=True, height=3.4)
