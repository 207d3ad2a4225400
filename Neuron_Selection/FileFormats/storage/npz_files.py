"""Arrays and metadata in npz files, read without pickle and without trusting the sizes in headers."""

from __future__ import annotations

import io
import json
import math
import tokenize
import warnings
import zipfile
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from Neuron_Selection.errors import InputError, shown
from Neuron_Selection.FileFormats.storage.array_checks import check_finite, checked_shape
from Neuron_Selection.FileFormats.storage.json_files import json_bytes
from Neuron_Selection.FileFormats.storage.zip_members import ZipMembers


def read_array(members: ZipMembers, key: str, path: Path) -> np.ndarray:
    """The float array of shape (1, ...) under ``key``.

    :raises InputError: as ``read_floats``; also another shape
    """
    array = read_floats(members, key, path)
    if array.ndim < 2 or array.shape[0] != 1 or array.size == 0:
        raise InputError(
            path, shown(key), found=f"shape {array.shape}", expected="(1, n): a batch axis of 1, then the neurons"
        )
    return array


def read_floats(members: ZipMembers, key: str, path: Path) -> np.ndarray:
    """The float array under ``key``, in native byte order.

    :raises InputError: pickled objects, other dtypes, a header that does not match its bytes, NaN
    """
    name = f"{key}.npy"
    data = members.read(name if name in members else key)
    try:
        shape, fortran, dtype, offset = npy_header(data[: min(len(data), 10_240)])
    except ValueError as error:
        raise InputError(path, shown(key), found="another format", expected="a .npy array of float32") from error
    if dtype.hasobject:
        raise InputError(path, shown(key), found="pickled objects", expected="float32 arrays")
    if dtype.kind != "f" or dtype.itemsize not in (4, 8):
        raise InputError(path, shown(key), found=f"{dtype.name} values", expected="float32")
    size = math.prod(shape) * dtype.itemsize
    if size != len(data) - offset:
        found, expected = f"{len(data) - offset:,} bytes", f"{size:,}, as in the header"
        raise InputError(path, shown(key), found=found, expected=expected)
    array = np.frombuffer(data, dtype, offset=offset).reshape(shape, order="F" if fortran else "C")
    check_finite(array, path, shown(key))
    native: np.ndarray = array.astype(dtype.newbyteorder("="), copy=False)
    return native


@lru_cache(maxsize=64)
def _header_of(head: bytes) -> tuple[tuple[int, ...], bool, np.dtype[Any], int]:
    file = io.BytesIO(head)
    version = np.lib.format.read_magic(file)
    read = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}.get(version)
    if read is None:
        raise ValueError("unknown version of the .npy format")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # headers of Python 2 and aliases of old numpy are valid
        try:
            shape, fortran, dtype = read(file)
        except (TypeError, SyntaxError, RecursionError, MemoryError, tokenize.TokenError) as error:
            raise ValueError("the header does not describe an array") from error
    return checked_shape(shape), fortran, dtype, file.tell()


def npy_header(head: bytes) -> tuple[tuple[int, ...], bool, np.dtype[Any], int]:
    """Shape, Fortran order, dtype, and offset of the values; equal headers are parsed once."""
    if head[:6] != b"\x93NUMPY" or len(head) < 12:
        raise ValueError("not a .npy array")
    length = int.from_bytes(head[8:10], "little") + 10 if head[6] == 1 else int.from_bytes(head[8:12], "little") + 12
    return _header_of(head[:length])


METADATA_KEY = "__metadata__"
EPOCH = (1980, 1, 1, 0, 0, 0)  # time stamp of every member, so that the same run writes the same bytes


def write_array(archive: zipfile.ZipFile, key: str, array: np.ndarray) -> None:
    """Write one array as the member ``<key>.npy``."""
    member = io.BytesIO()
    np.lib.format.write_array(member, np.ascontiguousarray(array), allow_pickle=False)
    archive.writestr(zipfile.ZipInfo(f"{key}.npy", EPOCH), member.getbuffer())


def npz_bytes(arrays: Mapping[str, np.ndarray]) -> bytes:
    """The bytes of an npz file, the same for the same arrays."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, array in arrays.items():
            write_array(archive, name, array)
    return buffer.getvalue()


def metadata_array(metadata: Mapping[str, Any]) -> np.ndarray:
    """Metadata as the array of bytes that is stored under ``METADATA_KEY``."""
    return np.frombuffer(json_bytes(metadata, indent=None), np.uint8)


def parse_metadata(raw: bytes, where: object) -> Any:
    """Parse the member that holds the metadata.

    :raises InputError: not an array of bytes, or bytes that are not JSON
    """
    try:
        shape, _fortran, dtype, offset = npy_header(raw)
        if dtype != np.uint8:
            return None
        if shape != (len(raw) - offset,):
            raise ValueError("the array is truncated")
        return json.loads(raw[offset:])
    except (ValueError, RecursionError) as error:
        raise InputError(where, METADATA_KEY, found="bytes that are not JSON", expected="metadata") from error
