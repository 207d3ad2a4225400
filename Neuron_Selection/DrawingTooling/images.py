"""Images from files in rows, such as the frames of an episode."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from Neuron_Selection.DrawingTooling.canvas import WIDTH, in_style, new_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def decoded_png(data: bytes) -> np.ndarray:
    """The pixels of a PNG, (height, width, 3), from 0 to 1.

    :raises ValueError: not a PNG, or too many pixels for a picture
    """
    from matplotlib.image import imread

    try:
        pixels: np.ndarray = np.asarray(imread(io.BytesIO(data), format="png"), np.float64)
    except Exception as error:
        raise ValueError(str(error)) from error
    if pixels.ndim == 2:
        pixels = np.repeat(pixels[:, :, None], 3, axis=2)
    return pixels[:, :, :3]


@in_style
def draw_strip(images: Sequence[tuple[str, np.ndarray]], *, across: int) -> Figure:
    """Images with titles, ``across`` in a row.

    :param images: title and (height, width, 3), values from 0 to 1
    """
    down = -(-len(images) // across)
    height, width = images[0][1].shape[:2]
    figure = new_figure(2 * WIDTH, down * (0.3 + 2 * WIDTH / across * height / width))
    for place, (title, image) in enumerate(images, start=1):
        axes = figure.add_subplot(down, across, place)
        axes.imshow(image, interpolation="none")
        axes.set(xticks=[], yticks=[])
        axes.set_title(title, fontsize=8, pad=3)
        for side in axes.spines.values():
            side.set_visible(False)
    return figure
