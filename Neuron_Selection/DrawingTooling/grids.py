"""Pictures side by side, weights on grids, and signed bars: what inputs hold, and what a neuron reads of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from Neuron_Selection.DrawingTooling.canvas import WIDTH, diverging, in_style, new_figure, short
from Neuron_Selection.DrawingTooling.style import PALETTE

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


@in_style
def draw_sides(
    draw: Callable[[Axes, int], None],
    aspect: float = 1.0,
    *,
    titles: Sequence[str] = ("clean", "corrupted"),
    height: float | None = None,
) -> Figure:
    """Pictures side by side.

    :param draw: draws the picture with this number into axes
    :param aspect: height over width of one picture; ``height`` of the whole in inches overrides it
    """
    figure = new_figure(WIDTH, 0.6 + WIDTH / len(titles) * aspect if height is None else height)
    entries: dict[str, Artist | None] = {}
    for place, title in enumerate(titles):
        axes = figure.add_subplot(1, len(titles), place + 1)
        draw(axes, place)
        if title:
            axes.set_title(title)
        legend = axes.get_legend()
        if legend is not None:
            legend.remove()  # the sides share one, below
            entries = dict(zip([text.get_text() for text in legend.get_texts()], legend.legend_handles, strict=True))
    if entries:
        handles, labels = [one for one in entries.values() if one is not None], list(entries)
        figure.legend(handles, labels, loc="outside lower left", ncols=3, handlelength=0.9, handleheight=0.9)
    return figure


@in_style
def draw_weights(weights: np.ndarray, channels: Sequence[str], *, agent: tuple[int, int] | None = None) -> Figure:
    """The weights of one neuron, a grid for each channel, around white.

    :param weights: (rows, columns, channels)
    """
    rows, columns, n_channels = weights.shape
    limit = float(np.abs(weights).max()) or 1.0
    across = min(n_channels, 4)
    down = -(-n_channels // across)
    figure = new_figure(WIDTH, 0.5 + down * (0.25 + 4.1 / across * rows / columns))
    shown = []
    for place in range(n_channels):
        axes = figure.add_subplot(down, across, place + 1)
        image = axes.imshow(weights[..., place], cmap=diverging(), vmin=-limit, vmax=limit, interpolation="none")
        axes.set_title(short(channels[place].replace("_", " "), most=16), fontweight="normal", fontsize=8, pad=4)
        axes.set(xticks=[], yticks=[])
        for side in axes.spines.values():
            side.set_visible(True)
        if agent is not None:
            axes.plot(agent[1], agent[0], marker="^", color=PALETTE["muted"], markersize=4)
        shown.append(axes)
    bar = figure.colorbar(image, ax=shown, aspect=18, fraction=0.05, pad=0.02)
    bar.outline.set_edgecolor(PALETTE["rule"])
    return figure


@in_style
def draw_signed_bars(names: Sequence[str], values: np.ndarray, *, x_label: str, title: str = "") -> Figure:
    """Signed values of named things, as bars from 0."""
    figure = new_figure(WIDTH, 0.75 + 0.24 * len(names))
    axes = figure.add_subplot()
    colours = [PALETTE["clean"] if value >= 0 else PALETTE["corrupted"] for value in values]
    axes.barh(range(len(names)), values, 0.62, color=colours)
    axes.axvline(0, color=PALETTE["muted"], linewidth=0.8)
    axes.set_yticks(range(len(names)), [short(name) for name in names])
    axes.set(ylim=(len(names) - 0.4, -0.6), xlabel=x_label, title=title)
    axes.tick_params(axis="y", labelcolor=PALETTE["ink"])
    axes.spines["left"].set_visible(False)
    axes.grid(visible=True, axis="x")
    return figure
