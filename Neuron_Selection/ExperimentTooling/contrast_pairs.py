"""The pairs whose two runs choose different actions, ready to be patched."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from Neuron_Selection.AnalysisTooling.measures.clusters import Clusters, clusters_of
from Neuron_Selection.AnalysisTooling.measures.decisions import allowed_scores, greedy_actions
from Neuron_Selection.errors import UsageError
from Neuron_Selection.FileFormats.directions import TARGETS
from Neuron_Selection.FileFormats.inputs import Inputs
from Neuron_Selection.FileFormats.observations import Observations, rows_of
from Neuron_Selection.PatchingTooling.opened_agent import OpenedAgent

OF_CIRCUITS = "noising"  # circuits are runs of the clean inputs, into which ablated values are patched


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class ContrastPairs:
    """Pairs with contrast; ``clean`` and ``corrupted`` are the keys of ``observations`` and ``scores``.

    :param scores: of the unpatched runs, (n, n_actions), also of forbidden actions
    :param n_given: all pairs, also those without contrast
    :param masks: the allowed actions of the target run, (n, n_actions), which hold in both runs; None without masks
    """

    observations: Mapping[str, Observations]
    scores: Mapping[str, np.ndarray]
    clusters: Clusters
    n_given: int
    masks: np.ndarray | None = None

    @property
    def count(self) -> int:
        """Pairs with contrast."""
        return len(self.scores["clean"])

    @property
    def actions(self) -> dict[str, np.ndarray]:
        """The actions of both unpatched runs, (n,) each."""
        return {run: greedy_actions(allowed_scores(scores, self.masks)) for run, scores in self.scores.items()}

    def allowed(self, scores: np.ndarray, rows: np.ndarray) -> np.ndarray:
        """Scores of some pairs with minus infinity for forbidden actions.

        :param scores: (..., k, n_actions)
        :param rows: (k,)
        """
        return allowed_scores(scores, None if self.masks is None else self.masks[rows])

    def cluster_sums(self, values: np.ndarray) -> np.ndarray:
        """Sums over the pairs of each cluster.

        :param values: (..., n)
        :return: (..., n_clusters)
        """
        order = np.argsort(self.clusters.of_input, kind="stable")
        starts = np.searchsorted(self.clusters.of_input[order], np.arange(self.clusters.count))
        return np.asarray(np.add.reduceat(values[..., order], starts, axis=-1))


def contrast_pairs(
    agent: OpenedAgent, clean: Inputs, corrupted: Inputs, *, cluster_by: str, direction: str = OF_CIRCUITS
) -> ContrastPairs:
    """Run both inputs of every pair, and keep those with contrast.

    :param cluster_by: as for ``clusters_of``
    :param direction: matters only to action masks, which are the target's
    :raises UsageError: no pair has contrast
    """
    runs: dict[str, Any] = {"clean": clean, "corrupted": corrupted}
    scores = {run: agent.network.scores(inputs.observations) for run, inputs in runs.items()}
    target = TARGETS[direction][0]
    masks = runs[target].action_masks
    actions = {run: greedy_actions(allowed_scores(array, masks)) for run, array in scores.items()}
    rows = np.flatnonzero(actions["clean"] != actions["corrupted"])
    if not len(rows):
        among = "" if masks is None else f", among those that the {target} input allows"
        raise UsageError(
            f"none of the {len(clean.ids)} pairs has contrast: both runs choose the same action{among}, so that no "
            "edge can have an effect on the decision"
        )
    ids = [clean.ids[row] for row in rows]
    return ContrastPairs(
        observations={run: rows_of(inputs.observations, rows) for run, inputs in runs.items()},
        scores={run: array[rows] for run, array in scores.items()},
        clusters=clusters_of(ids, clean.clusters, cluster_by, where=clean.where),
        n_given=len(clean.ids),
        masks=None if masks is None else masks[rows],
    )
