"""Matrices of pairs and neurons as pictures, in the order of the neurons or of their importance."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from Neuron_Selection.AnalysisTooling.effect_matrices import EffectMatrix, effect_matrices
from Neuron_Selection.DrawingTooling.heatmaps import Matrix, draw_matrices
from Neuron_Selection.errors import InputError

if TYPE_CHECKING:
    from Neuron_Selection.DrawingTooling.canvas import Drawing

EFFECT_NAMES = {"denoising": "margin recovery", "noising": "margin damage"}
_MOST_NEURONS = 512
_MOST_PAIRS = 1000


def draw_sweep(path: Path) -> Drawing:
    """The effect of each neuron on each pair, a matrix for each layer and direction of a sweep.

    :raises InputError: not a sweep, or one without experiments on single neurons
    """
    matrices = effect_matrices(path)
    if not matrices:
        raise InputError(path, problem="has no experiment on a single neuron, so that there is no matrix to draw")
    return draw_matrices([effect_picture(matrix, by_importance=True) for matrix in matrices])


def importance_of(matrix: EffectMatrix) -> np.ndarray:
    """The mean size of each neuron's effect over the pairs with contrast, (k,); 0 without any."""
    known = np.isfinite(matrix.effects)
    sizes = np.where(known, np.minimum(np.abs(matrix.effects), 1.0), 0.0).sum(axis=0)
    means: np.ndarray = sizes / np.maximum(known.sum(axis=0), 1)
    return means


def effect_picture(matrix: EffectMatrix, *, groups: Sequence[str] = (), by_importance: bool) -> Matrix:
    """The matrix to draw; effects beyond -0.5 and 0.5 have the darkest colours, since most are small.

    :param groups: of each pair; rows are ordered by them
    """
    order = np.argsort(matrix.neurons, kind="stable")
    if by_importance:
        order = np.argsort(-importance_of(matrix), kind="stable")
    order = order[:_MOST_NEURONS]
    rows = np.arange(len(matrix.ids))[:_MOST_PAIRS]
    sizes: list[tuple[str, int]] = []
    if len(groups):
        counted = Counter(groups[row] for row in rows).most_common()
        names = [group for group, _ in counted]
        rows = np.array(sorted(rows, key=lambda row: names.index(groups[row])), dtype=int)
        sizes = counted
    return Matrix(
        title=f"{matrix.layer}, {matrix.direction}",
        values=matrix.effects[np.ix_(rows, order)],
        x_label="neurons, the most important first" if by_importance else "neurons, in the order of the layer",
        y_label="" if sizes else "pairs",
        value_label=EFFECT_NAMES[matrix.direction],
        limit=0.5,
        columns=[str(neuron) for neuron in matrix.neurons[order]],
        groups=sizes if len(sizes) <= 12 else (),
    )
