"""Custom classes as users write them; tests import this file by name, or hand it over as ``FILE.py:Class``."""

from __future__ import annotations

import torch
from gymnasium import spaces
from stable_baselines3.common.torch_layers import BaseFeaturesExtractor
from stable_baselines3.dqn.policies import DQNPolicy
from torch import nn


class MinigridFeaturesExtractor(BaseFeaturesExtractor):
    """A small convolutional network on MiniGrid's 7 x 7 images, as in MiniGrid's own documentation."""

    def __init__(
        self, observation_space: spaces.Box, features_dim: int = 32, activation: type[nn.Module] = nn.ReLU
    ) -> None:
        super().__init__(observation_space, features_dim)
        self.cnn = nn.Sequential(
            nn.Conv2d(observation_space.shape[0], 4, (2, 2)),
            activation(),
            nn.Conv2d(4, 6, (2, 2)),
            activation(),
            nn.Flatten(),
        )
        with torch.no_grad():
            width = self.cnn(torch.as_tensor(observation_space.sample()[None]).float()).shape[1]
        self.linear = nn.Sequential(nn.Linear(width, features_dim), nn.ReLU())

    def forward(self, observations: torch.Tensor) -> torch.Tensor:
        return self.linear(self.cnn(observations))


class MlpOfDict(BaseFeaturesExtractor):
    """What the published agents have: ``Dict {MLP_input: 106}`` through ``features_extractor.mlp``."""

    def __init__(self, observation_space: spaces.Dict, features_dim: int = 64) -> None:
        super().__init__(observation_space, features_dim)
        width = observation_space["MLP_input"].shape[0]
        self.mlp = nn.Sequential(nn.Linear(width, features_dim), nn.ReLU())

    def forward(self, observations: dict[str, torch.Tensor]) -> torch.Tensor:
        return self.mlp(observations["MLP_input"])


class Swish(nn.Module):
    """A custom activation function."""

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        return values * torch.sigmoid(1.5 * values)


class QuietPolicy(DQNPolicy):
    """A custom policy with an argument of its own."""

    def __init__(self, *arguments: object, loudness: int = 0, **more: object) -> None:
        self.loudness = loudness
        super().__init__(*arguments, **more)


class NoExtractor:
    """A class of another kind."""
