"""The figures of matplotlib: created in one style, and saved as SVG or PNG with the same bytes each time."""

from __future__ import annotations

import io
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from typing import TYPE_CHECKING, Any, ParamSpec, TypeAlias, cast

from Neuron_Selection.DrawingTooling.style import DIVERGING, RC_PARAMS, SEQUENTIAL
from Neuron_Selection.errors import MachineError

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.colors import Colormap
    from matplotlib.figure import Figure

    Drawing: TypeAlias = Figure

Arguments = ParamSpec("Arguments")
WIDTH = 4.4  # inches of a picture that takes half of a page


def require_matplotlib() -> None:
    """Check that pictures can be drawn.

    :raises MachineError: matplotlib is not installed
    """
    try:
        import matplotlib.figure  # noqa: F401
    except ModuleNotFoundError as error:
        raise MachineError("matplotlib is not installed", hint="pip install matplotlib") from error


@contextmanager
def _in_style() -> Iterator[None]:
    require_matplotlib()
    import matplotlib as mpl

    with mpl.rc_context(cast(Any, RC_PARAMS)), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing from")  # names in scripts that the font lacks
        yield


def in_style(draw: Callable[Arguments, Figure]) -> Callable[Arguments, Figure]:
    """Run a function that returns a figure with the settings of ``style``."""

    @wraps(draw)
    def drawn(*args: Arguments.args, **kwargs: Arguments.kwargs) -> Figure:
        with _in_style():
            return draw(*args, **kwargs)

    return drawn


def new_figure(width: float = WIDTH, height: float = 2.8) -> Figure:
    """An empty figure; sizes in inches."""
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height))


def one_axes(width: float = WIDTH, height: float = 2.8) -> tuple[Figure, Axes]:
    """A figure with a single coordinate system."""
    figure = new_figure(width, height)
    return figure, figure.add_subplot()


def short(label: str, *, most: int = 26) -> str:
    """A label with its middle cut, if it is long: names from files must leave room for the picture."""
    if len(label) <= most:
        return label
    return f"{label[: most // 2]}\N{HORIZONTAL ELLIPSIS}{label[-(most - most // 2 - 1) :]}"


def colour_map(colours: tuple[str, ...]) -> Colormap:
    """The colour map that runs through colours of ``style``; undefined values are grey."""
    from matplotlib.colors import LinearSegmentedColormap

    return LinearSegmentedColormap.from_list("suite", colours).with_extremes(bad="#e6e9ed")


def diverging() -> Colormap:
    """From -1 to 1 around white."""
    return colour_map(DIVERGING)


def sequential() -> Colormap:
    """From 0, white, to 1."""
    return colour_map(SEQUENTIAL)


def svg_bytes(figure: Figure) -> bytes:
    """A figure as an SVG file."""
    from matplotlib.backends.backend_svg import FigureCanvasSVG

    buffer = io.BytesIO()
    with _in_style():
        nothing = dict.fromkeys(("Date", "Creator", "Format", "Type"))
        canvas: Any = FigureCanvasSVG(figure)
        canvas.print_svg(buffer, metadata=nothing)  # savefig would draw twice
    return buffer.getvalue()


def png_bytes(figure: Figure) -> bytes:
    """A figure as a PNG file."""
    buffer = io.BytesIO()
    with _in_style():
        figure.savefig(buffer, format="png", metadata={"Software": None})
    return buffer.getvalue()
