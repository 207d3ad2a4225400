"""The numpy engine behind the interface of ``Engine``: MLPs in float64, without torch."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from Neuron_Selection.FileFormats.observations import Observations
from Neuron_Selection.FileFormats.patch_spec import Neurons
from Neuron_Selection.PatchingTooling.agent.layers import LayerTable
from Neuron_Selection.PatchingTooling.numpy_network import mlp as fast_mlp
from Neuron_Selection.PatchingTooling.numpy_network import patches as fast_patches
from Neuron_Selection.PatchingTooling.numpy_network.mlp import FastMlp


@dataclass(frozen=True, kw_only=True, slots=True)
class FastEngine:
    """See ``Engine``."""

    network: FastMlp
    name: str = "fast"

    @property
    def layers(self) -> LayerTable:
        """Every layer that it can record and patch."""
        return self.network.layers

    def q_values(self, observations: Observations) -> np.ndarray:
        """Q-values, (n, n_actions), float64."""
        return fast_mlp.compute_q_values(self.network, observations)

    def activations(self, observations: Observations, layers: Sequence[str]) -> dict[str, np.ndarray]:
        """Outputs of layers: layer to (n, width), float64."""
        return fast_mlp.record_activations(self.network, observations, layers)

    def patched_q_values(
        self, observations: Observations, source: Mapping[str, np.ndarray], patch: Mapping[str, Neurons]
    ) -> tuple[np.ndarray, dict[str, np.ndarray]]:
        """Q-values with some neurons held at the source's values, and how many values that changed."""
        return fast_patches.compute_patched_q_values(self.network, observations, source, patch)

    def weights_fingerprint(self) -> str:
        """SHA-256 of the weights in memory."""
        digest = hashlib.sha256()
        for array in (*self.network.columns, *self.network.biases):
            digest.update(np.ascontiguousarray(array).tobytes())
        return digest.hexdigest()

    def policy_actions(self, observations: Observations) -> None:
        """There is no policy beside the network."""
        return
