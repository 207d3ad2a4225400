"""The entries in which two inputs differ, as bars in units of each entry's standard deviation."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from Neuron_Selection.ObservationTooling.drawing.panels import CHOSEN, OTHER

MOST = 24  # entries drawn, those that change most


def draw_changes(axes: Any, clean: np.ndarray, corrupted: np.ndarray, names: Sequence[str], units: np.ndarray) -> None:
    """One bar per entry that differs, with its value on both sides.

    :param clean: (n_entries,), like ``corrupted``
    :param units: (n_entries,), the standard deviation of each entry; 0 is replaced by 1
    """
    differing = np.flatnonzero(clean != corrupted)
    steps = (corrupted - clean) / np.where(units > 0, units, 1.0)
    drawn = np.sort(differing[np.argsort(-np.abs(steps[differing]), kind="stable")[:MOST]])
    largest = float(np.abs(steps[drawn]).max(initial=0)) or 1.0
    for place, entry in enumerate(drawn):
        axes.barh(place, steps[entry], color=CHOSEN, height=0.55)
        axes.text(
            1.08 * largest, place, f"{_value(clean[entry])} → {_value(corrupted[entry])}", va="center", fontsize=9
        )
    axes.axvline(0, color=OTHER, linewidth=1)
    axes.set(xlim=(-1.05 * largest, 1.6 * largest), ylim=(len(drawn) - 0.4, -0.6))
    axes.set_yticks(range(len(drawn)), [names[entry] for entry in drawn], fontsize=9)
    left_out = f"; the {MOST} that change most are drawn" if len(differing) > MOST else ""
    axes.set_title(f"entries that differ: {len(differing)} of {len(clean)}{left_out}", fontsize=9)
    axes.set_xlabel("change from clean to corrupted, in standard deviations over these inputs", fontsize=8)
    axes.tick_params(length=0, labelsize=9)
    axes.tick_params(axis="x", labelsize=8)
    axes.spines[["top", "right", "left"]].set_visible(False)


def changes_height(clean: np.ndarray, corrupted: np.ndarray) -> float:
    """The height of the panel in inches."""
    return 0.95 + 0.24 * min(MOST, int((clean != corrupted).sum()))


def _value(value: float) -> str:
    return f"{value:.3g}"
