"""The scores of a corrupted input in which one neuron has its clean value: the neuron that recovers most."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from Neuron_Selection.AnalysisTooling.measures.decisions import allowed_scores
from Neuron_Selection.FileFormats.observations import rows_of
from Neuron_Selection.PatchingTooling.agent.interventions import replacing
from ReportTooling.results.loading import Results


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class PatchedPair:
    """``scores``: (n_actions,), minus infinity for actions that a mask forbids; ``spec``: the neuron."""

    spec: str
    scores: np.ndarray


def best_patch(results: Results, row: int) -> PatchedPair | None:
    """The single neuron whose clean value recovers most of the margin of a pair; None if the sweep lacks the pair."""
    pairs = results.pairs
    if pairs is None:
        return None
    best: tuple[float, str, int] | None = None
    for matrix in results.matrices:
        if matrix.direction != "denoising" or pairs.ids[row] not in matrix.ids:
            continue
        effects = np.nan_to_num(matrix.effects[matrix.ids.index(pairs.ids[row])])
        column = int(effects.argmax())
        if best is None or effects[column] > best[0]:
            best = (float(effects[column]), matrix.layer, int(matrix.neurons[column]))
    if best is None or best[0] <= 0:
        return None
    _, layer, neuron = best
    clean, corrupted = (rows_of(one.observations, slice(row, row + 1)) for one in (pairs.clean, pairs.corrupted))
    network = results.agent.network
    patch = replacing({layer: (neuron,)}, network.activations(clean, [layer]))
    mask = None if pairs.corrupted.action_masks is None else pairs.corrupted.action_masks[row]
    scores = allowed_scores(network.patched(corrupted, patch).scores[0], mask)
    return PatchedPair(spec=f"{layer}:{neuron}", scores=scores)
