"""Members of the npz files that we write: arrays, and the metadata among them as JSON bytes."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Mapping
from typing import Any

import numpy as np

from Neuron_Selection.errors import InputError
from Neuron_Selection.FileFormats.json_files import json_bytes
from Neuron_Selection.FileFormats.npy_arrays import npy_header

METADATA_KEY = "__metadata__"
EPOCH = (1980, 1, 1, 0, 0, 0)  # of every member, so that the same run writes the same bytes


def write_array(archive: zipfile.ZipFile, key: str, array: np.ndarray) -> None:
    """One array as the member ``<key>.npy``."""
    member = io.BytesIO()
    np.lib.format.write_array(member, np.ascontiguousarray(array), allow_pickle=False)
    archive.writestr(zipfile.ZipInfo(f"{key}.npy", EPOCH), member.getbuffer())


def metadata_array(metadata: Mapping[str, Any]) -> np.ndarray:
    """Metadata as the array of bytes that stands under ``METADATA_KEY``."""
    return np.frombuffer(json_bytes(metadata, indent=None), np.uint8)


def parse_metadata(raw: bytes, where: object) -> Any:
    """The document in the bytes of the metadata's member.

    :raises InputError: no array of bytes, or bytes that are no JSON
    """
    try:
        shape, _fortran, dtype, offset = npy_header(raw)
        if dtype != np.uint8:
            return None
        if shape != (len(raw) - offset,):
            raise ValueError("an array that was cut")
        return json.loads(raw[offset:])
    except (ValueError, RecursionError) as error:
        raise InputError(where, METADATA_KEY, found="bytes that are no JSON", expected="metadata") from error
