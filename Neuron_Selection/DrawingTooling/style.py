"""Colours and text of all pictures: readable on paper, on a screen, and for colour-blind readers.

Lines and text use the few colours of ``PALETTE``. On a page they become CSS variables of the same names, so that a page
with a dark background can replace them. Matrices use ``DIVERGING``, blue and vermilion around white (Okabe and Ito
2008, Color Universal Design), which readers with any common colour vision deficiency can distinguish.
"""

from __future__ import annotations

from typing import Any

PALETTE = {
    "ink": "#1d2733",
    "muted": "#5b6776",
    "faint": "#a3adb9",
    "rule": "#dde2e8",
    "paper": "#fffffe",
    "clean": "#0f6cb0",
    "corrupted": "#c2500e",
    "third": "#0b7d63",
    "fourth": "#9a5b94",
}
"""Name to colour. ``clean`` is also the colour of positive effects and of what is measured, ``corrupted`` of negative
effects, ``faint`` of random controls."""

SERIES = (PALETTE["clean"], PALETTE["corrupted"], PALETTE["third"], PALETTE["fourth"], PALETTE["muted"])
"""Colours of the lines of one picture, in this order."""

DIVERGING = ("#7f2704", "#c2500e", "#ee9a5d", "#fbd9bd", "#ffffff", "#c3dcf0", "#6aaada", "#0f6cb0", "#083b66")
"""From -1 to 1; 0 is white."""

SEQUENTIAL = ("#ffffff", "#c3dcf0", "#6aaada", "#0f6cb0", "#083b66")
"""From 0 to 1."""

RC_PARAMS: dict[str, Any] = {
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],
    "font.size": 8.5,
    "axes.titlesize": 9,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.titlepad": 8,
    "axes.labelsize": 8.5,
    "axes.labelcolor": PALETTE["muted"],
    "axes.edgecolor": PALETTE["rule"],
    "axes.linewidth": 0.8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.facecolor": "none",
    "axes.axisbelow": True,
    "axes.titlecolor": PALETTE["ink"],
    "axes.unicode_minus": True,
    "figure.facecolor": PALETTE["paper"],
    "figure.constrained_layout.use": True,
    "text.color": PALETTE["ink"],
    "text.parse_math": False,  # names of layers and environments may contain a dollar sign
    "xtick.color": PALETTE["muted"],
    "ytick.color": PALETTE["muted"],
    "xtick.labelsize": 8,
    "ytick.labelsize": 8,
    "xtick.major.size": 0,
    "ytick.major.size": 0,
    "grid.color": PALETTE["rule"],
    "grid.linewidth": 0.7,
    "lines.linewidth": 1.8,
    "lines.solid_capstyle": "round",
    "legend.frameon": False,
    "legend.fontsize": 8,
    "svg.fonttype": "none",  # text stays text: small, selectable, in the font of the page
    "svg.hashsalt": "neuron patching",
    "savefig.dpi": 150,
}
"""Settings of matplotlib for every picture."""
