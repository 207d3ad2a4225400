"""Pictures of behaviour: how much each change of an agent costs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from Neuron_Selection.DrawingTooling.points import Points, draw_intervals

if TYPE_CHECKING:
    from Neuron_Selection.DrawingTooling.canvas import Drawing

_DRAWN = 30


def draw_changes_of_return(document: Mapping[str, Any]) -> Drawing:
    """The change of the return, or of the exact value, in each experiment, the largest first; random sets are left out.

    :param document: of a rollouts file
    """
    experiments = [one for one in document["experiments"] if not one["control_of"] and one["difference"] is not None]
    ranked = sorted(experiments, key=lambda one: -abs(float(one["difference"])))[:_DRAWN]
    labels = [one["patch"] or one["experiment"] for one in ranked]
    ends = [
        [one["difference"] if one.get(f"difference_{end}") is None else one[f"difference_{end}"] for one in ranked]
        for end in ("low", "high")
    ]
    points = Points(
        label="change",
        x=np.array([one["difference"] for one in ranked], float),
        y=np.arange(len(ranked), dtype=float),
        low=np.array(ends[0], float),
        high=np.array(ends[1], float),
    )
    return draw_intervals(labels, [points], x_label="change of the return")
