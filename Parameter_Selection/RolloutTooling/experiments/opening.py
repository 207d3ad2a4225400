"""The options with which an agent was opened, to open it again in another process, or another agent likewise."""

from __future__ import annotations

from typing import Any

from Neuron_Selection.PatchingTooling.opened_agent import OpenedAgent


def options_of(agent: OpenedAgent) -> dict[str, Any]:
    """Keyword arguments of ``open_agent`` that give the same network."""
    custom = agent.custom_classes
    return {
        "engine": agent.engine,
        "device": agent.device,
        "dtype": agent.dtype,
        "trust": custom.trust,
        "features_extractor": custom.features_extractor,
        "activation_fn": custom.activation_fn,
        "policy": custom.policy,
        "vecnormalize": agent.vecnormalize,
        "allow_nonfinite": True,  # it was refused already where it is not allowed
    }
