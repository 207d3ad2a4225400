"""Curves with bands, on axes with few marks and the names of the lines next to them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from Neuron_Selection.DrawingTooling.canvas import WIDTH, in_style, new_figure, short
from Neuron_Selection.DrawingTooling.style import PALETTE, SERIES

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.ticker import Formatter, Locator

_LONG = 32  # characters of a label of which two do not fit beside each other


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Curve:
    """A line, and the band around it.

    :param x: (k,); y: (k,); low, high: (k,), the band, None for none
    :param is_control: drawn in grey, as a comparison
    :param is_stepped: constant between its points
    """

    label: str
    x: np.ndarray
    y: np.ndarray
    low: np.ndarray | None = None
    high: np.ndarray | None = None
    is_control: bool = False
    is_dashed: bool = False
    is_stepped: bool = False
    has_points: bool = False


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Panel:
    """The curves of one coordinate system; ``scale`` is that of the x axis: linear, symlog or log."""

    title: str
    curves: Sequence[Curve]
    x_label: str
    y_label: str
    scale: str = "linear"
    as_percent: bool = False


@in_style
def draw_curves(panels: Sequence[Panel], *, across: int = 2) -> Figure:
    """One picture of several panels, ``across`` in a row."""
    across = min(across, len(panels))
    down = -(-len(panels) // across)
    figure = new_figure(WIDTH * across, 2.8 * down)
    for number, panel in enumerate(panels, start=1):
        panel_on(figure.add_subplot(down, across, number), panel)
    return figure


def panel_on(axes: Axes, panel: Panel) -> None:
    """Draw curves into a coordinate system; the legend is below it."""
    axes.set(title=short(panel.title, most=48), xlabel=panel.x_label, ylabel=panel.y_label)
    if panel.scale == "symlog":
        axes.set_xscale("symlog", linthresh=1.0, linscale=0.4)
        axes.xaxis.set_major_formatter("{x:g}")
        axes.xaxis.set_minor_locator(_no_ticks())
    else:
        axes.set_xscale(panel.scale)
    axes.grid(visible=True, axis="y")
    axes.spines["left"].set_visible(False)
    colours = iter(SERIES * (1 + len(panel.curves) // len(SERIES)))
    for curve in panel.curves:
        colour = PALETTE["faint"] if curve.is_control else next(colours)
        if curve.low is not None and curve.high is not None:
            axes.fill_between(curve.x, curve.low, curve.high, color=colour, alpha=0.22, linewidth=0)
        axes.plot(
            curve.x,
            curve.y,
            color=colour,
            label=short(curve.label, most=40),
            linestyle=(0, (4, 2)) if curve.is_dashed else "-",
            drawstyle="steps-post" if curve.is_stepped else "default",
            marker="o" if curve.has_points else None,
            markersize=3.5,
        )
    if panel.as_percent:
        axes.yaxis.set_major_formatter(percent())
    if len(panel.curves) > 1:
        across = 2 if max(len(curve.label) for curve in panel.curves) < _LONG else 1
        axes.legend(loc="upper left", bbox_to_anchor=(-0.02, -0.2), ncols=across, handlelength=1.6, columnspacing=1.4)


def percent() -> Formatter:
    """A formatter of shares as percentages."""
    from matplotlib.ticker import FuncFormatter

    return FuncFormatter(lambda share, _: f"{100 * share:g} %")


def _no_ticks() -> Locator:
    from matplotlib.ticker import NullLocator

    return NullLocator()
