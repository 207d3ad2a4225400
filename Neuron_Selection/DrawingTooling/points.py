"""Values as points: with intervals, against one another, and as bars of counts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import cycle
from typing import TYPE_CHECKING

import numpy as np

from Neuron_Selection.DrawingTooling.canvas import WIDTH, in_style, one_axes, short
from Neuron_Selection.DrawingTooling.curves import percent
from Neuron_Selection.DrawingTooling.style import PALETTE, SERIES

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Points:
    """One kind of points; (k,) each. ``low`` and ``high`` are the ends of intervals along x, None for none."""

    label: str
    x: np.ndarray
    y: np.ndarray
    low: np.ndarray | None = None
    high: np.ndarray | None = None
    is_control: bool = False
    is_hollow: bool = False


@in_style
def draw_intervals(
    labels: Sequence[str], series: Sequence[Points], *, x_label: str, title: str = "", height: float | None = None
) -> Figure:
    """A row for each label, with a point and its interval for each of the series; ``y`` counts rows from the top."""
    figure, axes = one_axes(WIDTH, height or 0.9 + 0.27 * len(labels))
    axes.axvline(0, color=PALETTE["rule"], linewidth=1)
    apart = 0.26 if len(series) > 1 else 0.0
    for place, points in enumerate(series):
        y = points.y + apart * (place - (len(series) - 1) / 2)
        colour = PALETTE["faint"] if points.is_control else SERIES[place % len(SERIES)]
        if points.low is not None and points.high is not None:
            axes.hlines(y, points.low, points.high, color=colour, linewidth=1.6, alpha=0.55)
        face = PALETTE["paper"] if points.is_hollow else colour
        axes.plot(points.x, y, "o", color=colour, markerfacecolor=face, markersize=4.8, label=short(points.label))
    axes.set_yticks(range(len(labels)), [short(label) for label in labels])
    axes.set_ylim(len(labels) - 0.4, -0.6)
    axes.set(xlabel=x_label, title=title)
    axes.tick_params(axis="y", labelcolor=PALETTE["ink"])
    axes.spines["left"].set_visible(False)
    axes.grid(visible=True, axis="x")
    _legend(figure, series)
    return figure


@in_style
def draw_scatter(
    series: Sequence[Points],
    *,
    x_label: str,
    y_label: str,
    title: str = "",
    labels: Sequence[tuple[float, float, str]] = (),
    diagonal: bool = False,
    y_percent: bool = False,
    x_scale: str = "linear",
    height: float = 3.0,
) -> Figure:
    """Points against one another.

    :param labels: x, y and text of the points that are named
    :param diagonal: draw the line on which x equals y
    """
    figure, axes = one_axes(WIDTH, height)
    axes.set_xscale(x_scale)
    if diagonal:
        together = np.concatenate([np.concatenate([points.x, points.y]) for points in series])
        ends = (float(together.min()), float(together.max()))
        axes.plot(ends, ends, color=PALETTE["rule"], linewidth=1.2, zorder=0)
    colours = cycle(SERIES)
    for points in series:
        colour = PALETTE["faint"] if points.is_control else next(colours)
        face = "none" if points.is_hollow else colour
        axes.plot(points.x, points.y, "o", color=colour, markerfacecolor=face, markersize=4, alpha=0.75, mew=0.9,
                  label=short(points.label))  # fmt: skip
    for x, y, text in labels:
        axes.annotate(
            short(text, most=20), (x, y), xytext=(5, 3), textcoords="offset points", fontsize=7.5, color=PALETTE["ink"]
        )
    axes.set(xlabel=x_label, ylabel=y_label, title=title)
    axes.grid(visible=True)
    axes.margins(0.06)
    if y_percent:
        axes.yaxis.set_major_formatter(percent())
    _legend(figure, series)
    return figure


@in_style
def draw_counts(
    series: Sequence[tuple[str, Sequence[int]]], *, labels: Sequence[str], x_label: str, y_label: str, title: str = "",
    height: float = 2.6,
) -> Figure:  # fmt: skip
    """Bars side by side: for each label, the count of each of the series."""
    figure, axes = one_axes(WIDTH, height)
    width = 0.8 / len(series)
    for place, (name, counts) in enumerate(series):
        at = np.arange(len(labels)) + width * (place - (len(series) - 1) / 2)
        axes.bar(at, counts, width * 0.9, color=SERIES[place % len(SERIES)], label=short(name))
    step = max(1, -(-len(labels) // 16))
    axes.set_xticks(range(0, len(labels), step), [short(label, most=12) for label in labels[::step]])
    axes.set(xlabel=x_label, ylabel=y_label, title=title)
    axes.spines["left"].set_visible(False)
    axes.grid(visible=True, axis="y")
    if len(series) > 1:
        axes.legend(loc="upper right", handlelength=1.0)
    return figure


def _legend(figure: Figure, series: Sequence[Points]) -> None:
    if len(series) > 1:
        figure.legend(loc="outside upper left", ncols=3, handletextpad=0.3, columnspacing=1.4, borderpad=0.4)
