"""Agents that the exact search for flips applies to: MLPs with ReLU, of Stable-Baselines3's own classes."""

from __future__ import annotations

from Neuron_Selection.errors import UntrustedError, UsageError, shown
from Neuron_Selection.PatchingTooling.agent.architecture import Architecture
from Neuron_Selection.PatchingTooling.experiment import OpenedAgent
from Neuron_Selection.PatchingTooling.numpy_network.mlp import fast_mlp


def open_relu_network(agent_path: str) -> OpenedAgent:
    """The agent, with the fast engine.

    :raises UsageError: another network; also a custom one, which no flag makes usable
    """
    try:
        opened = OpenedAgent(agent_path, engine="fast")
    except UntrustedError as error:
        found = str(error).partition(", expected")[0]
        supported = "only MLPs with ReLU, of Stable-Baselines3's own classes, are supported"
        raise UsageError(f"smallest flips: {supported} ({found})") from error
    except UsageError as error:
        found = str(error).removeprefix("engine fast: ").partition(", expected")[0]
        raise UsageError(f"smallest flips: only MLPs with ReLU are supported ({found})") from error
    refuse_other_than_relu(opened.architecture)
    return opened


def flips_can_be_found(opened: OpenedAgent) -> bool:
    """Whether the search applies to this agent."""
    try:
        fast_mlp(opened.agent_zip, opened.architecture)
        refuse_other_than_relu(opened.architecture)
    except UsageError:
        return False
    return True


def refuse_other_than_relu(architecture: Architecture) -> None:
    """Raise for an MLP with another activation function.

    :raises UsageError: always, unless the activation function is ReLU or there are no hidden layers
    """
    if architecture.net_arch and architecture.activation_fn != "ReLU":
        found = shown(architecture.activation_fn, quoted=False)
        raise UsageError(f"smallest flips: only MLPs with ReLU are supported (found the activation function {found})")
