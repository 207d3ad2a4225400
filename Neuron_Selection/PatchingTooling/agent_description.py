"""Describe an agent as a document, which ``inspect_agent.py`` prints."""

from __future__ import annotations

from typing import Any

from Neuron_Selection.errors import SuiteError
from Neuron_Selection.FileFormats.agent_zip.agent_folder import normalizer_of
from Neuron_Selection.FileFormats.agent_zip.agent_zip import AgentZip
from Neuron_Selection.FileFormats.agent_zip.inventory import AgentInventory
from Neuron_Selection.FileFormats.agent_zip.spaces import describe_space
from Neuron_Selection.FileFormats.agent_zip.vec_normalize import read_vec_normalize
from Neuron_Selection.FileFormats.scores import scores_metadata
from Neuron_Selection.PatchingTooling.agent.algorithms import UNKNOWN, algorithm_in
from Neuron_Selection.PatchingTooling.agent.architecture import Architecture
from Neuron_Selection.PatchingTooling.opened_agent import OpenedAgent


def describe_inventory(inventory: AgentInventory) -> dict[str, Any]:
    """The content of the zip, whether or not it can be loaded."""
    return {
        "size": inventory.size,
        "sha256": inventory.sha256,
        "members": list(inventory.members),
        "pickled_names": {place: list(names) for place, names in inventory.names.items()},
        "unread": inventory.unread,
        "tensors": {name: list(shape) for name, shape in inventory.tensors.items()},
        "loads": False,
    }


def describe_zip(agent: AgentZip) -> dict[str, Any]:
    """What the zip records of the agent, of any algorithm."""
    algorithm = algorithm_in(agent)
    return {
        "algorithm": "unknown (a custom policy class)" if algorithm == UNKNOWN else algorithm,
        "sb3_version": agent.sb3_version,
        "observation_space": describe_space(agent.observation_space),
        "action_space": describe_space(agent.action_space),
        "weights_sha256": agent.weights_sha256,
    }


def describe_network(agent: OpenedAgent) -> dict[str, Any]:
    """The network's architecture and layers."""
    architecture, table = agent.architecture, agent.layer_table
    return {
        "loads": True,
        **scores_metadata(architecture.head.scores),
        "custom_classes": agent.custom_classes.described,
        "policy": {
            "policy_class": architecture.policy,
            "net_arch": None if architecture.net_arch is None else list(architecture.net_arch),
            **_of_actor(architecture),
            **({"n_quantiles": architecture.head.n_quantiles} if architecture.head.n_quantiles else {}),
            "activation_fn": architecture.activation_fn,
            "features_extractor": architecture.extractor,
            "features_extractor_kwargs": {name: _plain(value) for name, value in architecture.extractor_kwargs.items()},
            "normalize_images": architecture.normalize_images,
        },
        "layers": {
            name: {"kind": layer.kind, "role": layer.role, "neurons": layer.width, "shape": list(layer.shape)}
            for name, layer in table.layers.items()
        },
        "left_out": {name: table.refused[name] for name in table.left_out},
    }


def describe_normalizer(agent: OpenedAgent) -> dict[str, Any]:
    """The statistics of VecNormalize that are used, or stored with the agent; empty without any."""
    known, path = agent.normalizer, normalizer_of(agent.folder)
    if known is not None:
        return {"vecnormalize": {"file": str(known.path), "used": True, **known.described}}
    if path is None:
        return {}
    try:
        described = read_vec_normalize(path, agent.agent_zip.observation_space).described
    except SuiteError as error:
        described = {"problem": str(error).partition(f"{path.name}: ")[2] or str(error)}
    return {"vecnormalize": {"file": str(path), "used": False, **described}}


def _of_actor(architecture: Architecture) -> dict[str, Any]:
    """What only an actor has; its ``net_arch`` is that of the policy alone."""
    if not architecture.head.critic:
        return {}
    return {
        "critic_arch": list(architecture.critic_arch),
        "shared_arch": list(architecture.shared_arch),
        "share_features_extractor": architecture.shares_extractor,
    }


def _plain(value: object) -> Any:
    return value if isinstance(value, bool | int | float | str | None) else str(value)[:200]
