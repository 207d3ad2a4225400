"""Figures without axes of their own style, and the shapes that are drawn into them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from Neuron_Selection.DrawingTooling.canvas import require_matplotlib

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from matplotlib.patches import Patch


def plain_figure(width: float, height: float, *, dpi: float) -> Figure:
    """An empty figure in matplotlib's own style.

    :raises MachineError: matplotlib is not installed
    """
    require_matplotlib()
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), dpi=dpi, layout="constrained")


def polygon(corners: Sequence[tuple[float, float]], **style: Any) -> Patch:
    """A filled polygon."""
    from matplotlib.patches import Polygon

    return Polygon(corners, **style)


def rectangle(corner: tuple[float, float], size: tuple[float, float], **style: Any) -> Patch:
    """A rectangle."""
    from matplotlib.patches import Rectangle

    return Rectangle(corner, *size, **style)


def key_patch(**style: Any) -> Patch:
    """A square of a colour, for a legend."""
    from matplotlib.patches import Patch

    return Patch(**style)
