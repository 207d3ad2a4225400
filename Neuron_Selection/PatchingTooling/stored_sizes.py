"""An agent's sizes held against the tensors it stores, so that nothing larger than its file is ever built."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from Neuron_Selection.errors import InputError
from Neuron_Selection.FileFormats.agent_zip import AgentZip
from Neuron_Selection.FileFormats.spaces import (
    BoxSpace,
    DictSpace,
    DiscreteSpace,
    LeafSpace,
    MultiBinarySpace,
    MultiDiscreteSpace,
)

if TYPE_CHECKING:
    from Neuron_Selection.PatchingTooling.architecture import Architecture

SB3_POLICIES = ("MlpPolicy", "CnnPolicy", "MultiInputPolicy")
SB3_EXTRACTORS = ("FlattenExtractor", "NatureCNN", "CombinedExtractor")
_NATURE_CONVOLUTIONS = ((8, 4), (4, 2), (3, 1))  # kernel and stride (Mnih et al. 2015)


def check_sizes(architecture: Architecture, agent: AgentZip) -> None:
    """Raise where the zip stores no float32 tensor of a shape that the architecture needs.

    What a custom class needs only the class knows; its sizes are checked when the weights go in.

    :raises InputError: the tensor, its shape, the shape expected
    """
    if architecture.net_arch is None or architecture.policy not in SB3_POLICIES:
        return
    where = f"{agent.path}: policy.pth"
    sides = [features_dim(architecture, agent), *architecture.net_arch, architecture.n_actions]
    for number, (columns, rows) in enumerate(pairwise(sides)):
        for net in ("q_net", "q_net_target"):
            check_tensor(agent.tensors, f"{net}.q_net.{2 * number}.weight", (rows, columns), where)
            check_tensor(agent.tensors, f"{net}.q_net.{2 * number}.bias", (rows,), where)


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


def check_tensor(tensors: Mapping[str, np.ndarray], name: str, shape: tuple[int, ...], where: str) -> None:
    """Raise unless the file stores a float32 tensor of this name and shape."""
    if name not in tensors:
        raise InputError(where, name, found="no such tensor", expected=f"one of shape {shape}")
    if tensors[name].shape != shape:
        raise InputError(where, name, found=f"shape {tensors[name].shape}", expected=f"{shape}")
    if tensors[name].dtype != np.float32:
        raise InputError(where, name, found=f"{tensors[name].dtype.name} values", expected="float32")


def features_dim(architecture: Architecture, agent: AgentZip) -> int:
    """The width of the features extractor's output, which the first layer of the Q-network reads."""
    space = agent.observation_space
    where = f"{agent.path}: data"
    if architecture.extractor not in SB3_EXTRACTORS:
        stored = agent.tensors.get("q_net.q_net.0.weight")
        return stored.shape[1] if stored is not None and stored.ndim == 2 else 0
    if architecture.extractor == "CombinedExtractor":
        if not isinstance(space, DictSpace):
            raise InputError(
                where, "observation_space", found=_kind(space), expected="a Dict space for CombinedExtractor"
            )
        width = architecture.extractor_kwargs.get("cnn_output_dim", 256)
        total = 0
        for key, part in space.spaces.items():
            if isinstance(part, BoxSpace) and _is_image(part, architecture):
                _check_nature_cnn(part, f"features_extractor.extractors.{key}", width, agent)
                total += width
            else:
                total += flat_size(part)
        return total
    if architecture.extractor == "NatureCNN":
        if not (isinstance(space, BoxSpace) and _is_image(space, architecture)):
            raise InputError(where, "observation_space", found=_kind(space), expected="an image space for NatureCNN")
        width = int(architecture.extractor_kwargs.get("features_dim", 512))
        _check_nature_cnn(space, "features_extractor", width, agent)
        return width
    if isinstance(space, DictSpace):
        raise InputError(
            where, "observation_space", found="a Dict space", expected="a plain space for FlattenExtractor"
        )
    return flat_size(space)


def _is_image(space: BoxSpace, architecture: Architecture) -> bool:
    """SB3's own test; images that are normalised already need only have three sides."""
    already = architecture.extractor_kwargs.get("normalized_image", False) or not architecture.normalize_images
    return len(space.shape) == 3 if already else space.is_image


def _check_nature_cnn(space: BoxSpace, prefix: str, width: int, agent: AgentZip) -> None:
    channels, *sides = space.shape
    for kernel, stride in _NATURE_CONVOLUTIONS:
        sides = [(side - kernel) // stride + 1 for side in sides]
    if min(sides) < 1:
        raise InputError(
            f"{agent.path}: data",
            "observation_space",
            found=f"images of {space.shape}",
            expected="at least 36 x 36 for NatureCNN",
        )
    where = f"{agent.path}: policy.pth"
    check_tensor(agent.tensors, f"q_net.{prefix}.cnn.0.weight", (32, channels, 8, 8), where)
    check_tensor(agent.tensors, f"q_net.{prefix}.linear.0.weight", (width, 64 * sides[0] * sides[1]), where)


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
