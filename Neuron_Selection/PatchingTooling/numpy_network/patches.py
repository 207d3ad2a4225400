"""Patches and neuron sweeps, put in terms of units that change."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TypeAlias

import numpy as np

from Neuron_Selection.FileFormats.observations import Observations, count_of
from Neuron_Selection.FileFormats.patch_spec import Neurons
from Neuron_Selection.PatchingTooling.numpy_network.changes import Exchange, Scene, change_units, exchange_units
from Neuron_Selection.PatchingTooling.numpy_network.mlp import FastMlp, chunks, refuse_nonfinite_q_values, run_forward
from Neuron_Selection.PatchingTooling.numpy_network.products import LANES, filled_array, filled_up

Source: TypeAlias = Mapping[str, np.ndarray]

_FEW = 256  # more units than this, or than half of their layer, go by the full product
_NUMBERS_AT_ONCE = 1 << 14  # deltas; temporary memory grows with them


def compute_patched_q_values(
    network: FastMlp, observations: Observations, source: Source, patch: Mapping[str, Neurons]
) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Q-values with some neurons held at what they were in another run.

    :param source: layer to (n, width), row by row what the neurons shall output
    :param patch: layer to its neurons
    :return: (n, n_actions), float64; and layer to the number of values that really changed, (n,)
    """
    total = count_of(observations)
    q_values = np.empty((total, network.n_actions))
    changed = {name: np.zeros(total, np.int64) for name in patch}
    rank = _rank(network, patch) if len(patch) == 1 else 0  # full products, whose bits tell what changed later on
    for rows, part in chunks(network, observations):
        outputs, n_rows = run_forward(network, part), rows.stop - rows.start
        scene = Scene(network=network, outputs=outputs, n_rows=n_rows, counts={})
        donation = _donation(scene, source, patch, rows)
        q_values[rows] = _run_alike(scene, donation, [patch], rank=rank)[0]
        for name, values in donation.values.items():
            position = network.names.index(name)
            if scene.counts is not None and position in scene.counts:
                changed[name][rows] = scene.counts[position][0, :n_rows]
            if name == donation.first:
                differs = _mask(network, name, [patch]) & (values != outputs[position])
                changed[name][rows] = np.count_nonzero(differs[:n_rows], axis=1)
    refuse_nonfinite_q_values(q_values)
    return q_values, changed


def compute_q_values_of_patches(
    network: FastMlp, observations: Observations, source: Source, patches: Sequence[Mapping[str, Neurons]]
) -> np.ndarray:
    """Q-values under each of many patches, one at a time.

    :param source: layer to (n, width)
    :return: (n_patches, n, n_actions), float64
    """
    q_values = np.empty((len(patches), count_of(observations), network.n_actions))
    portions: dict[frozenset[str], dict[int, list[int]]] = {}
    for number, patch in enumerate(patches):
        by_rank = portions.setdefault(frozenset(patch), defaultdict(list))
        by_rank[_rank(network, patch)].append(number)
    for rows, part in chunks(network, observations):
        scene = Scene(network=network, outputs=run_forward(network, part), n_rows=rows.stop - rows.start)
        for names, by_rank in portions.items():
            donation = _donation(scene, source, names, rows)
            for rank, members in by_rank.items():
                at_once = max(scene.changes_at_once, _NUMBERS_AT_ONCE // (scene.n_rows * max(rank, 1)))
                for start in range(0, len(members), at_once):
                    chosen = members[start : start + at_once]
                    together = [patches[number] for number in chosen]
                    q_values[chosen, rows] = _run_alike(scene, donation, together, rank=rank)
    refuse_nonfinite_q_values(q_values)
    return q_values


def sweep_neurons(
    network: FastMlp, observations: Observations, source: Source, layers: Sequence[str]
) -> dict[str, np.ndarray]:
    """Q-values with each neuron of some layers patched alone.

    :param source: layer to (n, width)
    :return: layer to (width, n, n_actions), float64
    """
    total, widths = count_of(observations), network.layers.widths
    swept = {layer: np.empty((widths[layer], total, network.n_actions)) for layer in layers}
    for rows, part in chunks(network, observations):
        scene = Scene(network=network, outputs=run_forward(network, part), n_rows=rows.stop - rows.start)
        at_once = max(scene.changes_at_once, _NUMBERS_AT_ONCE // scene.n_rows)
        for layer, q_values in swept.items():
            donation = _donation(scene, source, [layer], rows)
            for start in range(0, widths[layer], at_once):
                neurons = range(start, min(start + at_once, widths[layer]))
                alone: list[dict[str, Neurons]] = [{layer: (neuron,)} for neuron in neurons]
                q_values[neurons.start : neurons.stop, rows] = _run_alike(
                    scene, donation, alone, rank=_rank(network, alone[0])
                )
    for q_values in swept.values():
        refuse_nonfinite_q_values(q_values)
    return swept


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class _Donation:
    """What the source gives to the layers of a patch.

    ``values``: layer to the source's outputs, in the order in which the layers fire; filled up as the run's are.
    ``inputs``: the position of what the next Linear behind the first of them reads; None where none follows.
    ``new``: what it would read if all neurons of the first were patched; ``delta``: by how much that differs,
    (width, n).
    """

    values: Mapping[str, np.ndarray]
    inputs: int | None
    new: np.ndarray
    delta: np.ndarray

    @property
    def first(self) -> str:
        return next(iter(self.values))


def _donation(scene: Scene, source: Source, names: Iterable[str], rows: slice) -> _Donation:
    network, wanted = scene.network, set(names)
    positions = {name: position for position, name in enumerate(network.names) if name in wanted}
    values = {
        name: filled_array(source[name][rows], scene.outputs[position].shape) for name, position in positions.items()
    }
    first, position = next(iter(positions.items()))
    inputs = position + position % 2  # features and activations stand on even positions, Linears on odd ones
    if inputs == len(scene.outputs):
        return _Donation(values=values, inputs=None, new=values[first], delta=np.empty((0, 0)))
    # of a pre-activation, what counts for the next Linear is what its activation makes of it
    new = values[first] if position == inputs else network.activations[position // 2].compute(values[first])
    delta = np.ascontiguousarray((new - scene.outputs[inputs])[: scene.n_rows].T)
    return _Donation(values=values, inputs=inputs, new=new, delta=delta)


def _rank(network: FastMlp, patch: Mapping[str, Neurons]) -> int:
    """How many units of one layer the patch changes first, 0 where the full product is to serve it."""
    first, *others = (name for name in network.names if name in patch) if len(patch) > 1 else patch
    neurons, width = patch[first], network.layers.layers[first].width
    if neurons == "all" or first == network.layers.output or not 0 < len(neurons) <= min(_FEW, width // 2):
        return 0
    position = network.names.index(first)
    return 0 if position % 2 and network.names[position + 1] in others else len(neurons)  # two layers, the same units


def _run_alike(scene: Scene, donation: _Donation, patches: Sequence[Mapping[str, Neurons]], *, rank: int) -> np.ndarray:
    """Run patches of the same layers.

    :param rank: how many units of the first layer each of them changes, 0 for the full product
    :return: (n_patches, n, n_actions)
    """
    network, first, inputs = scene.network, donation.first, donation.inputs
    if inputs is None:
        mask, new = _mask(network, first, patches)[:, None], donation.new[: scene.n_rows]
        return np.where(mask, new, scene.outputs[-1][: scene.n_rows])[..., : network.n_actions]
    exchanges = {
        network.names.index(name): Exchange(mask=_mask(network, name, patches), values=values)
        for name, values in donation.values.items()
        if name != first
    }
    entry = exchanges.pop(inputs, None)
    scene = replace(scene, exchanges=exchanges)
    if rank:
        units = np.array([patch[first] for patch in patches], np.intp)
        return change_units(scene, inputs // 2, units, donation.delta[units])
    entries = [Exchange(mask=_mask(network, first, patches), values=donation.new)]
    return exchange_units(scene, inputs // 2, entries if entry is None else [*entries, entry])


def _mask(network: FastMlp, name: str, patches: Sequence[Mapping[str, Neurons]]) -> np.ndarray:
    """Which neurons of a layer each patch names, (n_patches, width filled up)."""
    width = network.layers.layers[name].width
    mask = np.zeros((len(patches), filled_up(width, LANES)), bool)
    for row, patch in zip(mask, patches, strict=True):
        neurons = patch[name]
        row[slice(width) if neurons == "all" else list(neurons)] = True
    return mask
