"""Q-values of mixtures: each row of one layer takes some neurons from the source run and keeps the others.

A mixture is the patch ``do(C <- source)`` with its own set C in every row, so that the searches of a hundred pairs
share passes of the network. The rows start at the layer itself: nothing before it is run again.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from Neuron_Selection.AnalysisTooling.measures.decisions import allowed_scores
from Neuron_Selection.FileFormats.inputs import Inputs
from Neuron_Selection.FileFormats.observations import Observations, rows_of
from Neuron_Selection.FileFormats.provenance import CHUNK_ROWS
from Neuron_Selection.PatchingTooling.agent.layers import Layer
from Neuron_Selection.PatchingTooling.agent.network import Network, refuse_nonfinite_scores

_NUMBERS_AT_ONCE = 1 << 18  # two megabytes of activations


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Mixtures:
    """One layer in a target and a source run of the same n inputs.

    ``target`` and ``source``: the layer's outputs, (n, *shape); ``baseline`` and ``source_q_values``: (n, n_actions),
    minus infinity for actions that the target's ``masks``, (n, n_actions), forbid; None without masks.
    """

    network: Network
    layer: Layer
    observations: Observations
    target: np.ndarray
    source: np.ndarray
    baseline: np.ndarray
    source_q_values: np.ndarray
    masks: np.ndarray | None

    @property
    def moves(self) -> np.ndarray:
        """Which neurons differ between the runs, (n, width); the others have no effect."""
        differs = np.moveaxis(self.target != self.source, self.layer.neuron_axis, 1)
        moved: np.ndarray = differs.any(axis=tuple(range(2, differs.ndim)))
        return moved

    def q_values(self, rows: np.ndarray, masks: np.ndarray) -> np.ndarray:
        """Q-values of mixtures, minus infinity for forbidden actions.

        :param rows: (m,), the input of each mixture
        :param masks: (m, width), which neurons it takes from the source
        :return: (m, n_actions)
        """
        q_values = np.empty((len(rows), self.baseline.shape[1]))
        at_once = CHUNK_ROWS * max(1, _NUMBERS_AT_ONCE // self.target[0].size // CHUNK_ROWS)
        for start in range(0, len(rows), at_once):
            part = slice(start, start + at_once)
            q_values[part] = self._some_scores(rows[part], masks[part])
        refuse_nonfinite_scores(q_values)
        return allowed_scores(q_values, None if self.masks is None else self.masks[rows])

    def _some_scores(self, rows: np.ndarray, masks: np.ndarray) -> np.ndarray:
        shape = [1] * self.target.ndim
        shape[0], shape[self.layer.neuron_axis] = masks.shape
        mixed = np.where(masks.reshape(shape), self.source[rows], self.target[rows])
        return self.network.run_on(self.layer.name, mixed, rows_of(self.observations, rows))


def mixtures_of(network: Network, layer: str, target: Inputs, source: Inputs) -> Mixtures:
    """The mixtures of one layer.

    :param source: inputs with the same ids in the same order
    """
    baseline, of_source = (
        allowed_scores(np.asarray(network.scores(inputs.observations), np.float64), target.action_masks)
        for inputs in (target, source)
    )
    return Mixtures(
        network=network,
        layer=network.layers.layers[layer],
        observations=target.observations,
        target=network.activations(target.observations, [layer])[layer],
        source=network.activations(source.observations, [layer])[layer],
        baseline=baseline,
        source_q_values=of_source,
        masks=target.action_masks,
    )
