"""Q-values of mixtures: each row of one layer takes some neurons from the source run and keeps the others.

A mixture is the patch ``do(C <- source)`` with a set C of its own in every row, so that the searches of a hundred pairs
go through the network side by side. The rows start at the layer itself: nothing before it is run again.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from Neuron_Selection.FileFormats.inputs import Inputs
from Neuron_Selection.FileFormats.observations import Observations, rows_of
from Neuron_Selection.FileFormats.provenance import CHUNK_ROWS
from Neuron_Selection.PatchingTooling.agent.engines import Engine
from Neuron_Selection.PatchingTooling.agent.layers import Layer
from Neuron_Selection.PatchingTooling.numpy_network.engine import FastEngine
from Neuron_Selection.PatchingTooling.numpy_network.mlp import FastMlp, refuse_nonfinite_q_values
from Neuron_Selection.PatchingTooling.numpy_network.products import LANES, filled_array, filled_up, product

_NUMBERS_AT_ONCE = 1 << 18  # two megabytes of activations


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Mixtures:
    """One layer in a target and a source run of the same n inputs.

    ``target`` and ``source``: the layer's outputs, (n, *shape); ``baseline`` and ``source_q_values``: (n, n_actions).
    """

    engine: Engine
    layer: Layer
    observations: Observations
    target: np.ndarray
    source: np.ndarray
    baseline: np.ndarray
    source_q_values: np.ndarray

    @property
    def moves(self) -> np.ndarray:
        """Which neurons differ between the runs, (n, width); the others cannot matter."""
        differs = np.moveaxis(self.target != self.source, self.layer.neuron_axis, 1)
        moved: np.ndarray = differs.reshape(len(differs), self.layer.width, -1).any(axis=2)
        return moved

    def q_values(self, rows: np.ndarray, masks: np.ndarray) -> np.ndarray:
        """Q-values of mixtures.

        :param rows: (m,), which input each mixture is of
        :param masks: (m, width), which neurons it takes from the source
        :return: (m, n_actions)
        """
        q_values = np.empty((len(rows), self.baseline.shape[1]))
        at_once = CHUNK_ROWS * max(1, _NUMBERS_AT_ONCE // self.target[0].size // CHUNK_ROWS)
        for start in range(0, len(rows), at_once):
            part = slice(start, start + at_once)
            q_values[part] = self._some_q_values(rows[part], masks[part])
        refuse_nonfinite_q_values(q_values)
        return q_values

    def _some_q_values(self, rows: np.ndarray, masks: np.ndarray) -> np.ndarray:
        shape = [1] * self.target.ndim
        shape[0], shape[self.layer.neuron_axis] = masks.shape
        mixed = np.where(masks.reshape(shape), self.source[rows], self.target[rows])
        if isinstance(self.engine, FastEngine):
            return _run_on(self.engine.network, self.layer.name, mixed)
        from Neuron_Selection.PatchingTooling.torch_network.chains import chain_of, compute_q_values_from
        from Neuron_Selection.PatchingTooling.torch_network.engine import HooksEngine

        if isinstance(self.engine, HooksEngine) and self.layer.name in chain_of(self.engine.agent.q_net):
            return compute_q_values_from(self.engine.agent, self.layer.name, mixed)
        observations, name = rows_of(self.observations, rows), self.layer.name
        return self.engine.patched_q_values(observations, {name: mixed}, {name: "all"})[0]


def mixtures_of(engine: Engine, layer: str, target: Inputs, source: Inputs) -> Mixtures:
    """The mixtures of one layer.

    :param source: inputs with the same ids in the same order
    """
    return Mixtures(
        engine=engine,
        layer=engine.layers.layers[layer],
        observations=target.observations,
        target=engine.activations(target.observations, [layer])[layer],
        source=engine.activations(source.observations, [layer])[layer],
        baseline=np.asarray(engine.q_values(target.observations), np.float64),
        source_q_values=np.asarray(engine.q_values(source.observations), np.float64),
    )


def _run_on(network: FastMlp, layer: str, outputs: np.ndarray) -> np.ndarray:
    """Q-values from a layer's outputs, (m, width) to (m, n_actions)."""
    position = network.names.index(layer)
    width = filled_up(outputs.shape[1], LANES)
    values = filled_array(outputs, (filled_up(len(outputs), CHUNK_ROWS), width))
    for following in range(position + 1, 2 * len(network.columns)):
        if following % 2:
            values = product(values, network.columns[following // 2])
            values += network.biases[following // 2]
        else:
            values = network.activations[following // 2 - 1].compute(values)
    return values[: len(outputs), : network.n_actions]
