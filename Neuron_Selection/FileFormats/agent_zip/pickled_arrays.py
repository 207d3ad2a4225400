"""Convert inert pickle records of numpy 1 and 2 to arrays, dtypes and scalars."""

from __future__ import annotations

import re
from typing import Any

import numpy as np

from Neuron_Selection.FileFormats.agent_zip.pickled_data import Built, Name
from Neuron_Selection.FileFormats.storage.array_checks import checked_shape

_MULTIARRAY = ("numpy.core.multiarray", "numpy._core.multiarray")
_RECONSTRUCT = {Name(module, "_reconstruct") for module in _MULTIARRAY}
_SCALAR = {Name(module, "scalar") for module in _MULTIARRAY}
_FROMBUFFER = {Name("numpy.core.numeric", "_frombuffer"), Name("numpy._core.numeric", "_frombuffer")}
_ARRAY_DATA = _RECONSTRUCT | _SCALAR | _FROMBUFFER | {Name("numpy", "dtype")}
_DTYPE_NAME = re.compile(r"bool_?|u?int(8|16|32|64)?|float(16|32|64)?_?|b1|[iu][1248]|f[248]")


def is_array_data(record: object) -> bool:
    """Whether a record is a numpy array, scalar or dtype."""
    called = record.callable if isinstance(record, Built) else None
    return isinstance(called, Name) and called in _ARRAY_DATA


def scalar_from(record: object) -> bool | int | float:
    """The plain value of a numpy scalar.

    :raises ValueError: anything else, an array included
    """
    array = array_from(record)
    if array.shape != ():
        raise ValueError("an array instead of one value")
    value: bool | int | float = array.item()
    return value


def integer_from(record: object) -> int:
    """A Python integer, from an integer or a numpy scalar.

    :raises ValueError: anything else, booleans included
    """
    value = array_from(record).item() if isinstance(record, Built) else record
    if not isinstance(value, int) or isinstance(value, bool):
        raise ValueError("not an integer")
    return value


def dtype_from(record: object) -> np.dtype[Any]:
    """A dtype of booleans, integers or floats, from a pickled ``numpy.dtype`` or a scalar type such as numpy.float32.

    :raises ValueError: any other
    """
    if isinstance(record, Name) and record.module == "numpy":
        return _plain_dtype(record.qualname)
    if not (isinstance(record, Built) and record.callable == Name("numpy", "dtype")):
        raise ValueError("not a dtype")
    arguments, state = record.args, record.state
    if not (isinstance(arguments, tuple) and arguments and isinstance(arguments[0], str)):
        raise ValueError("a dtype without its name")
    dtype = _plain_dtype(arguments[0])
    order = state[1] if isinstance(state, tuple) and len(state) > 1 else "="
    if order not in ("<", ">", "|", "="):
        raise ValueError("a dtype without a byte order")
    return np.dtype(f"{order}{dtype.str[1:]}")


def array_from(record: object) -> np.ndarray:
    """A numpy array of booleans, integers or floats, in native byte order; a scalar is an array of shape ().

    :raises ValueError: any other record, or sizes that do not match
    """
    if not isinstance(record, Built) or not isinstance(record.args, tuple) or not isinstance(record.callable, Name):
        raise ValueError("not an array")  # a crafted callable could take forever to hash
    if record.callable in _SCALAR:
        dtype, data = record.args
        return _array(data, dtype_from(dtype), (), order="C")
    if record.callable in _FROMBUFFER:
        data, dtype, shape, order = record.args
        return _array(data, dtype_from(dtype), shape, order=order)
    if record.callable in _RECONSTRUCT and isinstance(record.state, tuple) and len(record.state) == 5:
        _version, shape, dtype, is_fortran, data = record.state
        return _array(data, dtype_from(dtype), shape, order="F" if is_fortran else "C")
    raise ValueError("not an array")


def _array(data: object, dtype: np.dtype[Any], shape: object, *, order: object) -> np.ndarray:
    if not isinstance(data, bytes) or order not in ("C", "F"):
        raise ValueError("an array without its bytes or order")
    array = np.frombuffer(data, dtype)
    return array.reshape(checked_shape(shape), order="F" if order == "F" else "C").astype(dtype.newbyteorder("="))


def _plain_dtype(name: str) -> np.dtype[Any]:
    if not _DTYPE_NAME.fullmatch(name):
        raise ValueError("a dtype other than of booleans, integers or floats")
    return np.dtype(name.rstrip("_"))
