"""Checks of array shapes and values read from files."""

from __future__ import annotations

import numpy as np

from Neuron_Selection.errors import InputError

_DIMENSIONS_LIMIT = 32  # numpy's own, in all its versions
_ENTRIES_LIMIT = 1 << 48
LARGEST_VALUE = float(np.finfo(np.float32).max)  # of larger numbers the squares overflow


def checked_shape(
    sides: object, *, dimensions: int = _DIMENSIONS_LIMIT, entries: int = _ENTRIES_LIMIT
) -> tuple[int, ...]:
    """Check a shape read from a file, before it is used to compute sizes or allocate memory.

    :param sides: a tuple of integers, not booleans; 0 is allowed
    :param dimensions: the largest number of dimensions
    :param entries: the largest number of values, where sides of 0 count as 1
    :raises ValueError: any other shape
    """
    if not isinstance(sides, tuple) or len(sides) > dimensions:
        raise ValueError(f"a shape that is not a tuple of at most {dimensions} integers")
    size = 1
    for side in sides:
        if type(side) is not int or side < 0:
            raise ValueError("a shape with a side that is not an integer from 0")
        size *= max(side, 1)
        if size > entries:
            raise ValueError(f"a shape of more than {entries:,} entries")
    return sides


def check_finite(array: np.ndarray, where: object, field: str) -> None:
    """Check for NaN and infinity.

    :raises InputError: naming ``field`` of ``where``
    """
    if not np.isfinite(array).all():
        raise InputError(where, field, found="NaN or infinity", expected="finite numbers")


def check_float32(array: np.ndarray, where: object, field: str) -> None:
    """Check for NaN, infinity, and numbers beyond float32, whose squares would overflow in statistics.

    :raises InputError: naming ``field`` of ``where``
    """
    check_finite(array, where, field)
    if array.size and np.abs(array).max() > LARGEST_VALUE:
        raise InputError(where, field, found="a number beyond float32", expected="numbers in the range of float32")
