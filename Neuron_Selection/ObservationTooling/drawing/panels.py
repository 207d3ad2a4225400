"""Parts that pictures of all pairs share: the figure, frames around cells, and scores."""

from __future__ import annotations

import io
import re
from collections.abc import Sequence
from typing import Any

import numpy as np

from Neuron_Selection.DrawingTooling.shapes import plain_figure, rectangle
from Neuron_Selection.FileFormats.results.results_by_input import file_names

_PLAIN = re.compile(r"\w[\w,.+=-]{0,149}")
CHANGED, CHOSEN, OTHER = "#1c1c1c", "#2f6db5", "#a9b7c6"


def new_figure(width: float, height: float) -> Any:
    """An empty figure, sides in inches.

    :raises MachineError: matplotlib is not installed
    """
    return plain_figure(width, height, dpi=110)


def png_bytes(figure: Any) -> bytes:
    """The bytes of a PNG; the same figure gives the same bytes."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", metadata={"Software": None})
    return buffer.getvalue()


def picture_names(ids: Sequence[str]) -> dict[str, str]:
    """A file name for each id: the id itself, unless it has characters that are unsafe in names or is very long."""
    safe = file_names(ids)
    return {
        name: f"{name}.png" if _PLAIN.fullmatch(name) else safe[name].removesuffix(".json") + ".png" for name in ids
    }


def frame(axes: Any, corner: tuple[float, float], size: tuple[float, float], **style: Any) -> None:
    """Draw a rectangle, not filled unless ``style`` fills it."""
    axes.add_patch(rectangle(corner, size, **{"fill": False, **style}))


def frame_changed(axes: Any, corner: tuple[float, float], size: float = 1) -> None:
    """Mark a square cell that differs between the two sides."""
    frame(axes, corner, (size, size), edgecolor="white", linewidth=3.4)
    frame(axes, corner, (size, size), edgecolor=CHANGED, linewidth=2.2, linestyle=(0, (2.2, 1.4)))


def draw_scores(
    axes: Any, scores: np.ndarray, actions: Sequence[str], *, chosen: int, title: str, limits: tuple[float, float]
) -> None:
    """One dot per action, on the same scale for both sides, which need not include zero.

    :param chosen: the action that the agent takes
    """
    room = max(limits[1] - limits[0], 1e-6)
    for action, value in enumerate(scores):
        colour, weight = (CHOSEN, "bold") if action == chosen else (OTHER, "normal")
        axes.plot([limits[0] - 0.1 * room, value], [action, action], color=colour, linewidth=2.5)
        axes.plot([value], [action], "o", color=colour, markersize=9)
        axes.text(limits[1] + 0.15 * room, action, f"{value:.3f}", va="center", fontsize=9, fontweight=weight)
    axes.set(xlim=(limits[0] - 0.1 * room, limits[1] + 0.5 * room), ylim=(len(actions) - 0.5, -0.5))
    axes.set_yticks(range(len(actions)), actions, fontsize=9)
    axes.set_title(title, fontsize=9)
    axes.tick_params(length=0)
    axes.xaxis.set_visible(False)
    axes.spines[["top", "right", "bottom"]].set_visible(False)
