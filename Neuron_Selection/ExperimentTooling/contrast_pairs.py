"""The pairs whose two runs choose different actions, ready to be patched in either direction."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from Neuron_Selection.AnalysisTooling.measures.clusters import Clusters, clusters_of
from Neuron_Selection.AnalysisTooling.measures.decisions import greedy_actions
from Neuron_Selection.errors import UsageError
from Neuron_Selection.FileFormats.inputs import Inputs
from Neuron_Selection.FileFormats.observations import Observations, rows_of
from Neuron_Selection.PatchingTooling.opened_agent import OpenedAgent


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class ContrastPairs:
    """Pairs with contrast; ``clean`` and ``corrupted`` are the keys of ``observations`` and ``scores``.

    :param scores: of the unpatched runs, (n, n_actions)
    :param n_given: all pairs, also those without contrast
    """

    observations: Mapping[str, Observations]
    scores: Mapping[str, np.ndarray]
    clusters: Clusters
    n_given: int

    @property
    def count(self) -> int:
        """Pairs with contrast."""
        return len(self.scores["clean"])

    def cluster_sums(self, values: np.ndarray) -> np.ndarray:
        """Sums over the pairs of each cluster.

        :param values: (..., n)
        :return: (..., n_clusters)
        """
        order = np.argsort(self.clusters.of_input, kind="stable")
        starts = np.searchsorted(self.clusters.of_input[order], np.arange(self.clusters.count))
        return np.asarray(np.add.reduceat(values[..., order], starts, axis=-1))


def contrast_pairs(agent: OpenedAgent, clean: Inputs, corrupted: Inputs, *, cluster_by: str) -> ContrastPairs:
    """Run both inputs of every pair, and keep those with contrast.

    :param cluster_by: as for ``clusters_of``
    :raises UsageError: no pair has contrast
    """
    runs: dict[str, Any] = {"clean": clean, "corrupted": corrupted}
    scores = {run: agent.network.scores(inputs.observations) for run, inputs in runs.items()}
    rows = np.flatnonzero(greedy_actions(scores["clean"]) != greedy_actions(scores["corrupted"]))
    if not len(rows):
        raise UsageError(
            f"none of the {len(clean.ids)} pairs has contrast: both runs choose the same action, so that no edge can "
            "have an effect on the decision"
        )
    ids = [clean.ids[row] for row in rows]
    return ContrastPairs(
        observations={run: rows_of(inputs.observations, rows) for run, inputs in runs.items()},
        scores={run: array[rows] for run, array in scores.items()},
        clusters=clusters_of(ids, clean.clusters, cluster_by, where=clean.where),
        n_given=len(clean.ids),
    )
