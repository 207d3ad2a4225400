"""Pairs of an intervention and an observation in numpy: every row of a batch under an intervention of its own."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from Neuron_Selection.FileFormats.observations import Observations
from Neuron_Selection.FileFormats.provenance import CHUNK_ROWS
from Neuron_Selection.PatchingTooling.agent.interventions import Edit, Intervention, alike
from Neuron_Selection.PatchingTooling.agent.network import refuse_nonfinite_scores
from Neuron_Selection.PatchingTooling.numpy_network.changes import ChangedRun, change_units_of_pairs
from Neuron_Selection.PatchingTooling.numpy_network.patches import FirstEdit, first_edit_of, masks_of, rank_of
from Neuron_Selection.PatchingTooling.numpy_network.products import padded, product
from Neuron_Selection.PatchingTooling.numpy_network.runs import Site

if TYPE_CHECKING:
    from Neuron_Selection.PatchingTooling.numpy_network.network import NumpyNetwork


def scores_of_pairs(
    network: NumpyNetwork,
    observations: Observations,
    interventions: Sequence[Intervention],
    which: np.ndarray,
    rows: np.ndarray,
) -> np.ndarray:
    """The scores of pairs of an intervention and an observation, (n_pairs, n_actions), float64.

    The unchanged run is computed once for each observation, whatever the number of pairs that share it.
    """
    scores = np.empty((len(which), network.n_actions))
    groups: list[list[int]] = []
    for members in alike(interventions):
        by_rank: dict[int, list[int]] = defaultdict(list)
        for number in members:
            by_rank[rank_of(network, interventions[number]) if interventions[number] else 0].append(number)
        groups += by_rank.values()
    group_of, within = np.zeros((2, len(interventions)), np.intp)
    for number, members in enumerate(groups):
        group_of[members], within[members] = number, np.arange(len(members))
    in_order = np.lexsort((which, group_of[which]))
    for part, some in network.chunks(observations):
        changed = ChangedRun(network=network, run=network.run(some))
        is_here = (rows >= part.start) & (rows < part.stop)
        here = in_order if len(rows) and is_here.all() else in_order[is_here[in_order]]
        ends = np.searchsorted(group_of[which[here]], np.arange(len(groups) + 1))
        for members, start, end in zip(groups, ends[:-1], ends[1:], strict=True):
            pairs = here[start:end]
            if len(pairs):
                chosen = [interventions[number] for number in members]
                places = rows[pairs] - part.start
                scores[pairs] = _run_alike(changed, chosen, within[which[pairs]], places, part)
    refuse_nonfinite_scores(scores)
    return scores


def _run_alike(
    changed: ChangedRun, interventions: Sequence[Intervention], which: np.ndarray, rows: np.ndarray, part: slice
) -> np.ndarray:
    """Run pairs of interventions that differ in their neurons only, and change as many units first.

    :param which: (n_pairs,), ascending
    :param rows: (n_pairs,), rows of the run
    :param part: the observations of the run
    :return: (n_pairs, n_actions)
    """
    network = changed.network
    if not interventions[0]:
        unchanged: np.ndarray = changed.baseline[rows]
        return unchanged
    rank = rank_of(network, interventions[0])
    first = first_edit_of(network, changed.run, interventions[0], part)
    if first.reader is None or not rank or len(interventions[0]) > 1:
        return _run_in_full(changed, first, interventions, which, rows)
    units = np.array([intervention[first.layer].neurons for intervention in interventions], np.intp)
    delta = first.delta[units[which], rows[:, None]]
    if rank == 1:  # two terms, the second times 0: a single one would leave BLAS for something slower
        units, delta = np.repeat(units, 2, axis=1), np.concatenate([delta, np.zeros_like(delta)], axis=1)
    scores = change_units_of_pairs(changed, first.reader, units, changes=which, rows=rows, delta=delta)
    np.copyto(scores, changed.baseline[rows], where=~delta.any(axis=1)[:, None])
    return scores


def _run_in_full(
    changed: ChangedRun,
    first: FirstEdit,
    interventions: Sequence[Intervention],
    which: np.ndarray,
    rows: np.ndarray,
) -> np.ndarray:
    """Run pairs by full products from the first edited layer on."""
    network, run = changed.network, changed.run
    masks = {name: masks_of(network, name, interventions) for name in first.edits}
    if first.reader is None:
        new = np.broadcast_to(first.new, run.sums[-1].shape)
        edited: np.ndarray = np.where(masks[first.layer][which], new[rows], run.sums[-1][rows])
        return edited[:, : network.n_actions]
    later = {network.sites[name]: (masks[name], edit) for name, edit in first.edits.items() if name != first.layer}
    inputs, scores = run.inputs[first.reader], np.empty((len(which), network.n_actions))
    new = np.broadcast_to(first.new, inputs.shape)
    for start in range(0, len(which), network.buffer_rows):
        chosen = slice(start, start + network.buffer_rows)
        own, pair_rows = which[chosen], rows[chosen]
        values = np.zeros((padded(len(own), CHUNK_ROWS), inputs.shape[1]))
        values[: len(own)] = np.where(masks[first.layer][own], new[pair_rows], inputs[pair_rows])
        scores[chosen] = _run_on(network, first.reader, values, edits=later, which=own, rows=pair_rows)[
            : len(own), : network.n_actions
        ]
    return scores


def _run_on(
    network: NumpyNetwork,
    reader: int,
    values: np.ndarray,
    *,
    edits: Mapping[Site, tuple[np.ndarray, Edit]],
    which: np.ndarray,
    rows: np.ndarray,
) -> np.ndarray:
    """From the inputs of a Linear to the scores, with the edits of each pair; ``values`` is overwritten.

    :param values: (n_pairs padded to 64, width)
    :param edits: site to the mask of each intervention, (n_interventions, width), and the edit
    """

    def edit(site: Site) -> None:
        if site in edits:
            masks, change = edits[site]
            own = values[: len(which)]
            np.copyto(own, change.of_rows(rows).new_outputs(own), where=masks[which])

    for number in range(reader, len(network.linears)):
        edit(Site(number, "input"))
        values = product(values, network.linears[number].columns)
        values += network.linears[number].bias
        edit(Site(number, "sum"))
        if number < len(network.linears) - 1:
            values = network.linears[number].following.compute_into(values, values)
    return values
