"""Activations files: ``<name>_activations.npz``, and a readable JSON file with the same values.

The npz holds one array per input and layer under the key ``<id>_<layer>``, with a leading batch axis of 1, and a
``__metadata__`` entry (JSON bytes) with the SHA-256 of the JSON file. Scripts read the npz.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from Neuron_Selection.errors import InputError, shown
from Neuron_Selection.FileFormats.inputs import check_input_id
from Neuron_Selection.FileFormats.provenance import StoredOutput, check_format, metadata_of_files
from Neuron_Selection.FileFormats.storage.atomic_files import read_bytes, sha256_of, write_together
from Neuron_Selection.FileFormats.storage.json_files import large_json_bytes
from Neuron_Selection.FileFormats.storage.known_names import refuse_unknown
from Neuron_Selection.FileFormats.storage.npz_files import (
    METADATA_KEY,
    metadata_array,
    npz_bytes,
    parse_metadata,
    read_array,
)
from Neuron_Selection.FileFormats.storage.zip_members import ZipMembers

KEY_ENCODING = "<id>_<layer>"
FINAL_Q_VALUES = "final_q_values"  # published files hold the Q-values under this name


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Activations:
    """Recorded outputs of layers.

    ``values``: layer to array (n_ids, *shape of one output). ``metadata`` and ``weights_sha256`` are empty for
    published files.
    """

    where: str
    sha256: str
    ids: tuple[str, ...]
    values: Mapping[str, np.ndarray]
    metadata: Mapping[str, Any]

    @property
    def weights_sha256(self) -> str:
        """Fingerprint of the recorded network; empty if unknown."""
        return str(self.metadata.get("run", {}).get("weights_sha256", ""))

    def selected(self, ids: Sequence[str]) -> Activations:
        """The activations of these ids, in the order given.

        :raises SuiteError: an unknown id, or one given twice
        """
        if tuple(ids) == self.ids:
            return self
        refuse_unknown(ids, self.ids, what="input id", where=self.where)
        row_of = {input_id: row for row, input_id in enumerate(self.ids)}
        rows = [row_of[input_id] for input_id in ids]
        return replace(self, ids=tuple(ids), values={layer: array[rows] for layer, array in self.values.items()})


def activations_name(inputs_path: Path) -> str:
    """The stem without ``_inputs``: ``clean`` for ``clean_inputs.json``."""
    return inputs_path.stem.removesuffix("_inputs") or inputs_path.stem


def activation_paths(folder: Path, name: str) -> tuple[Path, Path]:
    """The paths of the npz and of the readable JSON file of one inputs file."""
    return folder / f"{name}_activations.npz", folder / f"{name}_activations_readable.json"


def save_activations(
    npz_path: Path,
    readable_path: Path,
    ids: Sequence[str],
    values: Mapping[str, np.ndarray],
    *,
    metadata: Mapping[str, Any],
) -> None:
    """Write both files.

    :param values: layer to array (n_ids, *shape), finite
    """
    _refuse_ambiguous_keys(ids, list(values), npz_path)
    for layer, array in values.items():
        if not np.isfinite(array).all():
            raise InputError(npz_path, layer, found="NaN or infinity", expected="finite numbers")
    document = {
        input_id: {layer: array[row : row + 1].tolist() for layer, array in values.items()}
        for row, input_id in enumerate(ids)
    }
    readable = large_json_bytes(document)
    described = {
        **metadata,
        "layers": {layer: list(array.shape[1:]) for layer, array in values.items()},
        "ids": list(ids),
        "key_encoding": KEY_ENCODING,
        "readable_sha256": sha256_of(readable),
    }
    members = {
        f"{input_id}_{layer}": array[row : row + 1]
        for row, input_id in enumerate(ids)
        for layer, array in values.items()
    }
    members[METADATA_KEY] = metadata_array(described)
    # the npz, named last, is renamed into place first: its metadata allow an interrupted run to be finished
    write_together({readable_path: readable, npz_path: npz_bytes(members)})


def load_activations(path: Path, layers: Mapping[str, str]) -> Activations:
    """Load a whole npz file, written by this suite or published.

    :param layers: every name a layer may have in the file, and its canonical name; since ids may contain underscores,
        these names are matched at the end of each key
    :raises InputError: not such a file, an array that is not finite floats, or an id without one of the layers
    """
    data = read_bytes(path, hint="activation_extraction.py makes it")
    if data.lstrip()[:1] == b"{":
        raise InputError(path, found="JSON", expected="an npz file", hint="readable activations end in .json")
    members = ZipMembers(data, where=path)
    keys = [name.removesuffix(".npy") for name in members.names]
    if len(set(keys)) < len(keys):
        twice = next(key for key in keys if f"{key}.npy" in members and key in members)
        raise InputError(path, shown(twice), "is stored twice, with and without .npy")
    metadata = _read_metadata(members, path) if METADATA_KEY in keys else {}
    if metadata:
        _check_twin(path, metadata)
        if len(metadata["ids"]) * len(metadata["layers"]) >= len(keys):  # checked before all keys are listed
            expected = f"{len(metadata['ids']):,} ids x {len(metadata['layers']):,} layers, as in the metadata"
            raise InputError(path, found=f"{len(keys) - 1:,} arrays", expected=expected)
        wanted = {
            f"{input_id}_{layer}": (input_id, layers.get(layer, layer))
            for input_id in metadata["ids"]
            for layer in metadata["layers"]
        }
    else:
        wanted = {key: place for key in keys if (place := _split_key(key, layers))}
    if not wanted:
        known = ", ".join(list(layers)[:6])
        raise InputError(path, found=f"{len(keys)} arrays, none named <id>_<layer>", expected=f"layers such as {known}")
    return _collected(path, sha256_of(data), members, wanted, metadata)


def stored_activations(npz_path: Path, readable_path: Path) -> StoredOutput:
    """Both files of one inputs file as they are on disk now."""
    metadata = stored_npz_metadata(npz_path)
    has_twin = readable_path.is_file()
    complete = metadata_of_files(metadata, {"readable_sha256": readable_path}) if has_twin else None
    unfinished = None if readable_path.exists() else metadata
    return StoredOutput(files=(npz_path, readable_path), complete=complete, unfinished=unfinished)


def stored_npz_metadata(path: Path) -> dict[str, Any] | None:
    """The metadata in an npz file, or None if it has none that can be read."""
    try:
        return _read_metadata(ZipMembers(read_bytes(path), where=path), path)
    except InputError:
        return None


def _collected(
    path: Path, sha256: str, members: ZipMembers, wanted: Mapping[str, tuple[str, str]], metadata: Mapping[str, Any]
) -> Activations:
    rows: dict[str, dict[str, np.ndarray]] = {}
    ids = tuple(dict.fromkeys(input_id for input_id, _ in wanted.values()))
    for input_id in ids:
        check_input_id(input_id, path)
    for key, (input_id, layer) in wanted.items():
        if input_id in rows.setdefault(layer, {}):
            raise InputError(path, shown(input_id), f"has two arrays of {layer}, under two names")
        rows[layer][input_id] = read_array(members, key, path)
    values: dict[str, np.ndarray] = {}
    for layer, by_id in rows.items():
        without = next((input_id for input_id in ids if input_id not in by_id), None)
        if without is not None:
            raise InputError(path, shown(without), f"has no array of {layer}, which {len(by_id)} ids have")
        arrays = [by_id[input_id] for input_id in ids]  # the order in the file may differ
        odd = next((array for array in arrays if array.shape != arrays[0].shape), None)
        if odd is not None:
            raise InputError(path, layer, found=f"shapes {arrays[0].shape} and {odd.shape}", expected="one shape")
        values[layer] = np.concatenate(arrays)
    return Activations(where=str(path), sha256=sha256, ids=ids, values=values, metadata=metadata)


def _split_key(key: str, layers: Mapping[str, str]) -> tuple[str, str] | None:
    matching = [layer for layer in [*layers, FINAL_Q_VALUES] if key.endswith(f"_{layer}") and len(key) > len(layer) + 1]
    if not matching:
        return None
    layer = max(matching, key=len)
    return key[: -len(layer) - 1], layers.get(layer, layer)


def _read_metadata(members: ZipMembers, path: Path) -> dict[str, Any]:
    metadata = parse_metadata(members.read(f"{METADATA_KEY}.npy"), path)
    if not isinstance(metadata, dict):
        raise InputError(path, METADATA_KEY, found=shown(metadata), expected="an object")
    check_format(metadata, path)
    ids, layers, run = metadata.get("ids"), metadata.get("layers"), metadata.get("run")
    names_are_text = isinstance(ids, list) and isinstance(layers, dict) and all(isinstance(name, str) for name in ids)
    if not (names_are_text and isinstance(run, dict) and metadata.get("key_encoding") == KEY_ENCODING):
        raise InputError(path, METADATA_KEY, "lacks ids, layers or run")
    return metadata


def _check_twin(path: Path, metadata: Mapping[str, Any]) -> None:
    twin = path.with_name(f"{path.stem}_readable.json")
    if twin.exists() and sha256_of(read_bytes(twin)) != metadata.get("readable_sha256"):
        raise InputError(
            path,
            problem=f"does not hold the values of {twin.name} next to it",
            hint="activation_extraction.py --overwrite writes both again",
        )


def _refuse_ambiguous_keys(ids: Sequence[str], layers: Sequence[str], where: Path) -> None:
    keys: dict[str, str] = {}
    for input_id in ids:
        for layer in layers:
            key = f"{input_id}_{layer}"
            if key in keys:
                raise InputError(where, shown(input_id), f"with {layer}, has the same key as {shown(keys[key])}")
            keys[key] = input_id
