"""Readable activations: ``{id: {layer: [[floats]]}}``, with a leading batch axis of 1."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from Neuron_Selection.errors import InputError, shown
from Neuron_Selection.FileFormats.activations import FINAL_Q_VALUES, Activations, load_activations, stored_metadata
from Neuron_Selection.FileFormats.inputs import check_input_id
from Neuron_Selection.FileFormats.storage.atomic_files import read_bytes, sha256_of
from Neuron_Selection.FileFormats.storage.json_files import parse_edited_json
from Neuron_Selection.FileFormats.storage.nested_numbers import filled_float_array


def load_npz_or_readable(path: Path, layers: Mapping[str, str]) -> Activations:
    """Activations in either form, told apart by the file's name.

    :param layers: every name a layer may have in the file, and its canonical name
    """
    return load_readable(path, layers) if path.suffix == ".json" else load_activations(path, layers)


def load_readable(path: Path, layers: Mapping[str, str]) -> Activations:
    """A whole readable file; what it holds beside layers (``final_features``) is left aside.

    :raises InputError: not such a file, values that are no numbers, an id without one of the layers, other values
        than in the npz beside it
    """
    data = read_bytes(path, hint="activation_extraction.py makes it")
    if data[:2] == b"PK":
        raise InputError(path, found="a zip", expected="readable JSON", hint="an npz keeps its ending")
    sha256 = sha256_of(data)
    _check_npz(path, sha256)
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
                rows.setdefault(canonical, []).append(_array(entry[layer], path, f"{shown(input_id)}.{layer}"))
    if not rows:
        raise InputError(
            path, found="none of this agent's layers", expected=f"layers such as {', '.join(layers)}"[:120]
        )
    values: dict[str, np.ndarray] = {}
    for layer, arrays in rows.items():
        shapes = {array.shape for array in arrays}
        if len(arrays) != len(document) or len(shapes) > 1:
            found = f"{len(arrays)} arrays of {len(shapes)} shapes"
            raise InputError(path, layer, found=found, expected=f"one an id, {len(document)}, of one shape")
        values[layer] = np.concatenate(arrays)
    return Activations(where=str(path), sha256=sha256, ids=tuple(document), values=values, metadata={})


def _array(value: Any, path: Path, field: str) -> np.ndarray:
    array = filled_float_array(value, path, field)
    if array.ndim < 2 or array.shape[0] != 1:
        found = f"shape {array.shape}"
        raise InputError(path, field, found=found, expected="[[numbers]]: a batch axis of 1, then the neurons")
    return array.astype(np.float32)


def _check_npz(path: Path, sha256: str) -> None:
    """Refuse a file that was changed since it was written with the npz beside it, which carries its sha256."""
    npz = path.with_name(f"{path.stem.removesuffix('_readable')}.npz")
    metadata = stored_metadata(npz) if npz.stem != path.stem else None
    if metadata is not None and metadata.get("readable_sha256") != sha256:
        raise InputError(
            path,
            found=f"other values than in {npz.name} beside it",
            expected="the file written with it",
            hint="run activation_extraction.py again",
        )
