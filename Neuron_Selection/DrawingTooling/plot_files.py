"""The file of ``--plot``: a picture of a script's result."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from Neuron_Selection.DrawingTooling.canvas import png_bytes, require_matplotlib, svg_bytes
from Neuron_Selection.FileFormats.provenance import different_run_error
from Neuron_Selection.FileFormats.storage.atomic_files import is_there, read_bytes, write_atomically

if TYPE_CHECKING:
    from Neuron_Selection.DrawingTooling.canvas import Drawing


def check_plot(plot: str | None) -> None:
    """Check, before the work, that a picture can be drawn.

    :raises MachineError: matplotlib is not installed
    """
    if plot is not None:
        require_matplotlib()


def save_plot(plot: str | None, draw: Callable[[], Drawing], *, overwrite: bool) -> dict[str, str]:
    """Write the picture; the same result gives the same bytes.

    :param plot: the file, whose ending decides the format; None draws nothing
    :return: ``{"plot": FILE}``, empty if nothing was asked for
    :raises InputError: the file holds something else, and ``overwrite`` is off
    """
    if plot is None:
        return {}
    path, figure = Path(plot), draw()
    data = png_bytes(figure) if path.suffix.lower() == ".png" else svg_bytes(figure)
    if is_there(path) and not overwrite and read_bytes(path) != data:
        raise different_run_error(path)
    write_atomically(path, data)
    return {"plot": plot}
