"""Activations files: ``<name>_activations.npz``, and beside it the readable JSON with the same values.

The npz holds one array for each input and layer under the key ``<id>_<layer>``, with a leading batch axis of 1,
and a ``__metadata__`` entry (JSON bytes). It is the truth; the JSON is written first and the npz carries its
sha256.
"""

from __future__ import annotations

import io
import zipfile
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
    parse_metadata,
    read_array,
    write_array,
)
from Neuron_Selection.FileFormats.storage.zip_members import ZipMembers

KEY_ENCODING = "<id>_<layer>"
FINAL_Q_VALUES = "final_q_values"  # published files hold the Q-values under this name


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Activations:
    """Recorded outputs of layers.

    ``values``: layer to array (n_ids, *shape of one output). ``metadata`` is empty for files of others, and so is
    ``weights_sha256``.
    """

    where: str
    sha256: str
    ids: tuple[str, ...]
    values: Mapping[str, np.ndarray]
    metadata: Mapping[str, Any]

    @property
    def weights_sha256(self) -> str:
        """Fingerprint of the network that was recorded; empty if unknown."""
        return str(self.metadata.get("run", {}).get("weights_sha256", ""))

    def selected(self, ids: Sequence[str]) -> Activations:
        """These ids, in the order given.

        :raises InputError: one is missing (the nearest are named)
        """
        if tuple(ids) == self.ids:
            return self
        refuse_unknown(ids, self.ids, what="input id", where=self.where)
        row_of = {input_id: row for row, input_id in enumerate(self.ids)}
        rows = [row_of[input_id] for input_id in ids]
        return replace(self, ids=tuple(ids), values={layer: array[rows] for layer, array in self.values.items()})


def activations_name(inputs_path: Path) -> str:
    """``clean`` for ``clean_inputs.json``: the stem less ``_inputs``."""
    return inputs_path.stem.removesuffix("_inputs") or inputs_path.stem


def activation_paths(folder: Path, name: str) -> tuple[Path, Path]:
    """The npz and the readable JSON of one inputs file."""
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
            raise InputError(npz_path, layer, found="NaN or infinity in an activation", expected="finite numbers")
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
    npz = io.BytesIO()
    with zipfile.ZipFile(npz, "w") as archive:
        for key, array in members.items():
            write_array(archive, key, array)
    # the npz takes its place first: it carries the metadata by which an interrupted run can be finished
    write_together({readable_path: readable, npz_path: npz.getvalue()})


def load_activations(path: Path, layers: Mapping[str, str]) -> Activations:
    """A whole npz file, ours or a published one.

    :param layers: every name a layer may have in the file, and its canonical name; ids may hold underscores, so
        keys are matched against these from the right
    :raises InputError: not such a file, an array that is no float or not finite, an id without one of the layers
    """
    data = read_bytes(path, hint="activation_extraction.py makes it")
    if data.lstrip()[:1] == b"{":
        raise InputError(path, found="JSON", expected="an npz file", hint="readable activations end in .json")
    members = ZipMembers(data, where=path)
    keys = [name.removesuffix(".npy") for name in members.names]
    if len(set(keys)) < len(keys):
        twice = next(key for key in keys if f"{key}.npy" in members and key in members)
        raise InputError(path, shown(twice), found="arrays with and without .npy", expected="one of a name")
    metadata = _read_metadata(members, path) if METADATA_KEY in keys else {}
    if metadata:
        _check_twin(path, metadata)
        if len(metadata["ids"]) * len(metadata["layers"]) >= len(keys):  # before a list of all of them is made
            expected = f"{len(metadata['ids']):,} ids x {len(metadata['layers']):,} layers, as the metadata says"
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
        raise InputError(
            path, found=f"{len(keys)} arrays, none called <id>_<layer>", expected=f"layers such as {known}"
        )
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
            raise InputError(path, shown(input_id), found=f"two arrays of {layer} (under two names)", expected="one")
        rows[layer][input_id] = read_array(members, key, path)
    values: dict[str, np.ndarray] = {}
    for layer, by_id in rows.items():
        without = next((input_id for input_id in ids if input_id not in by_id), None)
        if without is not None:
            raise InputError(path, shown(without), found=f"no array of {layer}", expected=f"one, as {len(by_id)} have")
        arrays = [by_id[input_id] for input_id in ids]  # whatever the order in the file
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
        raise InputError(path, METADATA_KEY, found="metadata without its ids, layers or run", expected="all of them")
    return metadata


def _check_twin(path: Path, metadata: Mapping[str, Any]) -> None:
    twin = path.with_name(f"{path.stem}_readable.json")
    if twin.exists() and sha256_of(read_bytes(twin)) != metadata.get("readable_sha256"):
        raise InputError(
            path,
            found=f"a {twin.name} beside it with other values",
            expected="the one written with it",
            hint="activation_extraction.py --overwrite makes both again",
        )


def _refuse_ambiguous_keys(ids: Sequence[str], layers: Sequence[str], where: Path) -> None:
    keys: dict[str, str] = {}
    for input_id in ids:
        for layer in layers:
            key = f"{input_id}_{layer}"
            if key in keys:
                raise InputError(
                    where,
                    shown(input_id),
                    found=f"an id that with {layer} makes the same key as {shown(keys[key])}",
                    expected="ids that stay apart",
                )
            keys[key] = input_id
