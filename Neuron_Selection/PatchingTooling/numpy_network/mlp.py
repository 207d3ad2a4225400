"""An MLP agent's Q-network in numpy: read from its zip without torch, run in float64."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from Neuron_Selection.errors import EngineError, SuiteError, shown
from Neuron_Selection.FileFormats.agent_zip.agent_zip import AgentZip
from Neuron_Selection.FileFormats.agent_zip.spaces import (
    BoxSpace,
    DictSpace,
    DiscreteSpace,
    LeafSpace,
    MultiDiscreteSpace,
)
from Neuron_Selection.FileFormats.observations import Observations, count_of, rows_of
from Neuron_Selection.FileFormats.provenance import CHUNK_ROWS
from Neuron_Selection.PatchingTooling.agent.architecture import Architecture, is_image
from Neuron_Selection.PatchingTooling.agent.custom_classes import is_custom
from Neuron_Selection.PatchingTooling.agent.layers import LayerTable, mlp_layers, refused_names
from Neuron_Selection.PatchingTooling.numpy_network.activation_functions import (
    ACTIVATION_FUNCTIONS,
    ActivationFunction,
    activation_function,
)
from Neuron_Selection.PatchingTooling.numpy_network.products import LANES, filled_array, filled_up, product

_BUFFER_NUMBERS = 1 << 16  # half a megabyte: several buffers of it stay in a core's own cache
_FLATTEN = "features_extractor.flatten"


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class FastMlp:
    """Linear layers with an activation function between any two.

    Widths are filled up with zeros to multiples of 8. ``columns[i]``, (inputs, width), is the transposed weight of
    the i-th Linear: row u is what its input u moves. ``key`` is set where observations are a Dict of that one part.
    """

    layers: LayerTable
    space: LeafSpace
    key: str | None
    normalize_images: bool
    columns: tuple[np.ndarray, ...]
    biases: tuple[np.ndarray, ...]
    activations: tuple[ActivationFunction, ...]

    @property
    def names(self) -> list[str]:
        """The layers by position: 0 the features, 2i + 1 the i-th Linear, 2i + 2 the activation behind it."""
        return list(self.layers.layers)

    @property
    def n_actions(self) -> int:
        """How many Q-values there are."""
        return self.layers.layers[self.layers.output].width

    @property
    def buffer_rows(self) -> int:
        """Rows that are worked on at once, from the widths alone."""
        widest: int = max(side for columns in self.columns for side in columns.shape)
        return CHUNK_ROWS * max(_BUFFER_NUMBERS // widest // CHUNK_ROWS, 1)


def fast_mlp(agent: AgentZip, architecture: Architecture) -> FastMlp:
    """The network that the zip stores.

    :param architecture: what ``architecture_of`` made of the same zip; the sizes are checked there
    :raises EngineError: a layer that only hooks can compute, by name
    """
    layers, space, key = _layers(agent, architecture)
    stored = agent.tensors
    linear = [name for name, layer in layers.layers.items() if layer.kind == "Linear"]
    columns, biases = [], []
    for name in linear:
        weight = stored[f"q_net.{name}.weight"].T
        width = filled_up(weight.shape[1], LANES)
        columns.append(filled_array(weight, (filled_up(weight.shape[0], LANES), width)))
        biases.append(filled_array(stored[f"q_net.{name}.bias"], (width,)))
    slopes = [stored.get(f"q_net.q_net.{2 * number + 1}.weight") for number in range(len(linear) - 1)]
    return FastMlp(
        layers=layers,
        space=space,
        key=key,
        normalize_images=architecture.normalize_images,
        columns=tuple(columns),
        biases=tuple(biases),
        activations=tuple(
            activation_function(architecture.activation_fn, None if slope is None else float(slope.item()))
            for slope in slopes
        ),
    )


def _layers(agent: AgentZip, architecture: Architecture) -> tuple[LayerTable, LeafSpace, str | None]:
    """The layers, the space of what the first one reads, and its key where that is a part of a Dict."""
    if is_custom(architecture.policy):
        raise _refused("q_net", f"the custom policy {shown(architecture.policy, quoted=False)}")
    if is_custom(architecture.extractor):
        raise _refused("features_extractor", f"the custom class {shown(architecture.extractor, quoted=False)}")
    if architecture.extractor == "NatureCNN":
        raise _refused("features_extractor.cnn.0", "a convolution")
    if architecture.net_arch and architecture.activation_fn not in ACTIVATION_FUNCTIONS:
        raise _refused("q_net.1", f"the activation function {shown(architecture.activation_fn, quoted=False)}")
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
        f"engine fast: layer {layer}: found {found}, expected Flatten, Linear and activation functions of torch.nn "
        "only (--engine hooks computes every network)"
    )


def _named_for_dict(table: LayerTable, key: str) -> LayerTable:
    """The table of an MLP whose features are one part of a Dict: CombinedExtractor flattens it under its key."""
    name = f"features_extractor.extractors.{key}"
    flatten = replace(table.layers[_FLATTEN], name=name, is_cut=False)
    containers = ["features_extractor", "features_extractor.extractors", "q_net"]
    parameters = [refused for refused in table.refused if refused not in containers]
    others = {other: layer for other, layer in table.layers.items() if other != _FLATTEN}
    return LayerTable(layers={name: flatten, **others}, refused=refused_names(containers, parameters))


def run_forward(network: FastMlp, observations: Observations, reused: Sequence[np.ndarray] = ()) -> list[np.ndarray]:
    """Outputs of every layer by position, rows and widths filled up; rows and columns behind the real ones are idle.

    :param observations: n of them
    :param reused: what an earlier call returned and nobody needs any more; fresh memory costs more than the work
    :return: (n filled up to 64, width filled up to 8) each
    :raises SuiteError: Q-values that are not finite
    """
    array = observations[network.key or ""] if isinstance(observations, dict) else observations
    features = features_from(array, network.space, normalize_images=network.normalize_images)
    outputs = [filled_array(features, (filled_up(len(features), CHUNK_ROWS), len(network.columns[0])))]
    with np.errstate(over="ignore", invalid="ignore"):
        for number, (columns, bias) in enumerate(zip(network.columns, network.biases, strict=True)):
            position = len(outputs)
            outputs.append(product(outputs[-1], columns, out=_rows_of(reused, position, len(outputs[0]))))
            outputs[-1] += bias
            if number < len(network.activations):
                function, out = network.activations[number], _rows_of(reused, position + 1, len(outputs[0]))
                outputs.append(
                    function.compute(outputs[-1]) if out is None else function.compute_into(outputs[-1], out)
                )
    refuse_nonfinite_q_values(outputs[-1][: len(features), : network.n_actions])
    return outputs


def _rows_of(reused: Sequence[np.ndarray], position: int, rows: int) -> np.ndarray | None:
    """Memory for so many rows, where there is any."""
    return reused[position][:rows] if reused and len(reused[position]) >= rows else None


def chunks(network: FastMlp, observations: Observations) -> Iterator[tuple[slice, Observations]]:
    """The observations, as many at once as the widths allow; and which rows they are."""
    total = count_of(observations)
    for start in range(0, total, network.buffer_rows):
        rows = slice(start, min(start + network.buffer_rows, total))
        yield rows, rows_of(observations, rows)


def compute_q_values(network: FastMlp, observations: Observations) -> np.ndarray:
    """Q-values.

    :param observations: n of them, in the dtype of the space
    :return: (n, n_actions), float64
    """
    return record_activations(network, observations, [network.layers.output])[network.layers.output]


def record_activations(network: FastMlp, observations: Observations, layers: Sequence[str]) -> dict[str, np.ndarray]:
    """Outputs of layers.

    :return: layer to (n, width), float64
    """
    total = count_of(observations)
    recorded = {name: np.empty((total, network.layers.layers[name].width)) for name in layers}
    positions = {name: network.names.index(name) for name in layers}
    outputs: list[np.ndarray] = []
    for rows, part in chunks(network, observations):
        outputs = run_forward(network, part, outputs)
        for name, array in recorded.items():
            array[rows] = outputs[positions[name]][: rows.stop - rows.start, : array.shape[1]]
    return recorded


def refuse_nonfinite_q_values(q_values: np.ndarray) -> None:
    """Raise for NaN or infinity, which would decide for some action in silence."""
    if not np.isfinite(q_values).all():
        raise SuiteError("Q-values: found NaN or infinity, expected finite numbers")


def features_from(observations: np.ndarray, space: LeafSpace, *, normalize_images: bool) -> np.ndarray:
    """Flat features. Everything goes through float32, as in SB3, before it becomes float64.

    :param observations: (n, *shape) of the space
    :return: (n, features), float64
    """
    count = len(observations)
    if isinstance(space, DiscreteSpace):
        return _one_hot(observations.reshape(count, 1), np.array([space.n]))
    if isinstance(space, MultiDiscreteSpace):
        return _one_hot(observations, space.nvec)
    with np.errstate(over="ignore"):  # infinity, as in torch; the Q-values are checked
        single = observations.astype(np.float32)
    if isinstance(space, BoxSpace) and space.is_image and normalize_images:
        single /= np.float32(255.0)
    return single.reshape(count, -1).astype(np.float64)


def _one_hot(digits: np.ndarray, sizes: np.ndarray) -> np.ndarray:
    """One group of columns for each digit.

    :param digits: (n, groups)
    """
    hot = np.zeros((len(digits), int(sizes.sum())))
    first = np.cumsum(sizes) - sizes
    hot[np.arange(len(digits))[:, None], digits.astype(np.int64) + first] = 1.0
    return hot
