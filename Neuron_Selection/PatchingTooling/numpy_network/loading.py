"""Build a ``NumpyNetwork`` from an agent's zip, or refuse by naming the layer that numpy does not compute."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from Neuron_Selection.errors import EngineError, shown
from Neuron_Selection.FileFormats.agent_zip.agent_zip import AgentZip
from Neuron_Selection.FileFormats.agent_zip.spaces import DictSpace, LeafSpace, MultiDiscreteSpace
from Neuron_Selection.PatchingTooling.agent.activation_functions import ACTIVATION_FUNCTIONS, activation_function
from Neuron_Selection.PatchingTooling.agent.architecture import Architecture, is_image
from Neuron_Selection.PatchingTooling.agent.custom_classes import is_custom
from Neuron_Selection.PatchingTooling.agent.heads import MlpLayer
from Neuron_Selection.PatchingTooling.agent.layers import Layer, LayerTable, mlp_layers, refused_names
from Neuron_Selection.PatchingTooling.agent.network import Linear
from Neuron_Selection.PatchingTooling.numpy_network.actor_critic import NumpyActorCritic
from Neuron_Selection.PatchingTooling.numpy_network.network import NumpyNetwork
from Neuron_Selection.PatchingTooling.numpy_network.products import LANES, padded, padded_array
from Neuron_Selection.PatchingTooling.numpy_network.quantiles import quantile_network

_MEAN_LIMIT = 1 << 22  # numbers, 32 MiB: actions x outputs of the matrix that takes the mean over quantiles
_FLATTEN = "features_extractor.flatten"


def build_numpy_network(agent: AgentZip, architecture: Architecture) -> NumpyNetwork:
    """The network that the zip stores.

    :param architecture: of the same zip, with its sizes checked
    :raises EngineError: a layer that only the torch engine can compute, by name
    """
    layers, space, key = _layers(agent, architecture)
    head = architecture.head
    first = next(iter(layers.layers))
    linears = _linears(agent, architecture, architecture.layers, reads=first)
    if head.n_quantiles:
        linears = _with_mean(linears, architecture)
    network = NumpyNetwork(
        layers=layers, space=space, key=key, normalize_images=architecture.normalize_images, linears=linears
    )
    if head.n_quantiles:
        return quantile_network(network)
    if not head.critic:
        return network
    reads = first if architecture.shares_extractor else list(layers.layers)[1]
    of_critic = _linears(agent, architecture, architecture.critic_layers, reads=reads)
    return NumpyActorCritic(**vars(network), critic=replace(network, linears=of_critic))


def _linears(
    agent: AgentZip, architecture: Architecture, layers: tuple[MlpLayer, ...], *, reads: str
) -> tuple[Linear, ...]:
    """The Linear layers of one MLP.

    :param reads: the layer whose output the first one reads
    """
    tensors = agent.network_tensors
    linears: list[Linear] = []
    for name, activation, _ in layers:
        weight, slope = tensors[f"{name}.weight"], tensors.get(f"{activation}.weight")
        function = None
        if activation:
            function = activation_function(architecture.activation_fn, None if slope is None else float(slope.item()))
        bias = tensors[f"{name}.bias"]
        linears.append(_linear(weight, bias, name=name, reads=reads, activation=activation, function=function))
        reads = activation
    return tuple(linears)


def _linear(weight: np.ndarray, bias: np.ndarray, **names: Any) -> Linear:
    n_outputs, n_inputs = weight.shape
    width = padded(n_outputs, LANES)
    return Linear(
        columns=padded_array(weight.T, (padded(n_inputs, LANES), width)),
        bias=padded_array(bias, (width,)),
        n_inputs=n_inputs,
        n_outputs=n_outputs,
        **names,
    )


def _with_mean(linears: tuple[Linear, ...], architecture: Architecture) -> tuple[Linear, ...]:
    """The layers with one more, without a name: the mean over the quantiles of each action."""
    n_actions, n_quantiles = architecture.n_actions, architecture.head.n_quantiles
    if n_actions * n_actions * n_quantiles > _MEAN_LIMIT:
        raise _refused(linears[-1].name, "quantiles of too many actions for a mean as a matrix")
    weight = np.tile(np.eye(n_actions), n_quantiles) / n_quantiles  # outputs are quantiles x actions
    mean = _linear(weight, np.zeros(n_actions), name="", reads="", activation="", function=None)
    return (*linears[:-1], replace(linears[-1], function=activation_function("Identity")), mean)


def _layers(agent: AgentZip, architecture: Architecture) -> tuple[LayerTable, LeafSpace, str | None]:
    """The layers, the space of what the first one reads, and its key if that is a part of a Dict."""
    if is_custom(architecture.policy):
        raise _refused(
            architecture.head.module or "mlp_extractor", f"the custom policy {shown(architecture.policy, quoted=False)}"
        )
    if is_custom(architecture.extractor):
        raise _refused("features_extractor", f"the custom class {shown(architecture.extractor, quoted=False)}")
    if architecture.extractor == "NatureCNN":
        raise _refused("features_extractor.cnn.0", "a convolution")
    activations = [
        layer.activation for layer in (*architecture.layers, *architecture.critic_layers) if layer.activation
    ]
    if activations and architecture.activation_fn not in ACTIVATION_FUNCTIONS:
        found = f"the activation function {shown(architecture.activation_fn, quoted=False)}"
        raise _refused(activations[0], found)
    space, key = agent.observation_space, None
    if isinstance(space, DictSpace):
        (key, space), *others = space.spaces.items()
        if is_image(space, architecture):
            raise _refused(f"features_extractor.extractors.{key}.cnn.0", "a convolution")
        if others:
            raise _refused(f"features_extractor.extractors.{others[0][0]}", "a second part of a Dict observation")
    if isinstance(space, MultiDiscreteSpace) and space.nvec.ndim != 1:
        raise _refused(_FLATTEN, f"MultiDiscrete observations of {space.nvec.ndim} axes")
    table = mlp_layers(replace(architecture, extractor="FlattenExtractor"), space)
    if table is None:
        raise _refused("features_extractor", shown(architecture.extractor, quoted=False))
    return (table if key is None else _named_for_dict(table, key)), space, key


def _refused(layer: str, found: str) -> EngineError:
    return EngineError(
        file="engine numpy",
        field=f"layer {layer}",
        found=found,
        expected="Flatten, Linear and activation functions of torch.nn only",
        hint="--engine torch computes every network",
    )


def _named_for_dict(table: LayerTable, key: str) -> LayerTable:
    """The table of an MLP whose features are one part of a Dict: CombinedExtractor flattens it under its key."""
    layers: dict[str, Layer] = {}
    containers: list[str] = []
    for name, layer in table.layers.items():
        extractor, _, module = name.partition(".")
        if module == "flatten":
            containers.append(f"{extractor}.extractors")
            renamed = f"{extractor}.extractors.{key}"
            layers[renamed] = replace(layer, name=renamed, is_cut=False)
        else:
            layers[name] = layer
    return LayerTable(module=table.module, layers=layers, refused={**table.refused, **refused_names(containers, [])})
