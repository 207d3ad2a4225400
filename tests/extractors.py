"""Custom classes as users write them; tests import this file by name, or hand it over as ``FILE.py:Class``."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import torch
from gymnasium import spaces
from stable_baselines3.common.torch_layers import BaseFeaturesExtractor
from stable_baselines3.dqn.policies import DQNPolicy, QNetwork
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


class ChannelsLast(BaseFeaturesExtractor):
    """Convolutions that compute with the channels last in memory, as people do for speed."""

    def __init__(self, observation_space: spaces.Box, features_dim: int = 16) -> None:
        super().__init__(observation_space, features_dim)
        self.cnn = nn.Sequential(
            nn.Conv2d(observation_space.shape[0], 24, 5), nn.ReLU(), nn.Conv2d(24, 16, 3), nn.ReLU()
        )
        self.linear = nn.Linear(16, features_dim)

    def forward(self, observations: torch.Tensor) -> torch.Tensor:
        return self.linear(self.cnn(observations.to(memory_format=torch.channels_last)).mean(dim=(2, 3)))


class Widths(BaseFeaturesExtractor):
    """Linears of widths that must be a tuple, since they are joined to one."""

    def __init__(self, observation_space: spaces.Box, widths: tuple[int, ...]) -> None:
        super().__init__(observation_space, widths[-1])
        sides = observation_space.shape + widths
        self.net = nn.Sequential(*(nn.Linear(columns, rows) for columns, rows in pairwise(sides)))

    def forward(self, observations: torch.Tensor) -> torch.Tensor:
        return self.net(observations)


class Lazy(BaseFeaturesExtractor):
    """A Linear that takes its width from what it is first given."""

    def __init__(self, observation_space: spaces.Box) -> None:
        super().__init__(observation_space, 5)
        self.linear = nn.LazyLinear(5)

    def forward(self, observations: torch.Tensor) -> torch.Tensor:
        return self.linear(observations)


class Functional(BaseFeaturesExtractor):
    """A Linear followed by a function that is an argument."""

    def __init__(self, observation_space: spaces.Box, bend: Callable[[torch.Tensor], torch.Tensor]) -> None:
        super().__init__(observation_space, 5)
        self.linear = nn.Linear(observation_space.shape[0], 5)
        self.bend = bend

    def forward(self, observations: torch.Tensor) -> torch.Tensor:
        return self.bend(self.linear(observations))


class Duel(nn.Module):
    """A value and advantages; no single layer gives the Q-values."""

    def __init__(self, width: int, n_actions: int) -> None:
        super().__init__()
        self.value = nn.Sequential(nn.Linear(width, 5), nn.ReLU(), nn.Linear(5, 1))
        self.advantage = nn.Sequential(nn.Linear(width, 6), nn.ReLU(), nn.Linear(6, n_actions))

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        advantage = self.advantage(features)
        return self.value(features) + advantage - advantage.mean(dim=1, keepdim=True)


class DuellingNetwork(QNetwork):
    """A Q-network with a head of its own."""

    def __init__(self, *arguments: object, **more: object) -> None:
        super().__init__(*arguments, **more)
        self.q_net = Duel(self.features_dim, int(self.action_space.n))


class DuellingPolicy(DQNPolicy):
    """A duelling DQN (Wang et al. 2016)."""

    def make_q_net(self) -> QNetwork:
        arguments = self._update_features_extractor(self.net_args, features_extractor=None)
        return DuellingNetwork(**arguments).to(self.device)
