"""Agents that the search for flips applies to: MLPs of Stable-Baselines3's own classes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from Neuron_Selection.errors import EngineError, InputError, UntrustedError, UsageError
from Neuron_Selection.PatchingTooling.agent.stored_sizes import refuse_nonfinite
from Neuron_Selection.PatchingTooling.opened_agent import OpenedAgent


def open_supported_network(agent_path: str, **options: Any) -> OpenedAgent:
    """The agent, checked to be one that the search applies to; no custom class is imported.

    :param options: as for ``OpenedAgent``
    :raises UsageError: another network; also a custom one, which no flag makes usable
    """
    try:
        agent = OpenedAgent(agent_path, **{**options, "allow_nonfinite": True})  # refused below, without advice
    except UntrustedError as error:
        normalizer = options.get("vecnormalize")
        if normalizer is not None and Path(error.file).name == Path(normalizer).name:
            raise  # of the statistics of observations, whatever the network is
        found = str(error).partition(", expected")[0]
        supported = "only MLPs, of Stable-Baselines3's own classes, are supported"
        raise UsageError(supported, field="smallest flips", hint=found) from error
    try:
        _ = agent.numpy_network
    except EngineError as error:
        found = f"{error.field}: found {error.found}"
        raise UsageError("only MLPs are supported", field="smallest flips", hint=found) from error
    refuse_unsupported(agent)
    return agent


def flips_can_be_found(agent: OpenedAgent) -> bool:
    """Whether the search applies to this agent."""
    try:
        _ = agent.numpy_network
        refuse_unsupported(agent)
    except UsageError:
        return False
    return True


def is_searched_exactly(agent: OpenedAgent) -> bool:
    """Whether the scores are piecewise linear in each weight; otherwise flips are bracketed."""
    has_hidden_layers = len(agent.architecture.layers) > 1
    return not has_hidden_layers or agent.architecture.activation_fn == "ReLU"


def refuse_unsupported(agent: OpenedAgent) -> None:
    """Raise for weights that are NaN or infinite.

    :raises UsageError: there are some
    """
    try:
        refuse_nonfinite(agent.agent_zip)
    except InputError as error:
        found = f"found {error.found} in {error.field}"
        raise UsageError("only finite weights are supported", field="smallest flips", hint=found) from error
