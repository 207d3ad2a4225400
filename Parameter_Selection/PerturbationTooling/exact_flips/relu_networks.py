"""Agents that the exact search for flips applies to: MLPs with ReLU, of Stable-Baselines3's own classes."""

from __future__ import annotations

from Neuron_Selection.errors import UntrustedError, UsageError, shown
from Neuron_Selection.PatchingTooling.agent.architecture import Architecture
from Neuron_Selection.PatchingTooling.opened_agent import OpenedAgent


def open_relu_network(agent_path: str) -> OpenedAgent:
    """The agent, with the numpy engine.

    :raises UsageError: another network; also a custom one, which no flag makes usable
    """
    try:
        agent = OpenedAgent(agent_path, engine="numpy")
    except UntrustedError as error:
        found = str(error).partition(", expected")[0]
        supported = "only MLPs with ReLU, of Stable-Baselines3's own classes, are supported"
        raise UsageError(f"smallest flips: {supported} ({found})") from error
    except UsageError as error:
        found = str(error).removeprefix("engine numpy: ").partition(", expected")[0]
        raise UsageError(f"smallest flips: only MLPs with ReLU are supported ({found})") from error
    refuse_other_than_relu(agent.architecture)
    return agent


def flips_can_be_found(agent: OpenedAgent) -> bool:
    """Whether the search applies to this agent."""
    try:
        _ = agent.numpy_network
        refuse_other_than_relu(agent.architecture)
    except UsageError:
        return False
    return True


def refuse_other_than_relu(architecture: Architecture) -> None:
    """Raise for an MLP with another activation function.

    :raises UsageError: always, unless the activation function is ReLU or there are no hidden layers
    """
    if architecture.head.n_quantiles > 1:
        raise UsageError("smallest flips: only MLPs with ReLU are supported (found the mean over quantiles)")
    if architecture.net_arch and architecture.activation_fn != "ReLU":
        found = shown(architecture.activation_fn, quoted=False)
        raise UsageError(f"smallest flips: only MLPs with ReLU are supported (found the activation function {found})")
