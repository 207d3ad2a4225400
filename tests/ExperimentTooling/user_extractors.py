"""Features extractors as users write them: activations called as functions, norms, residuals, modules used twice."""

from __future__ import annotations

import torch
from gymnasium import spaces
from stable_baselines3.common.torch_layers import BaseFeaturesExtractor
from torch import nn
from torch.nn import functional


class FunctionalCnn(BaseFeaturesExtractor):
    """Convolutions of 16 and 32 channels and a Linear of 24, with ``functional.relu``; 6 x 6 images."""

    def __init__(self, observation_space: spaces.Box) -> None:
        super().__init__(observation_space, 24)
        self.first = nn.Conv2d(observation_space.shape[0], 16, 3)
        self.second = nn.Conv2d(16, 32, 3)
        self.linear = nn.Linear(32 * 2 * 2, 24)

    def forward(self, observations: torch.Tensor) -> torch.Tensor:
        hidden = functional.relu(self.second(functional.relu(self.first(observations))))
        return functional.relu(self.linear(hidden.flatten(1)))


class NormedMlp(BaseFeaturesExtractor):
    """Norms between each Linear and its ReLU."""

    def __init__(self, observation_space: spaces.Box) -> None:
        super().__init__(observation_space, 5)
        width = observation_space.shape[0]
        self.net = nn.Sequential(
            nn.Linear(width, 7), nn.BatchNorm1d(7), nn.ReLU(), nn.Linear(7, 5), nn.LayerNorm(5), nn.ReLU()
        )

    def forward(self, observations: torch.Tensor) -> torch.Tensor:
        return self.net(observations)


class WithLayersOfOtherKinds(BaseFeaturesExtractor):
    """An Embedding, a Linear that fires twice, one that never fires, and a slope of its own."""

    def __init__(self, observation_space: spaces.Box) -> None:
        super().__init__(observation_space, 6)
        width = observation_space.shape[0]
        self.words = nn.Embedding(6, 6)
        self.inward = nn.Linear(width, 6)
        self.twice = nn.Linear(6, 6)
        self.never = nn.Linear(2, 2)
        self.slope = nn.Parameter(torch.ones(6))

    def forward(self, observations: torch.Tensor) -> torch.Tensor:
        hidden = functional.relu(self.inward(observations)) + self.words((observations[:, 0] > 0).long())
        return self.slope * self.twice(functional.relu(self.twice(hidden)))


class Residual(BaseFeaturesExtractor):
    """``relu(second(x) + x)``: the ReLU fires right after the second Linear and reads more than its output."""

    def __init__(self, observation_space: spaces.Box) -> None:
        super().__init__(observation_space, 6)
        self.first, self.second = nn.Linear(observation_space.shape[0], 6), nn.Linear(6, 6)
        self.relu = nn.ReLU()

    def forward(self, observations: torch.Tensor) -> torch.Tensor:
        hidden = functional.relu(self.first(observations))
        return self.relu(self.second(hidden) + hidden)


class Tied(BaseFeaturesExtractor):
    """Two layers of one weight, and one layer under two names."""

    def __init__(self, observation_space: spaces.Box) -> None:
        super().__init__(observation_space, 4)
        self.a, self.b = nn.Linear(4, 4), nn.Linear(4, 4)
        self.b.weight = self.a.weight
        self.again = self.a

    def forward(self, observations: torch.Tensor) -> torch.Tensor:
        return torch.tanh(self.b(torch.tanh(self.a(observations))))
