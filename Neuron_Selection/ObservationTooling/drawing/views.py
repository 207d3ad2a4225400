"""Pictures of one observation: an image, the tiles of a MiniGrid view, or the cells of an encoded view."""

from __future__ import annotations

from typing import Any

import numpy as np
from minigrid.core.constants import COLOR_TO_IDX, OBJECT_TO_IDX, STATE_TO_IDX
from minigrid.core.grid import Grid

from Neuron_Selection.DrawingTooling.shapes import key_patch, polygon
from Neuron_Selection.FileFormats.encoding import View
from Neuron_Selection.ObservationTooling.drawing.panels import frame, frame_changed

_TILE = 32  # pixels
_FRAMED = 60  # cells; more are tinted
_KNOWN = {"wall": "#8d949c", "lava": "#f2762e", "goal": "#4caf6d"}  # by the start of a channel's name
_OTHERS = ("#4878a8", "#b07aa1", "#edc948", "#76b7b2", "#9c755f", "#e15759")
_EMPTY, _AGENT = "#edf0f3", "#c4342d"
_LIMITS = (len(OBJECT_TO_IDX), len(COLOR_TO_IDX), max(len(STATE_TO_IDX), 4))  # an agent's state is its heading


def is_minigrid_view(image: np.ndarray) -> bool:
    """Whether an image holds MiniGrid's numbers of objects, colours and states, not pixels.

    :param image: (3, columns, rows), uint8
    """
    if image.dtype != np.uint8 or image.ndim != 3 or len(image) != len(_LIMITS):
        return False
    return all(int(channel.max()) < limit for channel, limit in zip(image, _LIMITS, strict=True))


def draw_minigrid_view(axes: Any, image: np.ndarray, other: np.ndarray) -> None:
    """Draw MiniGrid's own tiles, with the cells that differ from the other side framed.

    The agent of a partial view is in the middle of the last row and looks up; unseen cells are black.

    :param image: (3, columns, rows), like ``other``
    """
    cells = image.transpose(1, 2, 0)
    grid, seen = Grid.decode(cells)
    n_columns, n_rows = cells.shape[:2]
    agents = np.argwhere(cells[:, :, 0] == OBJECT_TO_IDX["agent"])
    if len(agents):
        (x, y), heading = agents[0].tolist(), int(cells[tuple(agents[0])][2])
    else:
        x, y, heading = n_columns // 2, n_rows - 1, 3
    pixels = grid.render(_TILE, (x, y), heading, highlight_mask=np.zeros((n_columns, n_rows), bool))
    shade = np.repeat(np.repeat(seen.T, _TILE, axis=0), _TILE, axis=1)
    axes.imshow(np.where(shade[:, :, None], pixels, 25), extent=(0, n_columns, n_rows, 0))
    _finish(axes, [(int(column), int(row)) for column, row in np.argwhere((image != other).any(axis=0))])


def draw_image(axes: Any, image: np.ndarray, other: np.ndarray, *, channel_axis: int) -> None:
    """Draw three channels as colours; of another number the last one in grey, the newest of stacked frames.

    :param image: one observation, of three dimensions, like ``other``
    """
    image, other = (np.moveaxis(one, channel_axis, -1) for one in (image, other))
    n_channels = image.shape[-1]
    low, high = min(image.min(), other.min()), max(image.max(), other.max(), 1)
    if n_channels == 3:
        axes.imshow((image - low) / max(high - low, 1e-9), extent=(0, image.shape[1], image.shape[0], 0))
    else:
        extent = (0, image.shape[1], image.shape[0], 0)
        axes.imshow(image[..., -1], cmap="gray", vmin=low, vmax=high, extent=extent)
        if n_channels > 1:
            axes.set_xlabel(f"the last of {n_channels} channels", fontsize=8)
    _finish(axes, [(int(column), int(row)) for row, column in np.argwhere((image != other).any(axis=-1))])


def draw_encoded_view(axes: Any, cells: np.ndarray, other: np.ndarray, view: View) -> None:
    """Draw the cells of a view that ``encoding.json`` describes, each in the colours of its channels that are above 0.

    :param cells: (rows, columns, channels), like ``other``
    """
    colours = channel_colours(view.channels)
    for row in range(view.rows):
        for column in range(view.columns):
            frame(axes, (column, row), (1, 1), facecolor=_EMPTY, edgecolor="white", linewidth=0.8, fill=True)
            present = np.flatnonzero(cells[row, column] > 0)
            for place, channel in enumerate(present):
                width = 1 / len(present)
                corner = (column + place * width, row)
                frame(axes, corner, (width, 1), facecolor=colours[channel], edgecolor="white", linewidth=0.8, fill=True)
    if view.agent is not None:
        row, column = view.agent
        axes.add_patch(
            polygon(
                [(column + 0.5, row + 0.15), (column + 0.15, row + 0.85), (column + 0.85, row + 0.85)], facecolor=_AGENT
            )
        )
    axes.set(xlim=(0, view.columns), ylim=(view.rows, 0), aspect="equal")
    patches = [
        key_patch(color=colour, label=name.replace("_", " "))
        for name, colour in zip(view.channels, colours, strict=True)
    ]
    axes.legend(
        handles=patches,
        fontsize=8,
        ncols=min(4, len(patches)),
        loc="upper center",
        bbox_to_anchor=(0.5, 0),
        frameon=False,
    )
    _finish(axes, [(int(column), int(row)) for row, column in np.argwhere((cells != other).any(axis=-1))])


def channel_colours(channels: tuple[str, ...]) -> list[str]:
    """One colour per channel: the usual ones of walls, lava and goals, else the next of a list."""
    colours, used = [], 0
    for name in channels:
        usual = next((colour for start, colour in _KNOWN.items() if name.startswith(start)), None)
        colours.append(usual or _OTHERS[used % len(_OTHERS)])
        used += usual is None
    return colours


def _finish(axes: Any, changed: list[tuple[int, int]]) -> None:
    for corner in changed:
        if len(changed) <= _FRAMED:
            frame_changed(axes, corner)
        else:
            frame(axes, corner, (1, 1), facecolor=_AGENT, alpha=0.35, fill=True, linewidth=0)
    axes.set(xticks=[], yticks=[])
    axes.spines[:].set_visible(False)
