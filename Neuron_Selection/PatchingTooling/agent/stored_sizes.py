"""Check the tensors that an agent's zip stores against its architecture, so that nothing larger than it is built."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from Neuron_Selection.errors import InputError, shown
from Neuron_Selection.FileFormats.agent_zip.agent_zip import AgentZip, repeated_extractors
from Neuron_Selection.FileFormats.agent_zip.spaces import BoxSpace, DictSpace, MultiBinarySpace
from Neuron_Selection.PatchingTooling.agent.architecture import EXTRACTORS, Architecture, flat_size, is_image
from Neuron_Selection.PatchingTooling.agent.custom_classes import is_custom
from Neuron_Selection.PatchingTooling.agent.heads import MlpLayer

_OF_ACTOR = "pi_features_extractor"  # repeats the first
_NATURE_CONVOLUTIONS = ((32, 8, 4), (64, 4, 2), (64, 3, 1))  # channels, kernel and stride (Mnih et al. 2015)


def check_sizes(architecture: Architecture, agent: AgentZip) -> None:
    """Raise unless the zip stores exactly the float32 tensors that the architecture needs.

    The tensors of a custom class are checked when its weights are loaded: only the class knows their shapes.

    :raises InputError: the tensor, its shape, the shape expected
    """
    if architecture.net_arch is None or is_custom(architecture.policy):
        return
    where, head = f"{agent.path}: policy.pth", architecture.head
    extractor = _extractor_shapes(architecture, agent)
    width = _features_dim(architecture, agent)
    extractors = ["features_extractor"] if architecture.shares_extractor else list(EXTRACTORS)
    shapes = {f"{part}.{name}": shape for part in extractors for name, shape in extractor.items()}
    shapes |= _mlp_shapes(architecture.layers, width) | _mlp_shapes(architecture.critic_layers, width)
    if architecture.activation_fn == "PReLU":
        shapes |= {f"{activation}.weight": (1,) for activation in _activations(architecture)}
    known = {head.stored_name(name): shape for name, shape in shapes.items()}
    known |= {f"{copy}.{name}": shape for copy in head.copies for name, shape in shapes.items()}
    for name, shape in known.items():
        _check_tensor(agent.tensors, name, shape, where)
    for name in agent.tensors:
        if name not in known and not _of_custom(name, architecture):
            _check_repetition(name, agent, where)


def _mlp_shapes(layers: tuple[MlpLayer, ...], n_inputs: int) -> dict[str, tuple[int, ...]]:
    shapes: dict[str, tuple[int, ...]] = {}
    for layer in layers:
        shapes |= {f"{layer.linear}.weight": (layer.width, n_inputs), f"{layer.linear}.bias": (layer.width,)}
        n_inputs = layer.width
    return shapes


def _activations(architecture: Architecture) -> list[str]:
    """The names of the activation functions after hidden layers."""
    return [layer.activation for layer in (*architecture.layers, *architecture.critic_layers) if layer.activation]


def _of_custom(name: str, architecture: Architecture) -> bool:
    """Whether a tensor may belong to a custom class, which alone knows what it needs."""
    head = architecture.head
    inner = name
    if head.module:
        net = next((net for net in (head.module, *head.copies) if name.startswith(f"{net}.")), None)
        if net is None:
            return False
        inner = name.removeprefix(f"{net}.")
    activations = tuple(f"{activation}." for activation in _activations(architecture))
    in_extractor = is_custom(architecture.extractor) and inner.partition(".")[0] in (*EXTRACTORS, _OF_ACTOR)
    return in_extractor or (is_custom(architecture.activation_fn) and inner.startswith(activations))


def _check_repetition(name: str, agent: AgentZip, where: str) -> None:
    """Raise for a tensor that the network has no place for, unless it repeats one of a features extractor."""
    extractor, _, inner = name.partition(".")
    first = agent.tensors.get(f"features_extractor.{inner}")
    if first is None or extractor not in repeated_extractors(agent.policy_kwargs):
        raise InputError(where, shown(name), found="a tensor that this network does not have", expected="none")
    if agent.tensors[name].dtype != first.dtype or not np.array_equal(agent.tensors[name], first, equal_nan=True):
        raise InputError(where, name, found="other values", expected=f"those of features_extractor.{inner}")


def refuse_nonfinite(agent: AgentZip) -> None:
    """Raise for NaN or infinity among the weights: the greedy action of such a network means nothing."""
    for name, tensor in agent.tensors.items():
        if tensor.dtype.kind == "f" and not np.isfinite(tensor).all():
            raise InputError(
                f"{agent.path}: policy.pth",
                name,
                found="NaN or infinity",
                expected="finite weights",
                hint="--allow_nonfinite loads them",
            )


def _check_tensor(tensors: Mapping[str, np.ndarray], name: str, shape: tuple[int, ...], where: str) -> None:
    """Raise unless the file stores a float32 tensor of this name and shape."""
    if name not in tensors:
        raise InputError(where, name, found="no such tensor", expected=f"one of shape {shape}")
    if tensors[name].shape != shape:
        raise InputError(where, name, found=f"shape {tensors[name].shape}", expected=f"{shape}")
    if tensors[name].dtype != np.float32:
        raise InputError(where, name, found=f"{tensors[name].dtype.name} values", expected="float32")


def _features_dim(architecture: Architecture, agent: AgentZip) -> int:
    """The width of the features extractor's output, which the first Linear reads."""
    space = agent.observation_space
    where = f"{agent.path}: data"
    if is_custom(architecture.extractor):
        stored = agent.tensors.get(architecture.head.stored_name(f"{architecture.layers[0].linear}.weight"))
        return stored.shape[1] if stored is not None and stored.ndim == 2 else 0
    if architecture.extractor == "CombinedExtractor":
        if not isinstance(space, DictSpace):
            raise InputError(
                where, "observation_space", found=_kind(space), expected="a Dict space for CombinedExtractor"
            )
        return sum(
            _cnn_width(architecture) if is_image(part, architecture) else flat_size(part)
            for part in space.spaces.values()
        )
    if architecture.extractor == "NatureCNN":
        if not is_image(space, architecture):
            raise InputError(where, "observation_space", found=_kind(space), expected="an image space for NatureCNN")
        return _cnn_width(architecture)
    if isinstance(space, DictSpace):
        raise InputError(
            where, "observation_space", found="a Dict space", expected="a plain space for FlattenExtractor"
        )
    return flat_size(space)


def _extractor_shapes(architecture: Architecture, agent: AgentZip) -> dict[str, tuple[int, ...]]:
    """The tensors of SB3's own extractors: those of a NatureCNN for every image."""
    space, where = agent.observation_space, f"{agent.path}: data"
    if architecture.extractor == "NatureCNN" and is_image(space, architecture):
        return _nature_cnn_shapes(space, _cnn_width(architecture), where)
    if architecture.extractor != "CombinedExtractor" or not isinstance(space, DictSpace):
        return {}
    shapes: dict[str, tuple[int, ...]] = {}
    for key, part in space.spaces.items():
        if is_image(part, architecture):
            inner = _nature_cnn_shapes(part, _cnn_width(architecture), where)
            shapes |= {f"extractors.{key}.{name}": shape for name, shape in inner.items()}
    return shapes


def _cnn_width(architecture: Architecture) -> int:
    name, default = ("features_dim", 512) if architecture.extractor == "NatureCNN" else ("cnn_output_dim", 256)
    return int(architecture.extractor_kwargs.get(name, default))


def _nature_cnn_shapes(space: BoxSpace, width: int, where: str) -> dict[str, tuple[int, ...]]:
    channels, *sides = space.shape
    shapes: dict[str, tuple[int, ...]] = {}
    for number, (filters, kernel, stride) in enumerate(_NATURE_CONVOLUTIONS):
        sides = [(side - kernel) // stride + 1 for side in sides]
        shapes |= {
            f"cnn.{2 * number}.weight": (filters, channels, kernel, kernel),
            f"cnn.{2 * number}.bias": (filters,),
        }
        channels = filters
    if min(sides) < 1:
        found = f"images of {space.shape}"
        raise InputError(where, "observation_space", found=found, expected="at least 36 x 36 for NatureCNN")
    return shapes | {"linear.0.weight": (width, channels * sides[0] * sides[1]), "linear.0.bias": (width,)}


def _kind(space: object) -> str:
    if isinstance(space, BoxSpace):
        return f"a Box of {space.shape}, {space.dtype.name}"
    if isinstance(space, MultiBinarySpace):
        return f"a MultiBinary of {space.shape}"
    return f"a {type(space).__name__.removesuffix('Space')} space"
