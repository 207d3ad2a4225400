"""An agent's sizes held against the tensors it stores, so that nothing larger than its file is ever built."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from typing import TYPE_CHECKING, TypeGuard

import numpy as np

from Neuron_Selection.errors import InputError, shown
from Neuron_Selection.FileFormats.agent_zip import AgentZip
from Neuron_Selection.FileFormats.spaces import (
    BoxSpace,
    DictSpace,
    DiscreteSpace,
    LeafSpace,
    MultiBinarySpace,
    MultiDiscreteSpace,
    Space,
)
from Neuron_Selection.PatchingTooling.custom_classes import is_custom

if TYPE_CHECKING:
    from Neuron_Selection.PatchingTooling.architecture import Architecture

_NATURE_CONVOLUTIONS = ((32, 8, 4), (64, 4, 2), (64, 3, 1))  # channels, kernel and stride (Mnih et al. 2015)
_NETS = ("q_net", "q_net_target")


def check_sizes(architecture: Architecture, agent: AgentZip) -> None:
    """Raise unless the zip stores exactly the float32 tensors that the architecture needs.

    What a custom class needs only the class knows; its sizes are checked when the weights go in.

    :raises InputError: the tensor, its shape, the shape expected
    """
    if architecture.net_arch is None or is_custom(architecture.policy):
        return
    where = f"{agent.path}: policy.pth"
    extractor = _extractor_shapes(architecture, agent)
    sides = [_features_dim(architecture, agent), *architecture.net_arch, architecture.n_actions]
    shapes = {f"features_extractor.{name}": shape for name, shape in extractor.items()}
    for number, (columns, rows) in enumerate(pairwise(sides)):
        shapes |= {f"q_net.{2 * number}.weight": (rows, columns), f"q_net.{2 * number}.bias": (rows,)}
        if architecture.activation_fn == "PReLU" and number < len(architecture.net_arch):
            shapes[f"q_net.{2 * number + 1}.weight"] = (1,)
    for name, shape in shapes.items():
        for net in _NETS:
            _check_tensor(agent.tensors, f"{net}.{name}", shape, where)
    known = {f"{net}.{name}" for net in _NETS for name in shapes}
    extra = next((name for name in agent.tensors if name not in known and not _of_custom(name, architecture)), None)
    if extra is not None:
        raise InputError(where, shown(extra), found="a tensor that this network does not have", expected="none")


def _of_custom(name: str, architecture: Architecture) -> bool:
    """Whether a tensor may belong to a custom class, which alone knows what it needs."""
    net, _, inner = name.partition(".")
    activations = {f"q_net.{2 * number + 1}" for number in range(len(architecture.net_arch or ()))}
    in_extractor = is_custom(architecture.extractor) and inner.startswith("features_extractor.")
    in_activation = is_custom(architecture.activation_fn) and ".".join(inner.split(".")[:2]) in activations
    return net in _NETS and (in_extractor or in_activation)


def refuse_nonfinite(agent: AgentZip) -> None:
    """Raise for NaN or infinity among the weights: such a network answers action 0 in silence."""
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
    """The width of the features extractor's output, which the first layer of the Q-network reads."""
    space = agent.observation_space
    where = f"{agent.path}: data"
    if is_custom(architecture.extractor):
        stored = agent.tensors.get("q_net.q_net.0.weight")
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


def is_image(space: Space, architecture: Architecture) -> TypeGuard[BoxSpace]:
    """SB3's own test; images that are normalised already need only have three sides."""
    if not isinstance(space, BoxSpace):
        return False
    already = architecture.extractor_kwargs.get("normalized_image", False) or not architecture.normalize_images
    return len(space.shape) == 3 if already else space.is_image


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


def flat_size(space: LeafSpace) -> int:
    """How many numbers SB3's preprocessing makes of one observation; a discrete one becomes one-hot."""
    if isinstance(space, DiscreteSpace):
        return space.n
    if isinstance(space, MultiDiscreteSpace):
        return int(space.nvec.sum())
    return int(np.prod(space.shape, dtype=np.int64))


def _kind(space: object) -> str:
    if isinstance(space, BoxSpace):
        return f"a Box of {space.shape}, {space.dtype.name}"
    if isinstance(space, MultiBinarySpace):
        return f"a MultiBinary of {space.shape}"
    return f"a {type(space).__name__.removesuffix('Space')} space"
