"""Pictures of saliency: the mean gradient of each weight matrix, its rows and columns in their order."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from Neuron_Selection.DrawingTooling.heatmaps import Matrix, draw_matrices
from Neuron_Selection.FileFormats.weights.average_gradients import MAGNITUDE, load_average_gradients

if TYPE_CHECKING:
    from Neuron_Selection.DrawingTooling.canvas import Drawing


def draw_average(path: Path) -> Drawing:
    """The magnitudes in ``average_gradients.json``."""
    return draw_gradients(load_average_gradients(path).means[MAGNITUDE])


def draw_gradients(means: Mapping[str, np.ndarray]) -> Drawing:
    """A matrix for each parameter with more than one row: neurons down, their incoming weights across.

    :param means: parameter to mean |gradient|
    """
    matrices = [
        Matrix(
            title=name,
            values=array.reshape(len(array), -1),
            x_label="incoming weight",
            y_label="neuron",
            value_label="mean |gradient|",
            limit=float(array.max()) or 1.0,
            from_zero=True,
        )
        for name, array in means.items()
        if array.ndim > 1
    ]
    return draw_matrices(matrices)
