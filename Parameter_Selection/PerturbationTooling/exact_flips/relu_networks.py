"""Which agents the exact search for flips is for: MLPs of Stable-Baselines3, piecewise linear by their ReLUs."""

from __future__ import annotations

from Neuron_Selection.errors import UntrustedError, UsageError, shown
from Neuron_Selection.PatchingTooling.agent.architecture import Architecture
from Neuron_Selection.PatchingTooling.experiment import OpenedAgent
from Neuron_Selection.PatchingTooling.numpy_network.mlp import fast_mlp


def open_relu_network(agent_path: str) -> OpenedAgent:
    """The agent behind the fast engine.

    :raises UsageError: another network, a custom one included: no flag would let it through
    """
    try:
        opened = OpenedAgent(agent_path, engine="fast")
    except UntrustedError as error:
        found = str(error).partition(", expected")[0]
        expected = "only MLPs with ReLU, all of Stable-Baselines3's own classes"
        raise UsageError(f"smallest flips: {found}, expected {expected}") from error
    except UsageError as error:
        found = str(error).removeprefix("engine fast: ").partition(", expected")[0]
        raise UsageError(f"smallest flips: {found}, expected only MLPs with ReLU") from error
    _refuse_other_than_relu(opened.architecture)
    return opened


def flips_can_be_found(opened: OpenedAgent) -> bool:
    """Whether ``open_relu_network`` would take this agent."""
    try:
        fast_mlp(opened.agent_zip, opened.architecture)
        _refuse_other_than_relu(opened.architecture)
    except UsageError:
        return False
    return True


def _refuse_other_than_relu(architecture: Architecture) -> None:
    if architecture.net_arch and architecture.activation_fn != "ReLU":
        found = shown(architecture.activation_fn, quoted=False)
        raise UsageError(f"smallest flips: found the activation function {found}, expected only MLPs with ReLU")
