"""Build a ``NumpyNetwork`` from an agent's zip, or refuse by naming the layer that numpy does not compute."""

from __future__ import annotations

from dataclasses import replace

from Neuron_Selection.errors import EngineError, shown
from Neuron_Selection.FileFormats.agent_zip.agent_zip import AgentZip
from Neuron_Selection.FileFormats.agent_zip.spaces import DictSpace, LeafSpace, MultiDiscreteSpace
from Neuron_Selection.PatchingTooling.agent.activation_functions import ACTIVATION_FUNCTIONS, activation_function
from Neuron_Selection.PatchingTooling.agent.architecture import Architecture, is_image
from Neuron_Selection.PatchingTooling.agent.custom_classes import is_custom
from Neuron_Selection.PatchingTooling.agent.layers import LayerTable, mlp_layers, refused_names
from Neuron_Selection.PatchingTooling.agent.network import Linear
from Neuron_Selection.PatchingTooling.numpy_network.network import NumpyNetwork
from Neuron_Selection.PatchingTooling.numpy_network.products import LANES, padded, padded_array

_FLATTEN = "features_extractor.flatten"


def build_numpy_network(agent: AgentZip, architecture: Architecture) -> NumpyNetwork:
    """The network that the zip stores.

    :param architecture: of the same zip, with its sizes checked
    :raises EngineError: a layer that only the torch engine can compute, by name
    """
    layers, space, key = _layers(agent, architecture)
    tensors = architecture.head.network_tensors(agent.tensors)
    linears: list[Linear] = []
    reads = next(iter(layers.layers))
    for name, activation in architecture.head.mlp_layers(len(architecture.net_arch or ())):
        weight, slope = tensors[f"{name}.weight"], tensors.get(f"{activation}.weight")
        n_outputs, n_inputs = weight.shape
        width = padded(n_outputs, LANES)
        function = None
        if activation:
            function = activation_function(architecture.activation_fn, None if slope is None else float(slope.item()))
        linears.append(
            Linear(
                name=name,
                reads=reads,
                columns=padded_array(weight.T, (padded(n_inputs, LANES), width)),
                bias=padded_array(tensors[f"{name}.bias"], (width,)),
                n_inputs=n_inputs,
                n_outputs=n_outputs,
                activation=activation,
                function=function,
            )
        )
        reads = activation
    return NumpyNetwork(
        layers=layers,
        space=space,
        key=key,
        normalize_images=architecture.normalize_images,
        linears=tuple(linears),
    )


def _layers(agent: AgentZip, architecture: Architecture) -> tuple[LayerTable, LeafSpace, str | None]:
    """The layers, the space of what the first one reads, and its key if that is a part of a Dict."""
    first_activation = architecture.head.mlp_layers(1)[0][1]
    if is_custom(architecture.policy):
        raise _refused(architecture.head.module, f"the custom policy {shown(architecture.policy, quoted=False)}")
    if is_custom(architecture.extractor):
        raise _refused("features_extractor", f"the custom class {shown(architecture.extractor, quoted=False)}")
    if architecture.extractor == "NatureCNN":
        raise _refused("features_extractor.cnn.0", "a convolution")
    if architecture.net_arch and architecture.activation_fn not in ACTIVATION_FUNCTIONS:
        found = f"the activation function {shown(architecture.activation_fn, quoted=False)}"
        raise _refused(first_activation, found)
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
    return (table if key is None else _named_for_dict(table, key, architecture.head.mlp)), space, key


def _refused(layer: str, found: str) -> EngineError:
    return EngineError(
        f"engine numpy: layer {layer}: found {found}, expected Flatten, Linear and activation functions of torch.nn "
        "only (--engine torch computes every network)"
    )


def _named_for_dict(table: LayerTable, key: str, mlp: str) -> LayerTable:
    """The table of an MLP whose features are one part of a Dict: CombinedExtractor flattens it under its key."""
    name = f"features_extractor.extractors.{key}"
    flatten = replace(table.layers[_FLATTEN], name=name, is_cut=False)
    containers = ["features_extractor", "features_extractor.extractors", mlp]
    parameters = [refused for refused in table.refused if refused not in containers]
    others = {other: layer for other, layer in table.layers.items() if other != _FLATTEN}
    return LayerTable(
        module=table.module, layers={name: flatten, **others}, refused=refused_names(containers, parameters)
    )
