"""What can run a network: the interface that hooks on the real ``q_net`` and the numpy engine share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

import numpy as np

from Neuron_Selection.FileFormats.observations import Observations
from Neuron_Selection.FileFormats.patch_spec import Neurons
from Neuron_Selection.PatchingTooling.agent.layers import LayerTable


class Engine(Protocol):
    """A network that can be run, recorded and patched. ``name`` is ``hooks`` or ``fast``."""

    @property
    def name(self) -> str:
        """How it is called on the command line."""

    @property
    def layers(self) -> LayerTable:
        """Every layer that it can record and patch."""

    def q_values(self, observations: Observations) -> np.ndarray:
        """Q-values, (n, n_actions)."""

    def activations(self, observations: Observations, layers: Sequence[str]) -> dict[str, np.ndarray]:
        """Outputs of layers: layer to (n, *shape)."""

    def patched_q_values(
        self, observations: Observations, source: Mapping[str, np.ndarray], patch: Mapping[str, Neurons]
    ) -> tuple[np.ndarray, dict[str, np.ndarray]]:
        """Q-values with some neurons held at the source's values, and how many values that changed in each layer.

        :param source: layer to (n, *shape)
        :return: (n, n_actions); layer to (n,)
        """

    def weights_fingerprint(self) -> str:
        """SHA-256 of the network as it is in memory now."""

    def policy_actions(self, observations: Observations) -> np.ndarray | None:
        """What the policy itself would do, (n,); None where there is no policy beside the network."""
