"""Matrices as pictures: effects around 0, which is white, with rows in groups."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from Neuron_Selection.DrawingTooling.canvas import WIDTH, diverging, in_style, new_figure, sequential, short
from Neuron_Selection.DrawingTooling.style import PALETTE

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.image import AxesImage

_NAMED = 64  # rows or columns whose labels are shown
_LABELLED = 24  # labels at most
_TITLE = 48


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Matrix:
    """A matrix to draw.

    :param values: (rows, columns); NaN is grey
    :param columns: a label for each column, empty for none
    :param groups: of the rows: label to number of rows, in their order; empty for no groups
    :param rows: a label for each row, empty for none
    :param limit: the value at which the colour is darkest; greater values have the same colour
    """

    title: str
    values: np.ndarray
    x_label: str
    y_label: str
    value_label: str
    limit: float
    columns: Sequence[str] = ()
    rows: Sequence[str] = ()
    groups: Sequence[tuple[str, int]] = ()
    from_zero: bool = False


@in_style
def draw_matrices(matrices: Sequence[Matrix], *, across: int = 2) -> Figure:
    """One picture of several matrices, ``across`` in a row."""
    across = min(across, len(matrices))
    down = -(-len(matrices) // across)
    figure = new_figure(WIDTH * across, 3.3 * down)
    for number, matrix in enumerate(matrices, start=1):
        matrix_on(figure.add_subplot(down, across, number), matrix)
    return figure


def matrix_on(axes: Axes, matrix: Matrix) -> AxesImage:
    """Draw a matrix into a coordinate system, with its colour bar."""
    low, colours = (0.0, sequential()) if matrix.from_zero else (-matrix.limit, diverging())
    image = axes.imshow(matrix.values, aspect="auto", interpolation="none", cmap=colours, vmin=low, vmax=matrix.limit)
    axes.set(title=short(matrix.title, most=_TITLE), xlabel=matrix.x_label, ylabel=matrix.y_label)
    for side in axes.spines.values():
        side.set_visible(True)
    _label_columns(axes, matrix)
    _label_rows(axes, matrix)
    above = bool(np.nanmax(matrix.values, initial=-np.inf) > matrix.limit)
    below = not matrix.from_zero and bool(np.nanmin(matrix.values, initial=np.inf) < -matrix.limit)
    extend = {(True, True): "both", (True, False): "max", (False, True): "min"}.get((above, below), "neither")
    bar = axes.figure.colorbar(image, ax=axes, extend=extend, aspect=28, pad=0.02, fraction=0.05)
    bar.set_label(matrix.value_label)
    bar.outline.set_edgecolor(PALETTE["rule"])
    return image


def _label_columns(axes: Axes, matrix: Matrix) -> None:
    if 0 < len(matrix.columns) <= _NAMED:
        step = -(-len(matrix.columns) // _LABELLED)
        upright = len(matrix.columns) > 10
        labels = [short(label) for label in matrix.columns[::step]]
        axes.set_xticks(range(0, len(matrix.columns), step), labels, rotation=90 if upright else 0)


def _label_rows(axes: Axes, matrix: Matrix) -> None:
    if matrix.groups:
        ends = np.cumsum([count for _, count in matrix.groups])
        for end in ends[:-1]:
            axes.axhline(end - 0.5, color=PALETTE["muted"], linewidth=0.8)
        middles = [end - count / 2 - 0.5 for end, (_, count) in zip(ends, matrix.groups, strict=True)]
        axes.set_yticks(middles, [short(label, most=22) for label, _ in matrix.groups])
    elif 0 < len(matrix.rows) <= _NAMED:
        step = -(-len(matrix.rows) // _LABELLED)
        labels = [short(label, most=18) for label in matrix.rows[::step]]
        axes.set_yticks(range(0, len(matrix.rows), step), labels)
    else:
        axes.set_yticks([])
