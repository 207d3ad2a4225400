"""In how many pairs single neurons decide."""

from __future__ import annotations

import numpy as np

from Neuron_Selection.AnalysisTooling.effect_matrices import EffectMatrix
from Neuron_Selection.DrawingTooling.canvas import svg_bytes
from Neuron_Selection.DrawingTooling.points import draw_counts
from ReportTooling.page.blocks import Finding, Picture
from ReportTooling.page.numbers import count, name, printable, sentence
from ReportTooling.results.loading import Results

_MOST = 10


def single_neurons_decide(results: Results) -> Finding | None:
    """How many pairs some single neuron of a layer decides; None without a sweep of pairs with contrast."""
    direction = "denoising" if any(one.direction == "denoising" for one in results.matrices) else "noising"
    matrices = [matrix for matrix in results.matrices if matrix.direction == direction]
    contrast = np.isfinite(matrices[0].effects).any(axis=1) if matrices else np.zeros(0, bool)
    if not contrast.any():
        return None
    decided = np.zeros(len(contrast), bool)
    for matrix in matrices:
        decided |= matrix.matches.any(axis=1) & contrast
    counts = [matrix.matches[contrast].sum(axis=0) for matrix in matrices]
    most, best = max(zip(counts, matrices, strict=True), key=lambda pair: int(pair[0].max()))
    neuron = int(best.neurons[np.argmax(most)])
    value = "clean" if direction == "denoising" else "corrupted"
    text = (
        "In {} of the {} pairs in which the agent acts differently, the {} value of a single hidden neuron is enough "
        "for the {} action; neuron {} of {} alone does it in {}."
    )
    return Finding(
        sentence=sentence(
            text, count(int(decided.sum())), count(int(contrast.sum())), value, value, str(neuron), name(best.layer),
            count(int(most.max())),
        ),
        caveat=sentence(
            "Each neuron was patched alone in {} pairs. The other decisions need several neurons, or neurons whose "
            "effect shows only together.",
            count(len(contrast)),
        ),
        section="effects",
        picture=_picture(matrices, contrast),
    )  # fmt: skip


def _picture(matrices: list[EffectMatrix], contrast: np.ndarray) -> Picture:
    series, listed = [], []
    for matrix in matrices:
        deciding = np.minimum(matrix.matches[contrast].sum(axis=1), _MOST)
        counts = np.bincount(deciding, minlength=_MOST + 1).tolist()
        series.append((printable(matrix.layer), counts))
        listed.append(
            f"{matrix.layer}: " + ", ".join(f"{number} neurons {n} pairs" for number, n in enumerate(counts) if n)
        )
    labels = [*map(str, range(_MOST)), f"{_MOST}+"]
    return Picture(
        name="finding-decisions",
        svg=svg_bytes(
            draw_counts(series, labels=labels, x_label="single neurons that decide the pair", y_label="pairs")
        ),
        title="How many neurons decide each pair alone.",
        caption="Pairs with different actions.",
        alternative="Pairs by the number of single neurons that decide them. " + "; ".join(listed),
    )
