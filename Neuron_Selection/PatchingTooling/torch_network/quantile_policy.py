"""The policy of QR-DQN (Dabney et al. 2018) from Stable-Baselines3's own parts, with the names that sb3_contrib stores.

Results cannot depend on whether sb3_contrib is installed; where it is, tests compare the two bit for bit.
"""

from __future__ import annotations

from typing import Any

import torch
from stable_baselines3.common.policies import BasePolicy
from stable_baselines3.common.torch_layers import create_mlp
from stable_baselines3.dqn.policies import DQNPolicy
from torch import nn


class QuantileNetwork(BasePolicy):
    """Observations to quantiles of the return of each action, (n, n_quantiles, n_actions)."""

    def __init__(
        self,
        *,
        features_dim: int,
        n_quantiles: int,
        net_arch: list[int],
        activation_fn: type[nn.Module],
        action_space: Any,
        **arguments: Any,
    ) -> None:
        super().__init__(action_space=action_space, **arguments)
        self.activation_fn = activation_fn
        self.shape = (n_quantiles, int(action_space.n))
        self.quantile_net = nn.Sequential(
            *create_mlp(features_dim, n_quantiles * int(action_space.n), net_arch, activation_fn)
        )

    def forward(self, observations: Any) -> torch.Tensor:
        """All quantiles."""
        quantiles: torch.Tensor = self.quantile_net(self.extract_features(observations, self.features_extractor))
        return quantiles.view(-1, *self.shape)

    def _predict(self, observation: Any, deterministic: bool = True) -> torch.Tensor:  # noqa: FBT001, FBT002 - SB3's
        return self(observation).mean(dim=1).argmax(dim=1)  # type: ignore[no-any-return]


class QuantilePolicy(DQNPolicy):
    """A ``DQNPolicy`` with quantile networks."""

    def __init__(self, *arguments: Any, n_quantiles: int, **settings: Any) -> None:
        self.n_quantiles = n_quantiles
        super().__init__(*arguments, **settings)

    def _build(self, lr_schedule: Any) -> None:
        self.quantile_net, self.quantile_net_target = self._quantile_net(), self._quantile_net()

    def _quantile_net(self) -> QuantileNetwork:
        arguments = self._update_features_extractor(self.net_args, features_extractor=None)
        return QuantileNetwork(n_quantiles=self.n_quantiles, **arguments).to(self.device)

    def _predict(self, obs: Any, deterministic: bool = True) -> torch.Tensor:  # noqa: FBT001, FBT002 - SB3's
        return self.quantile_net._predict(obs)  # noqa: SLF001 - of the same policy

    def set_training_mode(self, mode: bool) -> None:  # noqa: FBT001 - SB3's
        """See SB3."""
        self.quantile_net.set_training_mode(mode)
        self.training = mode
