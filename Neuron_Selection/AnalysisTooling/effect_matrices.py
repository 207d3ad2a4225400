"""The effect of each neuron on each pair, as matrices: what a sweep holds, pair by pair."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from Neuron_Selection.AnalysisTooling.measures.metrics import action_flip, margin_effect, matches_source
from Neuron_Selection.AnalysisTooling.runs.patched_runs import PatchedRuns
from Neuron_Selection.AnalysisTooling.runs.swept_runs import runs_of_sweep


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class EffectMatrix:
    """One layer in one direction.

    :param neurons: (k,), their indices in the layer
    :param effects: (n_pairs, k), margin recovery or damage of each pair, NaN without contrast
    :param flips, matches: (n_pairs, k), whether the action changed, and whether it is the source's
    :param shifts, spreads: (n_actions, k), mean and standard deviation over pairs of the change of each score
    """

    direction: str
    layer: str
    ids: tuple[str, ...]
    neurons: np.ndarray
    effects: np.ndarray
    flips: np.ndarray
    matches: np.ndarray
    shifts: np.ndarray
    spreads: np.ndarray


def effect_matrices(sweep: Path) -> list[EffectMatrix]:
    """A matrix for each direction and layer of a sweep; experiments on several neurons and random sets are left out.

    :raises InputError: not a sweep
    """
    with runs_of_sweep(sweep) as runs:
        neurons = _single_neurons(runs)
        layers = dict.fromkeys(layer for layer, _ in neurons.values())
        return [
            _matrix(runs, direction, layer, {place: number for place, (at, number) in neurons.items() if at == layer})
            for direction in runs.directions
            for layer in layers
        ]


def _single_neurons(runs: PatchedRuns) -> dict[int, tuple[str, int]]:
    """Position of an experiment to its layer and neuron."""
    found: dict[int, tuple[str, int]] = {}
    for position, patch in enumerate(runs.patches):
        if len(patch) == 1 and not runs.is_random[position]:
            ((layer, neurons),) = patch.items()
            if not isinstance(neurons, str) and len(neurons) == 1:
                found[position] = (layer, int(neurons[0]))
    return found


def _matrix(runs: PatchedRuns, direction: str, layer: str, neurons: dict[int, int]) -> EffectMatrix:
    of_direction = runs.directions[direction]
    baseline = of_direction.baseline
    source = baseline if of_direction.contrast is None else of_direction.contrast  # without contrast, no effect
    column_of = {position: column for column, position in enumerate(neurons)}
    shape = (len(runs.ids), len(neurons))
    effects, flips, matches = np.full(shape, np.nan), np.zeros(shape, bool), np.zeros(shape, bool)
    sums, squares = np.zeros((2, baseline.shape[1], len(neurons)))
    for block in of_direction.blocks():
        chosen = [place for place, position in enumerate(block.experiments) if int(position) in column_of]
        rows, before, other = block.rows, baseline[block.rows], source[block.rows]
        for place in chosen:
            column, patched = column_of[int(block.experiments[place])], block.patched[:, place]
            effects[rows, column] = margin_effect(before, patched, other)
            flips[rows, column] = action_flip(before, patched) > 0
            matches[rows, column] = matches_source(patched, other) > 0
            change = patched - before
            sums[:, column] += change.sum(axis=0)
            squares[:, column] += np.square(change).sum(axis=0)
    means = sums / len(runs.ids)
    return EffectMatrix(
        direction=direction,
        layer=layer,
        ids=runs.ids,
        neurons=np.array(list(neurons.values()), dtype=int),
        effects=effects,
        flips=flips,
        matches=matches,
        shifts=means,
        spreads=np.sqrt(np.maximum(squares / len(runs.ids) - np.square(means), 0)),
    )
