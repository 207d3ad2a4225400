"""Pictures of observations: a grid of cells, an image, or named entries; and weights drawn back onto them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from Neuron_Selection.DrawingTooling.canvas import short
from Neuron_Selection.DrawingTooling.grids import draw_sides, draw_signed_bars, draw_weights
from Neuron_Selection.FileFormats.agent_zip.spaces import BoxSpace, Space
from Neuron_Selection.FileFormats.encoding import Encoding, View
from Neuron_Selection.ObservationTooling.drawing.changes import changes_height, draw_changes
from Neuron_Selection.ObservationTooling.drawing.views import (
    draw_encoded_view,
    draw_image,
    draw_minigrid_view,
    is_minigrid_view,
)
from Neuron_Selection.ObservationTooling.pair_making.entries import EntryTable, tabulate
from ReportTooling.page.numbers import printable
from ReportTooling.results.pairs import Pairs

if TYPE_CHECKING:
    from Neuron_Selection.DrawingTooling.canvas import Drawing


def tables_of(pairs: Pairs, space: Space, encoding: Encoding | None) -> tuple[EntryTable, EntryTable]:
    """The clean and the corrupted inputs as tables of named entries."""
    clean, corrupted = (
        tabulate(inputs.observations, space, encoding=encoding) for inputs in (pairs.clean, pairs.corrupted)
    )
    return clean, corrupted


def draw_pair(clean: EntryTable, corrupted: EntryTable, row: int, encoding: Encoding | None) -> Drawing:
    """Both inputs of a pair, with what differs framed; without a grid or an image, the entries that differ."""
    before, after = (table.values[row].astype(np.float64) for table in (clean, corrupted))
    view = None if encoding is None or encoding.view is None else _with_short_names(encoding.view)
    if view is not None:
        shape = (view.rows, view.columns, len(view.channels))
        grids = [values[: view.n_entries].reshape(shape) for values in (before, after)]
        aspect = view.rows / view.columns
        return draw_sides(lambda axes, place: draw_encoded_view(axes, grids[place], grids[1 - place], view), aspect)
    image = next((part for part in clean.parts if part.channel_axis is not None), None)
    if image is not None and image.channel_axis is not None:
        sides = [
            table.values[row, image.columns].reshape(image.shape).astype(image.dtype) for table in (clean, corrupted)
        ]
        axis = image.channel_axis
        height, width = (length for place, length in enumerate(image.shape) if place != axis)
        if all(map(is_minigrid_view, sides)):
            return draw_sides(
                lambda axes, place: draw_minigrid_view(axes, sides[place], sides[1 - place]), width / height
            )
        return draw_sides(
            lambda axes, place: draw_image(axes, sides[place], sides[1 - place], channel_axis=axis), height / width
        )
    names = [short(printable(name)) for name in clean.names]
    units = np.concatenate([clean.values, corrupted.values]).std(axis=0, dtype=np.float64)
    return draw_sides(
        lambda axes, _: draw_changes(axes, before, after, names, units),
        titles=[""],
        height=changes_height(before, after),
    )


def draw_reading(
    weights: np.ndarray, names: Sequence[str], encoding: Encoding | None, space: Space, *, label: str
) -> Drawing:
    """One number for each entry of an observation: on its grid or image, else the greatest as bars."""
    view = None if encoding is None else encoding.view
    if view is not None and len(weights) >= view.n_entries:
        grid = weights[: view.n_entries].reshape(view.rows, view.columns, len(view.channels))
        return draw_weights(grid, [printable(name) for name in view.channels], agent=view.agent)
    if isinstance(space, BoxSpace) and len(space.shape) == 3 and weights.size == int(np.prod(space.shape)):
        image: np.ndarray = weights.reshape(space.shape)
        if image.shape[0] <= image.shape[2]:
            image = image.transpose(1, 2, 0)
        return draw_weights(image, [f"channel {place}" for place in range(image.shape[2])])
    return draw_strongest(weights, names, label=label)


def _with_short_names(view: View) -> View:
    return replace(view, channels=tuple(short(printable(name), most=16) for name in view.channels))


def draw_strongest(weights: np.ndarray, names: Sequence[str], *, label: str, most: int = 12) -> Drawing:
    """The weights of greatest size, as bars in their order of size."""
    places = np.argsort(-np.abs(weights), kind="stable")[:most]
    return draw_signed_bars([names[place] for place in places], weights[places], x_label=label)
