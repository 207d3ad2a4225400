"""Readable activations files: ``{id: {layer: [[floats]]}}``, with a leading batch axis of 1."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from Neuron_Selection.errors import InputError, shown
from Neuron_Selection.FileFormats.activations import FINAL_Q_VALUES, Activations, load_activations, stored_npz_metadata
from Neuron_Selection.FileFormats.inputs import check_input_id
from Neuron_Selection.FileFormats.storage.atomic_files import read_bytes, sha256_of
from Neuron_Selection.FileFormats.storage.json_files import parse_edited_json
from Neuron_Selection.FileFormats.storage.nested_numbers import filled_float_array


def open_activations(path: Path, layers: Mapping[str, str]) -> Activations:
    """Load activations from an npz file or, if the file's name ends in ``.json``, from a readable file.

    :param layers: every name a layer may have in the file, and its canonical name
    :raises InputError: as ``load_activations`` and ``load_readable``
    """
    return load_readable(path, layers) if path.suffix == ".json" else load_activations(path, layers)


def load_readable(path: Path, layers: Mapping[str, str]) -> Activations:
    """Load a whole readable file; keys other than layers (``final_features``) are ignored.

    The metadata and the dtype are those of the npz file written with it, if that is still next to it.

    :raises InputError: not such a file, values that are not numbers, an id without one of the layers, or a file that
        was changed since it was written with its npz
    """
    data = read_bytes(path, hint="activation_extraction.py makes it")
    if data[:2] == b"PK":
        raise InputError(path, found="a zip", expected="readable JSON", hint="the name of an npz file must end in .npz")
    sha256 = sha256_of(data)
    metadata = _metadata_of_npz(path, sha256)
    dtype = np.float64 if metadata.get("run", {}).get("stored_dtype") == "float64" else np.float32
    document = parse_edited_json(data, path)
    if not isinstance(document, dict) or not document:
        raise InputError(path, found=shown(document), expected="an object {id: {layer: [[numbers]]}}")
    names = {**layers, FINAL_Q_VALUES: FINAL_Q_VALUES}
    rows: dict[str, list[np.ndarray]] = {}
    for input_id, entry in document.items():
        check_input_id(input_id, path)
        if not isinstance(entry, dict):
            raise InputError(path, shown(input_id), found=shown(entry), expected="an object {layer: [[numbers]]}")
        for layer, canonical in names.items():
            if layer in entry:
                rows.setdefault(canonical, []).append(
                    _array(entry[layer], path, f"{shown(input_id)}.{layer}").astype(dtype, copy=False)
                )
    if not rows:
        raise InputError(path, found="no layer of this agent", expected=f"layers such as {', '.join(layers)}"[:120])
    values: dict[str, np.ndarray] = {}
    for layer, arrays in rows.items():
        shapes = {array.shape for array in arrays}
        if len(arrays) != len(document) or len(shapes) > 1:
            found = f"{len(arrays)} arrays of {len(shapes)} shapes"
            raise InputError(path, layer, found=found, expected=f"{len(document)} arrays, one per id, of one shape")
        values[layer] = np.concatenate(arrays)
    return Activations(where=str(path), sha256=sha256, ids=tuple(document), values=values, metadata=metadata)


def _array(value: Any, path: Path, field: str) -> np.ndarray:
    array = filled_float_array(value, path, field)
    if array.ndim < 2 or array.shape[0] != 1:
        found = f"shape {array.shape}"
        raise InputError(path, field, found=found, expected="[[numbers]]: a batch axis of 1, then the neurons")
    return array


def _metadata_of_npz(path: Path, sha256: str) -> dict[str, Any]:
    """The metadata of the npz file written with a readable file; empty if there is none.

    :raises InputError: the npz file was written with a readable file of other content
    """
    npz = path.with_name(f"{path.stem.removesuffix('_readable')}.npz")
    metadata = stored_npz_metadata(npz) if npz.stem != path.stem and npz.exists() else None
    if metadata is not None and metadata.get("readable_sha256") != sha256:
        raise InputError(
            path,
            problem=f"does not hold the values of {npz.name} next to it",
            hint="run activation_extraction.py again",
        )
    return metadata or {}
