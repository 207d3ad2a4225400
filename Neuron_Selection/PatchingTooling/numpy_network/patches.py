"""Interventions in numpy, expressed as units that change."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from Neuron_Selection.FileFormats.observations import Observations, count_of
from Neuron_Selection.PatchingTooling.agent.interventions import Edit, Intervention, alike
from Neuron_Selection.PatchingTooling.agent.network import PatchedRun, refuse_nonfinite_scores
from Neuron_Selection.PatchingTooling.numpy_network.changes import ChangedRun, SiteEdit, change_units, replace_inputs
from Neuron_Selection.PatchingTooling.numpy_network.products import LANES, padded, padded_array
from Neuron_Selection.PatchingTooling.numpy_network.runs import Run, Site

if TYPE_CHECKING:
    from Neuron_Selection.PatchingTooling.numpy_network.network import NumpyNetwork

_FEW = 256  # more units than this, or than half of their layer, are served by the full product
_NUMBERS_AT_ONCE = 1 << 14  # deltas; temporary memory grows with them


def run_patched(network: NumpyNetwork, observations: Observations, intervention: Intervention) -> PatchedRun:
    """The scores under one intervention, float64, and how many values of each layer really changed."""
    total = count_of(observations)
    scores = np.empty((total, network.n_actions))
    counts = {name: np.zeros(total, np.int64) for name in intervention}
    # of several layers by full products, so that what changes in the later ones can be counted
    rank = rank_of(network, intervention) if len(intervention) == 1 else 0
    for rows, part in network.chunks(observations):
        changed = ChangedRun(network=network, run=network.run(part), counts={})
        first = first_edit_of(network, changed.run, intervention, rows)
        scores[rows] = _run_alike(changed, first, [intervention], rank=rank)[0]
        for name in intervention:
            site = network.sites[name]
            if changed.counts is not None and site in changed.counts:
                counts[name][rows] = changed.counts[site][0, : changed.n_rows]
            if name == first.layer:
                own = changed.run[site]
                differs = masks_of(network, name, [intervention]) & (first.edits[name].new_outputs(own) != own)
                counts[name][rows] = np.count_nonzero(differs[: changed.n_rows], axis=1)
    refuse_nonfinite_scores(scores)
    return PatchedRun(scores=scores, changed=counts)


def scores_of_interventions(
    network: NumpyNetwork, observations: Observations, interventions: Sequence[Intervention]
) -> np.ndarray:
    """The scores under each of many interventions, (n_interventions, n, n_actions), float64."""
    scores = np.empty((len(interventions), count_of(observations), network.n_actions))
    groups: list[dict[int, list[int]]] = []
    for members in alike(interventions):
        by_rank: dict[int, list[int]] = defaultdict(list)
        for number in members:
            by_rank[rank_of(network, interventions[number])].append(number)
        groups.append(by_rank)
    for rows, part in network.chunks(observations):
        changed = ChangedRun(network=network, run=network.run(part))
        for by_rank in groups:
            first = first_edit_of(network, changed.run, interventions[next(iter(by_rank.values()))[0]], rows)
            for rank, members in by_rank.items():
                at_once = max(changed.changes_at_once, _NUMBERS_AT_ONCE // (changed.n_rows * max(rank, 1)))
                for start in range(0, len(members), at_once):
                    chosen = members[start : start + at_once]
                    together = [interventions[number] for number in chosen]
                    scores[chosen, rows] = _run_alike(changed, first, together, rank=rank)
    refuse_nonfinite_scores(scores)
    return scores


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class FirstEdit:
    """What interventions that differ in their neurons only do to the first layer that they edit.

    ``edits``: layer to its edit for these inputs, padded as the run is, in the order in which the layers fire.
    ``reader``: the Linear that reads what the first layer feeds; None where it outputs the scores.
    ``new``: what that would read if all neurons of the first layer were edited; ``delta``: by how much that differs,
    (width, n).
    """

    layer: str
    edits: Mapping[str, Edit]
    reader: int | None
    new: np.ndarray
    delta: np.ndarray


def first_edit_of(network: NumpyNetwork, run: Run, intervention: Intervention, rows: slice) -> FirstEdit:
    """What an intervention does to the first layer that it edits.

    :param rows: the inputs of the run, among those of the intervention's values
    """
    edits = {
        name: _padded_edit(intervention[name].of_rows(rows), run[site].shape)
        for name, site in network.sites.items()
        if name in intervention
    }
    first, edit = next(iter(edits.items()))
    site = network.sites[first]
    new = edit.new_outputs(run[site])
    if site.kind == "sum" and site.linear == len(network.linears) - 1:
        return FirstEdit(layer=first, edits=edits, reader=None, new=new, delta=np.empty((0, 0)))
    reader = site.linear
    if site.kind == "sum":  # of a pre-activation, what counts for the next Linear is what its activation makes of it
        new, reader = network.linears[site.linear].following.compute(new), reader + 1
    delta = np.ascontiguousarray((new - run.inputs[reader])[: run.n_rows].T)
    return FirstEdit(layer=first, edits=edits, reader=reader, new=new, delta=delta)


def _padded_edit(edit: Edit, shape: tuple[int, ...]) -> Edit:
    """The edit with values of the run's padded shape; values for all inputs alike keep a single row."""
    values = []
    for array in edit.values:
        is_number = array.shape == (1, 1)  # for every neuron and input alike
        values.append(array if is_number else padded_array(array, (shape[0] if len(array) > 1 else 1, shape[1])))
    return replace(edit, values=tuple(values))


def rank_of(network: NumpyNetwork, intervention: Intervention) -> int:
    """How many units of one layer the intervention changes first, 0 where the full product is to serve it."""
    first, *others = (name for name in network.sites if name in intervention) if len(intervention) > 1 else intervention
    neurons, width = intervention[first].neurons, network.layers.layers[first].width
    site = network.sites[first]
    is_output = site == Site(len(network.linears) - 1, "sum")
    if neurons == "all" or is_output or not 0 < len(neurons) <= min(_FEW, width // 2):
        return 0
    same_units = site.kind == "sum" and network.linears[site.linear].activation in others
    return 0 if same_units else len(neurons)


def _run_alike(
    changed: ChangedRun, first: FirstEdit, interventions: Sequence[Intervention], *, rank: int
) -> np.ndarray:
    """Run interventions that differ in their neurons only.

    :param rank: how many units of the first layer each of them changes, 0 for the full product
    :return: (n_interventions, n, n_actions)
    """
    network = changed.network
    if first.reader is None:
        masks, new = masks_of(network, first.layer, interventions)[:, None], first.new[: changed.n_rows]
        return np.where(masks, new, changed.run.sums[-1][: changed.n_rows])[..., : network.n_actions]
    edits = {
        network.sites[name]: SiteEdit(masks=masks_of(network, name, interventions), edit=edit)
        for name, edit in first.edits.items()
        if name != first.layer
    }
    of_inputs = edits.pop(Site(first.reader, "input"), None)
    changed = replace(changed, edits=edits)
    if rank:
        units = np.array([intervention[first.layer].neurons for intervention in interventions], np.intp)
        return change_units(changed, first.reader, units, first.delta[units])
    whole = Edit(neurons="all", operation="replace", values=(first.new,))
    replaced = [SiteEdit(masks=masks_of(network, first.layer, interventions), edit=whole)]
    return replace_inputs(changed, first.reader, replaced if of_inputs is None else [*replaced, of_inputs])


def masks_of(network: NumpyNetwork, name: str, interventions: Sequence[Intervention]) -> np.ndarray:
    """Which neurons of a layer each intervention edits, (n_interventions, padded width)."""
    width = network.layers.layers[name].width
    masks = np.zeros((len(interventions), padded(width, LANES)), bool)
    for mask, intervention in zip(masks, interventions, strict=True):
        neurons = intervention[name].neurons
        mask[slice(width) if neurons == "all" else list(neurons)] = True
    return masks
