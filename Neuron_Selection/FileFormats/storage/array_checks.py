"""What a file says of its arrays: one check for every shape, and one for every value."""

from __future__ import annotations

import numpy as np

from Neuron_Selection.errors import InputError

_DIMENSIONS_LIMIT = 32  # numpy's own, in all its versions
_ENTRIES_LIMIT = 1 << 48
LARGEST_VALUE = float(np.finfo(np.float32).max)  # networks are float32; of larger numbers the squares overflow


def checked_shape(
    sides: object, *, dimensions: int = _DIMENSIONS_LIMIT, entries: int = _ENTRIES_LIMIT
) -> tuple[int, ...]:
    """A shape as a file gives it, before anything is multiplied, reserved or shown.

    :param sides: a tuple of integers, no booleans; 0 is a side
    :param dimensions: how many sides there may be
    :param entries: how many values there may be, sides of 0 counted as 1
    :raises ValueError: anything else
    """
    if not isinstance(sides, tuple) or len(sides) > dimensions:
        raise ValueError(f"a shape that is no tuple of at most {dimensions} integers")
    size = 1
    for side in sides:
        if type(side) is not int or side < 0:
            raise ValueError("a shape with a side that is no integer from 0")
        size *= max(side, 1)
        if size > entries:
            raise ValueError(f"a shape of more than {entries:,} entries")
    return sides


def check_finite(array: np.ndarray, where: object, field: str) -> None:
    """Raise for NaN and infinity.

    :raises InputError: naming ``field`` of ``where``
    """
    if not np.isfinite(array).all():
        raise InputError(where, field, found="NaN or infinity", expected="finite numbers")


def check_float32(array: np.ndarray, where: object, field: str) -> None:
    """Raise also for numbers beyond float32: statistics square and add them, in float64.

    :raises InputError: naming ``field`` of ``where``
    """
    check_finite(array, where, field)
    if array.size and np.abs(array).max() > LARGEST_VALUE:
        raise InputError(where, field, found="a number beyond float32", expected="finite numbers")
