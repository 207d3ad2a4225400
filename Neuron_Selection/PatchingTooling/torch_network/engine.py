"""The engine that defines what is true: forward hooks on the real ``q_net`` of Stable-Baselines3."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from Neuron_Selection.FileFormats.agent_zip.tensors import weights_sha256
from Neuron_Selection.FileFormats.observations import Observations
from Neuron_Selection.FileFormats.patch_spec import Neurons
from Neuron_Selection.PatchingTooling.agent.layers import LayerTable
from Neuron_Selection.PatchingTooling.torch_network.agents import Agent
from Neuron_Selection.PatchingTooling.torch_network.q_values import (
    compute_patched_q_values,
    compute_policy_actions,
    compute_q_values,
    record_activations,
)


@dataclass(frozen=True, kw_only=True, slots=True)
class HooksEngine:
    """See ``Engine``."""

    agent: Agent
    name: str = "hooks"

    @property
    def layers(self) -> LayerTable:
        """Every layer that it can record and patch."""
        return self.agent.layers

    def q_values(self, observations: Observations) -> np.ndarray:
        """Q-values, (n, n_actions)."""
        return compute_q_values(self.agent, observations)

    def activations(self, observations: Observations, layers: Sequence[str]) -> dict[str, np.ndarray]:
        """Outputs of layers: layer to (n, *shape)."""
        return record_activations(self.agent, observations, layers)

    def patched_q_values(
        self, observations: Observations, source: Mapping[str, np.ndarray], patch: Mapping[str, Neurons]
    ) -> tuple[np.ndarray, dict[str, np.ndarray]]:
        """Q-values with some neurons held at the source's values, and how many values that changed."""
        return compute_patched_q_values(self.agent, observations, source, patch)

    def weights_fingerprint(self) -> str:
        """SHA-256 of the parameters and buffers in memory."""
        state = self.agent.q_net.state_dict()
        return weights_sha256({name: tensor.detach().cpu().numpy() for name, tensor in state.items()})

    def policy_actions(self, observations: Observations) -> np.ndarray:
        """The greedy actions of SB3's own policy."""
        return compute_policy_actions(self.agent, observations)
