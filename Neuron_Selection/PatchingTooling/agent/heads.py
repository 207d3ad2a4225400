"""Heads: what the suite needs to know of an algorithm, in addition to the class of its policy."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True, kw_only=True, slots=True)
class Head:
    """Where a policy keeps the network that chooses its actions, and how that network's outputs become scores.

    :param module: the policy's attribute that is this network; layer names and parameter names count from it
    :param copies: other attributes with the same tensors that the zip stores as well, such as a target network
    :param mlp: the name, inside ``module``, of the layers that follow the features extractor
    :param scores: what the scores are called, one for each action; the greatest decides
    """

    algorithm: str
    module: str
    copies: tuple[str, ...]
    mlp: str
    scores: str

    def scores_from(self, output: Any) -> Any:
        """One score for each action, (n, n_actions), from what the network outputs (an array or a tensor)."""
        return output

    def mlp_layers(self, n_hidden: int) -> tuple[tuple[str, str], ...]:
        """Each Linear of the MLP with the activation after it ("" after the last), as SB3's ``create_mlp`` names them.

        :param n_hidden: the number of hidden layers
        """
        hidden = ((f"{self.mlp}.{2 * number}", f"{self.mlp}.{2 * number + 1}") for number in range(n_hidden))
        return (*hidden, (f"{self.mlp}.{2 * n_hidden}", ""))

    def network_tensors(self, tensors: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """The tensors of the network, under the names that its parameters have there, such as ``q_net.0.weight``."""
        prefix = f"{self.module}."
        return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}


DQN = Head(algorithm="DQN", module="q_net", copies=("q_net_target",), mlp="q_net", scores="Q-values")
