"""Make observations from JSON values or arrays, checked against the agent's space."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np

from Neuron_Selection.errors import InputError, SuiteWarning, shown
from Neuron_Selection.FileFormats.agent_zip.spaces import (
    BoxSpace,
    DiscreteSpace,
    LeafSpace,
    MultiBinarySpace,
    MultiDiscreteSpace,
    Space,
)
from Neuron_Selection.FileFormats.storage.nested_numbers import numbers

Observations: TypeAlias = np.ndarray | dict[str, np.ndarray]


def observations_from(values: Sequence[Any], space: Space, *, where: object, fields: Sequence[str]) -> Observations:
    """Make one batch from one value per input.

    :param values: nested lists, numbers or arrays; for a Dict space objects with its keys, or, if it has a single key,
        the bare values
    :param fields: the name of each value, for messages
    :return: (n, *shape) in the space's dtype; for a Dict space one such array per key
    :raises InputError: a value that is not an observation of the space
    """
    if isinstance(space, LeafSpace):
        return _leaf_batch(values, space, where, fields)
    keys = list(space.spaces)
    parts: dict[str, list[Any]] = {key: [] for key in keys}
    for value, field in zip(values, fields, strict=True):
        bare = not isinstance(value, Mapping)
        if bare and len(keys) > 1:
            raise InputError(where, field, found=shown(value), expected=f"an object with the keys {', '.join(keys)}")
        for key in () if bare else value:
            if key not in space.spaces:
                raise InputError(
                    where, f"{field}.{shown(key, quoted=False)}", f"is not a key of this space; keys: {', '.join(keys)}"
                )
        for key in keys:
            if not bare and key not in value:
                raise InputError(where, f"{field}.{key}", "is missing")
            parts[key].append(value if bare else value[key])
    return {
        key: _leaf_batch(parts[key], space.spaces[key], where, [f"{field}.{key}" for field in fields]) for key in keys
    }


def rows_of(observations: Observations, rows: Any) -> Observations:
    """The observations at ``rows`` (an index array or a slice), in that order."""
    if isinstance(observations, dict):
        return {key: array[rows] for key, array in observations.items()}
    chosen: np.ndarray = observations[rows]
    return chosen


def count_of(observations: Observations) -> int:
    """The number of observations in a batch."""
    return len(next(iter(observations.values())) if isinstance(observations, dict) else observations)


def _leaf_batch(values: Sequence[Any], space: LeafSpace, where: object, fields: Sequence[str]) -> np.ndarray:
    shape = _shape_of(space)
    arrays: list[np.ndarray] = []
    transposed = 0
    for value, field in zip(values, fields, strict=True):
        array = numbers(value, where, field)
        if array.shape == (1, *shape):
            array = array[0]
        if isinstance(space, BoxSpace) and space.is_image and array.shape == (*shape[1:], shape[0]) != shape:
            array = array.transpose(2, 0, 1)
            transposed += 1
        if array.shape != shape:
            raise InputError(where, field, found=_in_words(array.shape), expected=_in_words(shape))
        arrays.append(array)
    if transposed:
        _warn(where, f"{transposed} images have their channels last; transposed to {_in_words(shape)}, as SB3 does")
    batch = np.stack(arrays) if arrays else np.empty((0, *shape))
    batch = np.ascontiguousarray(batch)  # the memory layout changes the last bits of convolutions
    return _BATCHES[type(space)](batch, space, where, fields)


def _box(batch: np.ndarray, space: LeafSpace, where: object, fields: Sequence[str]) -> np.ndarray:
    assert isinstance(space, BoxSpace)  # noqa: S101 - guaranteed by the table below
    if space.dtype.kind == "f":
        largest = float(np.finfo(space.dtype).max)
        _refuse_where(np.abs(batch) > largest, batch, where, fields, expected=f"at most {largest:.3g} in size")
    else:
        limits = (0, 1) if space.dtype.kind == "b" else (np.iinfo(space.dtype).min, np.iinfo(space.dtype).max)
        _refuse_where(batch != np.floor(batch), batch, where, fields, expected=f"whole numbers ({space.dtype.name})")
        _refuse_where(
            (batch < limits[0]) | (batch > limits[1]), batch, where, fields, expected=f"{limits[0]} to {limits[1]}"
        )
        if space.is_image and len(batch) and batch.max() == 1:
            _warn(
                where,
                "no pixel is above 1, but this agent expects 0 to 255; were the images divided by 255?",
            )
    typed: np.ndarray = batch.astype(space.dtype)
    out_of_bounds = np.any((typed < space.low) | (typed > space.high), axis=tuple(range(1, typed.ndim)))
    if out_of_bounds.any():
        first = fields[int(np.flatnonzero(out_of_bounds)[0])]
        _warn(where, f"{int(out_of_bounds.sum())} inputs are outside the observation space's bounds (first: {first})")
    return typed


def _discrete(batch: np.ndarray, space: LeafSpace, where: object, fields: Sequence[str]) -> np.ndarray:
    upper = np.asarray(space.nvec) if isinstance(space, MultiDiscreteSpace) else 2
    upper = np.asarray(space.n) if isinstance(space, DiscreteSpace) else upper
    wrong = (batch != np.floor(batch)) | (batch < 0) | (batch >= upper)
    last = np.broadcast_to(upper, batch.shape)[wrong][:1] - 1  # of the first wrong value
    _refuse_where(wrong, batch, where, fields, expected=f"whole numbers from 0 to {''.join(map(str, last))}")
    typed: np.ndarray = batch.astype(np.int8 if isinstance(space, MultiBinarySpace) else np.int64)
    return typed


_BATCHES = {BoxSpace: _box, DiscreteSpace: _discrete, MultiDiscreteSpace: _discrete, MultiBinarySpace: _discrete}


def _refuse_where(wrong: np.ndarray, batch: np.ndarray, where: object, fields: Sequence[str], *, expected: str) -> None:
    if wrong.any():
        place = tuple(int(index) for index in np.argwhere(wrong)[0])
        field = fields[place[0]] + "".join(f"[{index}]" for index in place[1:])
        raise InputError(where, field, found=shown(batch[place].item()), expected=expected)


def _shape_of(space: LeafSpace) -> tuple[int, ...]:
    if isinstance(space, DiscreteSpace):
        return ()
    return space.nvec.shape if isinstance(space, MultiDiscreteSpace) else space.shape


def _in_words(shape: tuple[int, ...]) -> str:
    if len(shape) < 2:
        return f"{shape[0]} numbers" if shape else "one number"
    return f"an array of {' x '.join(map(str, shape))}"


def _warn(where: object, message: str) -> None:
    warnings.warn(SuiteWarning(f"{where}: {message}"), stacklevel=2)
