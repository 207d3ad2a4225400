"""The strongest paths from the inputs to the scores, each measured by patching along it.

Along a path u0 -> u1 -> ... -> score only: u1 reads the source run's u0, u2 reads the u1 that results, and so on; all
other nodes read the target run's values, and one score changes. Paths are grown by a beam search: of the beginnings of
one length, each patched along its nodes with everything after its last node running on, those of the largest effect
are continued. A path whose beginnings cancel out can be missed, unless the beam holds every beginning.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from Neuron_Selection.ExperimentTooling.contrast_pairs import ContrastPairs
from Neuron_Selection.ExperimentTooling.edges.effects import margin_of, target_run
from Neuron_Selection.ExperimentTooling.edges.patching import patch_sender
from Neuron_Selection.ExperimentTooling.node_chain import NodeChain
from Neuron_Selection.FileFormats.directions import TARGETS

BEAM = 100


@dataclass(frozen=True, kw_only=True, slots=True)
class PatchedPath:
    """A path and its effect.

    :param nodes: one index for each layer of the chain
    :param effect: margin recovery or damage, the ratio of sums over contrast pairs
    :param flips: pairs whose action changed
    """

    nodes: tuple[int, ...]
    effect: float
    flips: int


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class _Beginning:
    """The first nodes of a path; ``values``: what the last of them outputs in the inputs ``rows``, where it differs."""

    nodes: tuple[int, ...]
    rows: np.ndarray
    values: np.ndarray
    effect: float = 0.0
    flips: int = 0


def strongest_paths(
    chain: NodeChain, pairs: ContrastPairs, direction: str, *, count: int, beam: int = BEAM
) -> list[PatchedPath]:
    """The paths of the largest |effect|, largest first; paths without any effect are left out.

    :param pairs: of this direction
    :param count: how many
    :param beam: how many beginnings of each length are continued
    """
    target, source = TARGETS[direction]
    run, other = target_run(chain, pairs, target), chain.values(pairs.observations[source])[0]
    ahead, behind = pairs.actions[source], pairs.actions[target]
    before = margin_of(run.scores, ahead, behind)
    whole = float((margin_of(pairs.scores[source], ahead, behind) - before).sum())
    differs = (run.values[0] != other).reshape(*other.shape[:2], -1).any(axis=2)
    beginnings = []
    for node in np.flatnonzero(differs.any(axis=0)):
        rows = np.flatnonzero(differs[:, node])
        beginnings.append(_Beginning(nodes=(int(node),), rows=rows, values=other[rows, node]))
    for link in chain.links:
        longer = []
        for one in beginnings:
            part = patch_sender(chain, link, run, one.nodes[-1], rows=one.rows, values=one.values)
            margins = margin_of(part.scores, ahead[one.rows], behind[one.rows]) - before[one.rows]
            flips = (np.argmax(pairs.allowed(part.scores, one.rows), axis=2) != behind[one.rows]).sum(axis=1)
            effects = margins.sum(axis=1) / whole
            longer += [
                _Beginning(
                    nodes=(*one.nodes, int(receiver)), rows=one.rows, values=part.values[:, place],
                    effect=float(effects[place]), flips=int(flips[place]),
                )
                for place, receiver in enumerate(part.receivers)
            ]  # fmt: skip
        longer.sort(key=lambda one: (-abs(one.effect), one.nodes))
        beginnings = longer[:beam]
    return [PatchedPath(nodes=one.nodes, effect=one.effect, flips=one.flips) for one in longer[:count] if one.effect]
