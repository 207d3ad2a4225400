"""Observation and action spaces as plain records, read from the pickles of gym and gymnasium."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np

from Neuron_Selection.errors import InputError, UntrustedError, shown
from Neuron_Selection.FileFormats.agent_zip.pickled_arrays import array_from, dtype_from, integer_from
from Neuron_Selection.FileFormats.agent_zip.pickled_data import Built, Name
from Neuron_Selection.FileFormats.storage.array_checks import checked_shape

SUPPORTED = "Box, Discrete, MultiDiscrete, MultiBinary, Dict"
_SPACE_NAME = re.compile(r"gym(nasium)?\.spaces\.[a-z_]+")


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class BoxSpace:
    """Arrays between ``low`` and ``high``, both of ``shape``."""

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    low: np.ndarray
    high: np.ndarray

    @property
    def is_image(self) -> bool:
        """SB3's test for images: uint8, three dimensions, bounds 0 and 255. SB3 divides such inputs by 255."""
        return (
            len(self.shape) == 3 and self.dtype == np.uint8 and bool(np.all(self.low == 0) and np.all(self.high == 255))
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class DiscreteSpace:
    """The integers ``start`` to ``start + n - 1``."""

    n: int
    start: int = 0


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class MultiDiscreteSpace:
    """Integer arrays, entry i from 0 to ``nvec[i] - 1``."""

    nvec: np.ndarray


@dataclass(frozen=True, kw_only=True, slots=True)
class MultiBinarySpace:
    """Arrays of zeros and ones."""

    shape: tuple[int, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class DictSpace:
    """Named spaces, in the order in which SB3 concatenates their features."""

    spaces: dict[str, LeafSpace]


LeafSpace: TypeAlias = BoxSpace | DiscreteSpace | MultiDiscreteSpace | MultiBinarySpace
Space: TypeAlias = LeafSpace | DictSpace


def space_from(record: object, *, where: object, field: str) -> Space:
    """The space in a pickle.

    :param record: a result of ``read_pickle``
    :raises InputError: an unsupported kind of space, or a damaged one
    :raises UntrustedError: a call of something other than a space of gym or gymnasium
    """
    reader = _Reader(where, field)
    return reader.dict_space(record) if reader.kind_of(record) == "Dict" else reader.leaf(record)


def describe_space(space: Space) -> str:
    """A short description of a space, such as ``Box (4,) float32``."""
    if isinstance(space, DictSpace):
        return "Dict {" + ", ".join(f"{key}: {describe_space(part)}" for key, part in space.spaces.items()) + "}"
    if isinstance(space, BoxSpace):
        return f"Box {space.shape} {space.dtype.name}" + (" (image)" if space.is_image else "")
    if isinstance(space, DiscreteSpace):
        return f"Discrete {space.n}" + (f" from {space.start}" if space.start else "")
    if isinstance(space, MultiDiscreteSpace):
        return f"MultiDiscrete {space.nvec.tolist()}"
    return f"MultiBinary {space.shape}"


def without_bounds(space: Space) -> Space:
    """The same space with float32 boxes that have no bounds, for observations that were normalised."""
    if isinstance(space, DictSpace):
        return DictSpace(spaces={key: _unbounded(part) for key, part in space.spaces.items()})
    return _unbounded(space)


def _unbounded(space: LeafSpace) -> LeafSpace:
    if not isinstance(space, BoxSpace):
        return space
    high = np.full(space.shape, np.inf, np.float32)
    return BoxSpace(shape=space.shape, dtype=np.dtype(np.float32), low=-high, high=high)


class _Reader:
    def __init__(self, where: object, field: str) -> None:
        self.where = where
        self.field = field

    def error(self, found: str, expected: str) -> InputError:
        return InputError(self.where, self.field, found=found, expected=expected)

    def kind_of(self, record: object) -> str:
        name = record.callable if isinstance(record, Built) else record
        if not isinstance(name, Name):
            raise self.error(shown(record), f"a space ({SUPPORTED})")
        if not _SPACE_NAME.fullmatch(name.module):
            raise UntrustedError(
                self.where, self.field, found=f"a call of {shown(str(name))}", expected=f"a space ({SUPPORTED})"
            )
        return name.qualname

    def state_of(self, record: object) -> dict[str, Any]:
        state = record.state if isinstance(record, Built) and record.args == () else None
        if not isinstance(state, dict) or not all(isinstance(key, str) for key in state):
            raise self.error("a space without its attributes", "a pickled space")
        return state

    def leaf(self, record: object) -> LeafSpace:
        kind = self.kind_of(record)
        readers: dict[str, Callable[[dict[str, Any]], LeafSpace]] = {
            "Box": self.box,
            "Discrete": self.discrete,
            "MultiDiscrete": self.multi_discrete,
            "MultiBinary": self.multi_binary,
        }
        if kind not in readers:
            raise self.error(f"a {shown(kind, quoted=False)} space", f"one of {SUPPORTED}")
        try:
            return readers[kind](self.state_of(record))
        except (KeyError, ValueError, TypeError, OverflowError) as error:
            raise self.error(f"a damaged {kind} space ({error})", f"a {kind} space") from error

    def dict_space(self, record: object) -> DictSpace:
        spaces = self.state_of(record).get("spaces")
        if isinstance(spaces, Built) and spaces.callable == Name("collections", "OrderedDict"):
            spaces = dict(spaces.pairs)
        if not isinstance(spaces, dict) or not spaces or not all(isinstance(key, str) for key in spaces):
            raise self.error("a damaged Dict space", "a Dict space with named parts")
        for key, part in spaces.items():
            if self.kind_of(part) == "Dict":
                raise self.error(f"a Dict space inside a Dict space (under {shown(key)})", "one level")
        return DictSpace(spaces={key: self.leaf(part) for key, part in spaces.items()})

    def box(self, state: dict[str, Any]) -> BoxSpace:
        shape = _shape_from(state["_shape"] if "_shape" in state else state["shape"])
        low, high = array_from(state["low"]), array_from(state["high"])
        if low.shape != shape or high.shape != shape:
            raise ValueError(f"bounds of shape {low.shape} and {high.shape} for shape {shape}")
        return BoxSpace(shape=shape, dtype=dtype_from(state["dtype"]), low=low, high=high)

    def discrete(self, state: dict[str, Any]) -> DiscreteSpace:
        n, start = integer_from(state["n"]), integer_from(state.get("start", 0))
        if not 1 <= n <= 10_000_000:
            raise ValueError("n is not from 1 to 10,000,000")
        if not -(1 << 62) <= start < 1 << 62:
            raise ValueError("start is not a 64-bit integer")
        return DiscreteSpace(n=n, start=start)

    def multi_discrete(self, state: dict[str, Any]) -> MultiDiscreteSpace:
        nvec = array_from(state["nvec"])
        if nvec.dtype.kind not in "iu" or nvec.size == 0 or nvec.min() < 1 or nvec.max() > 10_000_000:
            raise ValueError("nvec is not an array of positive integers")
        return MultiDiscreteSpace(nvec=nvec.astype(np.int64))

    def multi_binary(self, state: dict[str, Any]) -> MultiBinarySpace:
        shape = state.get("_shape", state.get("shape", state.get("n")))
        return MultiBinarySpace(shape=_shape_from((shape,) if isinstance(shape, int) else shape))


def _shape_from(value: object) -> tuple[int, ...]:
    sides = tuple(integer_from(side) for side in value) if isinstance(value, tuple | list) else value
    shape = checked_shape(sides, dimensions=8, entries=1 << 28)
    if 0 in shape:
        raise ValueError("a shape with a side of 0")
    return shape
