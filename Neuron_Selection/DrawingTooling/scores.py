"""The scores of actions in several runs, as points on lines: a score need not include zero."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from Neuron_Selection.DrawingTooling.canvas import WIDTH, in_style, one_axes, short
from Neuron_Selection.DrawingTooling.style import PALETTE, SERIES

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@in_style
def draw_scores(actions: Sequence[str], runs: Sequence[tuple[str, np.ndarray]], *, x_label: str) -> Figure:
    """A row for each action, with the score in each run; the greedy action of a run is filled.

    :param runs: label and scores, (n_actions,), minus infinity for actions that are not allowed
    """
    figure, axes = one_axes(WIDTH, 0.95 + 0.34 * len(actions))
    rows = np.arange(len(actions))
    lowest = min(float(scores[np.isfinite(scores)].min()) for _, scores in runs)
    highest = max(float(scores.max()) for _, scores in runs)
    room = (highest - lowest) or 1.0
    for row in range(len(actions)):
        axes.axhline(row, color=PALETTE["rule"], linewidth=0.8, zorder=0)
    for place, (label, scores) in enumerate(runs):
        best, colour = int(scores.argmax()), SERIES[place % len(SERIES)]
        y = rows + 0.22 * (place - (len(runs) - 1) / 2)
        axes.plot(scores, y, "o", color=colour, markerfacecolor=PALETTE["paper"], markersize=5, mew=1.4)
        axes.plot(
            scores[best], y[best], "o", color=colour, markersize=6.5, label=short(f"{label}: {actions[best]}", most=24)
        )
    axes.set_yticks(rows, [short(action, most=18) for action in actions])
    axes.tick_params(axis="y", labelcolor=PALETTE["ink"])
    axes.set(xlabel=x_label, ylim=(len(actions) - 0.45, -0.55), xlim=(lowest - 0.06 * room, highest + 0.06 * room))
    axes.spines["left"].set_visible(False)
    axes.locator_params(axis="x", nbins=5)
    figure.legend(loc="outside upper left", ncols=3, handletextpad=0.2, columnspacing=1.2)
    return figure
