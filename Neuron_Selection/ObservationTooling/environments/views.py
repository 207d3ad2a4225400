"""How the network sees an environment: frames stacked and images transposed, as Stable-Baselines3 does.

Around a vectorised environment, ``VecFrameStack`` stacks frames, padded with zeros at the start of an episode, on the
last axis, or on the first of an image whose channels are first; ``VecTransposeImage`` moves the channels of an image to
the front. Which of these happened in training follows from the agent's observation space.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

import gymnasium
import numpy as np

from Neuron_Selection.FileFormats.agent_zip.spaces import (
    BoxSpace,
    DictSpace,
    DiscreteSpace,
    LeafSpace,
    MultiBinarySpace,
    MultiDiscreteSpace,
    Space,
    describe_space,
)

WHOLE = ""  # the key of the only part of a space that is not a Dict


@dataclass(frozen=True, kw_only=True, slots=True)
class LeafView:
    """How one array of an observation is turned into what the network receives.

    ``shape`` and ``dtype``: of one observation of the environment. ``stacked``: the shape of ``frame_stack`` of them
    along ``axis``. ``is_transposed``: the channels are moved to the front. ``final_dtype``: of what the network
    receives, None where VecNormalize decides it. ``above``: whole numbers are from 0 and below this, which is of
    ``shape``; None for a Box.
    """

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    stacked: tuple[int, ...]
    axis: int
    is_transposed: bool
    final_dtype: np.dtype[Any] | None
    above: np.ndarray | None = None


View: TypeAlias = Mapping[str, LeafView]
"""Key of a Dict space, or ``WHOLE``, to its view."""


def view_of(environment: Space, agent: Space, *, frame_stack: int, normalised: bool | frozenset[str]) -> View | None:
    """How observations of one space become observations of the other; None if they do not.

    Bounds are not compared, except that an image must be one in both: they differ between versions of environments.

    :param environment: the space of the environment in its wrappers
    :param agent: the agent's observation space
    :param normalised: whether VecNormalize changes the observations, or the keys of which it does
    """
    if isinstance(environment, DictSpace) != isinstance(agent, DictSpace):
        return None
    made, expected = _parts(environment), _parts(agent)
    if set(made) != set(expected):
        return None
    views = {}
    for key, part in expected.items():
        is_normalised = normalised if isinstance(normalised, bool) else key in normalised
        view = _leaf_view(made[key], part, frame_stack=frame_stack, is_normalised=is_normalised)
        if view is None:
            return None
        views[key] = view
    return views


def _parts(space: Space) -> Mapping[str, LeafSpace]:
    return space.spaces if isinstance(space, DictSpace) else {WHOLE: space}


def _leaf_view(made: LeafSpace, agent: LeafSpace, *, frame_stack: int, is_normalised: bool) -> LeafView | None:
    if isinstance(made, BoxSpace) and isinstance(agent, BoxSpace):
        return _box_view(made, agent, frame_stack=frame_stack, is_normalised=is_normalised)
    if frame_stack != 1 or type(made) is not type(agent) or describe_space(made) != describe_space(agent):
        return None
    dtype = np.dtype(np.int8 if isinstance(made, MultiBinarySpace) else np.int64)
    above = _upper_limits(made)
    shape = above.shape
    return LeafView(
        shape=shape, dtype=dtype, stacked=shape, axis=-1, is_transposed=False, final_dtype=dtype, above=above
    )


def _upper_limits(space: LeafSpace) -> np.ndarray:
    """One more than the greatest value of each entry of a space that is not a Box."""
    if isinstance(space, DiscreteSpace):
        return np.array(space.n)
    return space.nvec if isinstance(space, MultiDiscreteSpace) else np.full(space.shape, 2)


def _box_view(made: BoxSpace, agent: BoxSpace, *, frame_stack: int, is_normalised: bool) -> LeafView | None:
    if frame_stack != 1 and not made.shape:
        return None
    axis = 0 if made.is_image and int(np.argmin(made.shape)) == 0 else -1
    sides = list(made.shape)
    if sides:
        sides[axis] *= frame_stack
    stacked = tuple(sides)
    is_transposed = stacked != agent.shape and made.is_image and (stacked[-1], *stacked[:-1]) == agent.shape
    if stacked != agent.shape and not is_transposed:
        return None
    is_same_kind = made.dtype == agent.dtype or made.dtype.kind == agent.dtype.kind == "f"
    if not is_normalised and (made.is_image != agent.is_image or not is_same_kind):
        return None
    return LeafView(
        shape=made.shape,
        dtype=made.dtype,
        stacked=stacked,
        axis=axis,
        is_transposed=is_transposed,
        final_dtype=None if is_normalised else agent.dtype,
    )


def space_record(space: object) -> Space | None:
    """A gymnasium space as a record; None for one that no agent can have, such as Tuple or Text."""
    if isinstance(space, gymnasium.spaces.Dict):
        parts = {key: _leaf_record(part) for key, part in space.spaces.items()}
        leaves = {str(key): part for key, part in parts.items() if part is not None}
        return DictSpace(spaces=leaves) if leaves and len(leaves) == len(parts) else None
    return _leaf_record(space)


def _leaf_record(space: object) -> LeafSpace | None:
    if isinstance(space, gymnasium.spaces.Box):
        return BoxSpace(shape=space.shape, dtype=np.dtype(space.dtype), low=space.low, high=space.high)
    if isinstance(space, gymnasium.spaces.Discrete):
        return DiscreteSpace(n=int(space.n), start=int(space.start))
    if isinstance(space, gymnasium.spaces.MultiDiscrete):
        return MultiDiscreteSpace(nvec=np.asarray(space.nvec, np.int64))
    if isinstance(space, gymnasium.spaces.MultiBinary):
        return MultiBinarySpace(shape=tuple(space.shape))
    return None


def describe(space: object) -> str:
    """A short description of any gymnasium space, such as ``Dict {image: Box (7, 7, 3) uint8, mission: Text}``."""
    if isinstance(space, gymnasium.spaces.Dict):
        return "Dict {" + ", ".join(f"{key}: {describe(part)}" for key, part in space.spaces.items()) + "}"
    if isinstance(space, gymnasium.spaces.Tuple):
        return "Tuple (" + ", ".join(map(describe, space.spaces)) + ")"
    record = _leaf_record(space)
    return type(space).__name__.removesuffix("Space") if record is None else describe_space(record)
