"""Custom policies of actors: one with hidden layers of its own, and one whose actions are not those of action_net."""

from __future__ import annotations

import torch
from stable_baselines3.common.policies import ActorCriticPolicy
from torch import nn


class OwnLayers(nn.Module):
    """Hidden layers of actor and critic."""

    def __init__(self, n_features: int) -> None:
        super().__init__()
        self.latent_dim_pi, self.latent_dim_vf = 12, 7
        self.policy_net = nn.Sequential(nn.Linear(n_features, 12), nn.ReLU())
        self.value_net = nn.Sequential(nn.Linear(n_features, 7), nn.ReLU())

    def forward(self, features: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return self.forward_actor(features), self.forward_critic(features)

    def forward_actor(self, features: torch.Tensor) -> torch.Tensor:
        return self.policy_net(features)

    def forward_critic(self, features: torch.Tensor) -> torch.Tensor:
        return self.value_net(features)


class OwnPolicy(ActorCriticPolicy):
    """A custom policy with hidden layers of its own."""

    def _build_mlp_extractor(self) -> None:
        self.mlp_extractor = OwnLayers(self.features_dim)


class Contrary(ActorCriticPolicy):
    """A custom policy that prefers the action of the least output."""

    def _get_action_dist_from_latent(self, latent: torch.Tensor) -> object:
        return self.action_dist.proba_distribution(action_logits=-self.action_net(latent))
