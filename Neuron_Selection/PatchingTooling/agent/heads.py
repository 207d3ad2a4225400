"""Heads: where a policy keeps the network that chooses its actions, and how that network's outputs become scores."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from Neuron_Selection.FileFormats.scores import LOGITS, Q_VALUES

SHARED = "mlp_extractor.shared_net"  # hidden layers of actor and critic alike, until SB3 1.8


class MlpLayer(NamedTuple):
    """A Linear, the activation after it ("" after the last), and their width."""

    linear: str
    activation: str
    width: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Head:
    """The decision network of a family of algorithms: observations to one score for each action; the greatest decides.

    :param module: the policy's attribute that is this network, "" for the policy itself; layer names and parameter
        names count from it
    :param copies: other attributes with the same tensors that the zip stores as well, such as a target network
    :param mlp: the name, inside ``module``, of the layers that follow the features extractor
    :param output: the Linear after them, "" if it is the last of ``mlp``
    :param critic: the layers, inside ``module``, that lead to a value and have no influence on the scores
    :param critic_output: the Linear after them
    :param scores: what the scores are called
    :param activation_fn: the default activation function, of torch.nn
    :param arguments: the policy's arguments in addition to those that all policies have
    :param n_quantiles: the outputs for each action, whose mean is its score; 0 where the outputs are the scores
    """

    family: str
    module: str
    copies: tuple[str, ...] = ()
    mlp: str
    output: str = ""
    critic: str = ""
    critic_output: str = ""
    scores: str
    activation_fn: str = "ReLU"
    arguments: frozenset[str] = frozenset()
    n_quantiles: int = 0

    def scores_from(self, output: Any) -> Any:
        """One score for each action, (n, n_actions), from what the last Linear outputs (an array or a tensor)."""
        return output.reshape(len(output), self.n_quantiles, -1).mean(1) if self.n_quantiles else output

    def layers(self, shared: Sequence[int], hidden: Sequence[int], n_outputs: int) -> tuple[MlpLayer, ...]:
        """Every Linear from the features to the scores, as SB3 names them.

        :param shared: widths of the hidden layers that actor and critic share, hidden: of the following ones
        """
        output = self.output or f"{self.mlp}.{2 * len(hidden)}"
        return (*_hidden(SHARED, shared), *_hidden(self.mlp, hidden), MlpLayer(output, "", n_outputs))

    def critic_layers(self, shared: Sequence[int], hidden: Sequence[int]) -> tuple[MlpLayer, ...]:
        """The same from the features to the critic's value; empty without a critic."""
        own = (*_hidden(self.critic, hidden), MlpLayer(self.critic_output, "", 1))
        return (*_hidden(SHARED, shared), *own) if self.critic else ()

    def stored_name(self, name: str) -> str:
        """The name in the zip of a layer or a parameter of the network."""
        return f"{self.module}.{name}" if self.module else name

    def is_of_critic(self, name: str) -> bool:
        """Whether a layer has no influence on the scores."""
        return bool(self.critic) and name.startswith((f"{self.critic}.", "vf_features_extractor.", self.critic_output))

    def leads_to_scores(self, name: str) -> bool:
        """Whether a layer is one of those between the features and the scores."""
        return name.startswith((f"{self.mlp}.", f"{SHARED}.")) or name == self.output


def _hidden(mlp: str, widths: Sequence[int]) -> tuple[MlpLayer, ...]:
    return tuple(MlpLayer(f"{mlp}.{2 * n}", f"{mlp}.{2 * n + 1}", width) for n, width in enumerate(widths))


DQN = Head(family="DQN", module="q_net", copies=("q_net_target",), mlp="q_net", scores=Q_VALUES)
QR_DQN = Head(
    family="QR-DQN",
    module="quantile_net",
    copies=("quantile_net_target",),
    mlp="quantile_net",
    scores=Q_VALUES,
    arguments=frozenset({"n_quantiles"}),
)
# PPO, A2C, TRPO and MaskablePPO
ACTOR = Head(
    family="actor-critic",
    module="",
    mlp="mlp_extractor.policy_net",
    output="action_net",
    critic="mlp_extractor.value_net",
    critic_output="value_net",
    scores=LOGITS,
    activation_fn="Tanh",
    arguments=frozenset(
        {
            "share_features_extractor",
            # of no influence on the logits of discrete actions
            "ortho_init",
            "log_std_init",
            "use_sde",
            "full_std",
            "use_expln",
            "squash_output",
            "sde_net_arch",
        }
    ),
)
