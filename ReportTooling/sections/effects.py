"""What each neuron does in each pair: a matrix for each layer and direction."""

from __future__ import annotations

import numpy as np

from Neuron_Selection.AnalysisTooling.effect_matrices import EffectMatrix
from Neuron_Selection.AnalysisTooling.effect_pictures import EFFECT_NAMES, effect_picture, importance_of
from Neuron_Selection.DrawingTooling.canvas import svg_bytes
from Neuron_Selection.DrawingTooling.heatmaps import draw_matrices
from ReportTooling.page.blocks import Choice, Gallery, Paragraph, Picture, Section
from ReportTooling.page.numbers import count, name, sentence
from ReportTooling.results.loading import Results

_LEAD = (
    "One neuron at a time takes its value from the other input of the pair. A cell is what that does to the margin "
    "between both actions: 0, white, is no effect; blue is a step towards the other input, where 1 is the whole way; "
    "orange is the opposite direction."
)


def effects(results: Results) -> Section | None:
    """The matrices of the sweep; None without one."""
    if not results.matrices:
        return None
    groups = results.pairs.groups if results.pairs is not None and results.pairs.ids == results.matrices[0].ids else ()
    views = []
    for label, by_importance in (("by importance", True), ("in the order of the layer", False)):
        pictures = [_picture(matrix, groups, by_importance=by_importance) for matrix in results.matrices]
        views.append((label, [Gallery(pictures=pictures)]))
    return Section(
        name="effects",
        title="Every neuron in every pair",
        blocks=[Paragraph(text=_LEAD, kind="lead"), Choice(name="effects-order", legend="Neurons", views=views)],
    )


def _picture(matrix: EffectMatrix, groups: tuple[str, ...], *, by_importance: bool) -> Picture:
    order = np.argsort(-importance_of(matrix), kind="stable")[:3]
    strongest = ", ".join(str(matrix.neurons[place]) for place in order)
    flips = int(matrix.flips.any(axis=1).sum())
    caption = sentence(
        "Largest mean size: neurons {}. In {} of {} pairs some single neuron changes the action.",
        strongest, count(flips), count(len(matrix.ids)),
    )  # fmt: skip
    return Picture(
        name=f"effects-{matrix.direction}-{slug(matrix.layer)}-{'importance' if by_importance else 'layer'}",
        svg=svg_bytes(draw_matrices([effect_picture(matrix, groups=groups, by_importance=by_importance)])),
        title=sentence("{} of {}.", EFFECT_NAMES[matrix.direction].capitalize(), name(matrix.layer)),
        caption=caption,
        alternative=f"Matrix of {len(matrix.ids)} pairs and {len(matrix.neurons)} neurons of {matrix.layer}, "
        f"{matrix.direction}: {EFFECT_NAMES[matrix.direction]}. Neurons with the largest mean size: {strongest}",
    )


def slug(text: str) -> str:
    """A name for files and anchors, of letters, digits and hyphens; different names may have the same."""
    return "".join(c if c.isascii() and c.isalnum() else "-" for c in text)[:60]
