"""Draw a pair as a PNG: both grids, the agent's views, and its Q-values."""

from __future__ import annotations

from typing import Any

import numpy as np

from Neuron_Selection.DrawingTooling.shapes import polygon
from Neuron_Selection.ObservationTooling.drawing.panels import CHANGED, draw_scores, frame, new_figure, png_bytes
from Neuron_Selection.ObservationTooling.egocentric_view import ACTIONS, CHANNELS, HEADING_NAMES, VIEW
from Neuron_Selection.ObservationTooling.grid_worlds.layouts import FREE, GOAL, HEADINGS, LAVA, WALL, Cell, Layout
from Neuron_Selection.ObservationTooling.lava_crossing.edits import apply_edit
from Neuron_Selection.ObservationTooling.lava_crossing.pairs import Pair
from Neuron_Selection.ObservationTooling.lava_crossing.rebuilding import layout_of

COLOURS = {FREE: "#edf0f3", WALL: "#8d949c", LAVA: "#f2762e", GOAL: "#4caf6d"}
AGENT, VIEWED = "#c4342d", "#2f6db5"


def draw_pair(pair: Pair) -> bytes:
    """Draw the clean side on the left and the corrupted side on the right.

    Above: the whole grid, with the edited cells in a dashed frame and the field of view in a blue one. Below: the view
    in the input (grey is wall or unseen; the agent looks up), and the Q-values.

    :return: the bytes of a PNG
    :raises MachineError: matplotlib is not installed
    """
    clean = layout_of(pair.place)
    corrupted = apply_edit(clean, pair.edit)
    figure = new_figure(9, 7.6)
    figure.suptitle(f"{pair.input_id}    {pair.edit.kind.replace('_', ' ')}", fontsize=11)
    values = np.concatenate([pair.clean_q_values, pair.corrupted_q_values])
    sides: Any = figure.subfigures(1, 2, wspace=0.06)
    for side, name, layout, observation, q_values in (
        (sides[0], "clean", clean, pair.clean, pair.clean_q_values),
        (sides[1], "corrupted", corrupted, pair.corrupted, pair.corrupted_q_values),
    ):
        axes = side.subplot_mosaic([["grid", "grid"], ["view", "q_values"]], height_ratios=[2.1, 1])
        chosen = int(q_values.argmax())
        side.suptitle(f"{name}: {ACTIONS[chosen]}", fontsize=13, fontweight="bold")
        _draw_cells(axes["grid"], layout, agent=pair.place.cell, heading=pair.place.heading)
        _frame_view(axes["grid"], layout, pair.place.cell, HEADINGS[pair.place.heading])
        for cell in pair.edit.cells:
            frame(axes["grid"], cell, (1, 1), edgecolor=CHANGED, linewidth=2.2, linestyle=(0, (2.2, 1.4)))
        _draw_cells(axes["view"], seen_layout(observation), agent=(VIEW // 2, VIEW - 1), heading=3)
        heading = HEADING_NAMES[int(observation[-len(HEADING_NAMES) :].argmax())]
        axes["view"].set_title(f"its view, heading {heading}", fontsize=9)
        draw_scores(
            axes["q_values"],
            q_values,
            ACTIONS,
            chosen=chosen,
            title="Q-values",
            limits=(float(values.min()), float(values.max())),
        )
    return png_bytes(figure)


def seen_layout(observation: np.ndarray) -> Layout:
    """The agent's view in an input; cells that it does not see are drawn as wall.

    :param observation: (151,)
    """
    view = observation[: VIEW * VIEW * len(CHANNELS)].reshape(VIEW, VIEW, len(CHANNELS))
    contents = (WALL, LAVA, GOAL)
    return Layout(tuple("".join(contents[int(cell.argmax())] if cell.any() else FREE for cell in row) for row in view))


def _draw_cells(axes: Any, layout: Layout, *, agent: Cell, heading: int) -> None:
    width, height = len(layout.rows[0]), len(layout.rows)
    for content, colour in COLOURS.items():
        for x, y in layout.cells(content):
            frame(axes, (x, y), (1, 1), facecolor=colour, edgecolor="white", linewidth=0.8, fill=True)
            if content == LAVA:
                across = np.linspace(x + 0.12, x + 0.88, 40)
                for level in (0.32, 0.52, 0.72):
                    axes.plot(across, y + level + 0.06 * np.sin(2 * np.pi * (across - x) * 2), color="#7d2f08", lw=0.8)
    (dx, dy), (centre_x, centre_y) = HEADINGS[heading], (agent[0] + 0.5, agent[1] + 0.5)
    corners = [
        (centre_x + 0.36 * (a * dx - b * dy), centre_y + 0.36 * (a * dy + b * dx))
        for a, b in ((1, 0), (-1, 0.9), (-1, -0.9))
    ]
    axes.add_patch(polygon(corners, facecolor=AGENT, edgecolor="none"))
    axes.set(xlim=(-0.05, width + 0.05), ylim=(height + 0.05, -0.05), aspect="equal")
    axes.axis("off")


def _frame_view(axes: Any, layout: Layout, cell: Cell, forward: Cell) -> None:
    """Frame the cells in view: ``VIEW`` wide, the agent in the middle of the rear edge, clipped to the grid."""
    half, sizes = VIEW // 2, (len(layout.rows[0]), len(layout.rows))
    corners = [(cell[0] + a * forward[0] - b * forward[1], cell[1] + a * forward[1] + b * forward[0])
               for a, b in ((0, -half), (VIEW - 1, half))]  # fmt: skip
    low = [max(min(corner[axis] for corner in corners), 0) for axis in (0, 1)]
    high = [min(max(corner[axis] for corner in corners) + 1, sizes[axis]) for axis in (0, 1)]
    frame(axes, (low[0], low[1]), (high[0] - low[0], high[1] - low[1]), edgecolor=VIEWED, linewidth=2)
