"""Convert nested lists of numbers to arrays, without the conversions that numpy makes silently."""

from __future__ import annotations

from typing import Any

import numpy as np

from Neuron_Selection.errors import InputError, shown
from Neuron_Selection.FileFormats.storage.array_checks import check_finite, check_float32

_DEPTH_LIMIT = 8


def numbers(value: Any, where: object, field: str) -> np.ndarray:
    """Convert ``value`` to an array of float64, or of integers; text, null and booleans are refused.

    :param value: a number, nested lists or tuples of them, or an array
    :raises InputError: ragged, nested too deeply, not numbers, or not finite
    """
    if isinstance(value, np.ndarray | np.generic):
        array = np.asarray(value)
    else:
        _refuse_other_than_numbers(value, where, field)
        try:
            array = np.asarray(value)
        except (ValueError, OverflowError) as error:  # ragged, or beyond all integer dtypes
            raise InputError(where, field, found="lists of unequal lengths", expected="a full array") from error
        if array.size == 0:
            array = array.astype(np.float64)
    if array.dtype.kind not in "iuf":
        found = "an integer too large" if array.dtype == object else f"{array.dtype.name} values"
        raise InputError(where, field, found=found, expected="numbers")
    check_finite(array, where, field)
    return array


def filled_float_array(value: Any, where: object, field: str) -> np.ndarray:
    """As ``numbers``, in float64 and not empty.

    :raises InputError: as ``numbers``; also no values, or a value beyond float32
    """
    array = numbers(value, where, field)
    if array.size == 0:
        raise InputError(where, field, found="no values", expected="numbers")
    array = array.astype(np.float64)
    check_float32(array, where, field)
    return array


def _refuse_other_than_numbers(value: Any, where: object, field: str, depth: int = 0) -> None:
    if isinstance(value, list | tuple):
        if depth > _DEPTH_LIMIT:
            raise InputError(where, field, found=f"lists nested more than {_DEPTH_LIMIT} deep", expected="an array")
        if set(map(type, value)) <= {int, float}:
            return
        for item in value:
            _refuse_other_than_numbers(item, where, field, depth + 1)
    elif type(value) not in (int, float) and not isinstance(value, np.ndarray | np.generic):
        raise InputError(where, field, found=shown(value), expected="numbers")
