"""Layers that actor and critic share, ``[128, {"pi": ..}]``: Stable-Baselines3 had them until 1.8.

It cannot build them any more; the same modules under the same names are put into one of its policies.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from Neuron_Selection.PatchingTooling.agent.architecture import Architecture


class SharedMlpExtractor(nn.Module):
    """Features to the inputs of ``action_net`` and of ``value_net``."""

    def __init__(self, n_features: int, architecture: Architecture, activation_fn: type[nn.Module]) -> None:
        super().__init__()
        shared, own, of_critic = architecture.shared_arch, architecture.net_arch or (), architecture.critic_arch
        self.shared_net = _mlp(n_features, shared, activation_fn)
        self.policy_net = _mlp(shared[-1], own, activation_fn)
        self.value_net = _mlp(shared[-1], of_critic, activation_fn)
        self.latent_dim_pi, self.latent_dim_vf = (*shared, *own)[-1], (*shared, *of_critic)[-1]

    def forward_actor(self, features: torch.Tensor) -> torch.Tensor:
        """What ``action_net`` reads."""
        read: torch.Tensor = self.policy_net(self.shared_net(features))
        return read

    def forward_critic(self, features: torch.Tensor) -> torch.Tensor:
        """What ``value_net`` reads."""
        read: torch.Tensor = self.value_net(self.shared_net(features))
        return read


def add_shared_layers(policy: Any, architecture: Architecture) -> None:
    """Replace the layers of a policy after its features extractor."""
    mlp = SharedMlpExtractor(policy.features_dim, architecture, policy.activation_fn)
    policy.mlp_extractor = mlp
    policy.action_net = nn.Linear(mlp.latent_dim_pi, architecture.n_actions)
    policy.value_net = nn.Linear(mlp.latent_dim_vf, 1)


def _mlp(n_inputs: int, widths: Sequence[int], activation_fn: type[nn.Module]) -> nn.Sequential:
    layers: list[nn.Module] = []
    for width in widths:
        layers += [nn.Linear(n_inputs, width), activation_fn()]
        n_inputs = width
    return nn.Sequential(*layers)
