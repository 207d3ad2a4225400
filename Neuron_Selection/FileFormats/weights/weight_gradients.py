"""``weight_gradients.json``, ``{id: {max_logit_action, max_logit_value, gradients {parameter: list}}}``, or as npz.

The JSON holds one input per line. The npz holds blocks of up to 64 inputs, ``<block>/<parameter>`` of shape
(inputs, *shape), with ids, actions and values in ``__metadata__``.
"""

from __future__ import annotations

import hashlib
import json
import zipfile
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from Neuron_Selection.errors import InputError, shown
from Neuron_Selection.FileFormats.provenance import StoredOutput, stored_document, stored_output
from Neuron_Selection.FileFormats.storage.array_checks import check_float32
from Neuron_Selection.FileFormats.storage.atomic_files import (
    opened_to_read,
    read_bytes,
    write_atomically,
    written_atomically,
)
from Neuron_Selection.FileFormats.storage.json_files import is_finite_number, json_bytes, parse_edited_json
from Neuron_Selection.FileFormats.storage.nested_numbers import filled_float_array
from Neuron_Selection.FileFormats.storage.npz_files import (
    METADATA_KEY,
    metadata_array,
    parse_metadata,
    read_floats,
    write_array,
)
from Neuron_Selection.FileFormats.storage.zip_members import ZipMembers

BLOCK = 64
_HINT = "gradients.py makes it"
_PER_INPUT = ("ids", "actions", "values")
_OPENING = 16  # bytes; the first line of files written by this suite is a brace


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class InputGradient:
    """The signed gradient of one input's greatest Q-value: parameter to an array of its shape."""

    input_id: str
    action: int
    value: float
    gradients: Mapping[str, np.ndarray]


def load_weight_gradients(path: Path) -> Iterator[InputGradient]:
    """Load the gradients of a file, one input after the other; the file's name decides between JSON and npz.

    A JSON file written by this suite is read line by line, a published one or an npz at once.

    :raises InputError: not such a file, values that are not numbers, or inputs with different parameters
    """
    shapes: dict[str, tuple[int, ...]] | None = None
    for gradient in _read_npz(path) if path.suffix == ".npz" else _read_json(path):
        found = {name: array.shape for name, array in gradient.gradients.items()}
        shapes = shapes or found
        if found != shapes:
            odd = next(name for name in [*shapes, *found] if found.get(name) != shapes.get(name))
            raise InputError(
                path,
                f"{shown(gradient.input_id)}.gradients.{shown(odd, quoted=False)}",
                problem="is missing or has another shape than for the first input",
            )
        yield gradient


def stored_gradients(path: Path) -> StoredOutput:
    """A weight_gradients file, JSON or npz, as it is on disk now."""
    if path.suffix != ".npz":
        meta = path.with_name("weight_gradients.meta.json")
        return stored_output(stored_document(meta), {"gradients_sha256": path})
    try:
        complete = _npz_metadata(_npz_members(path), path)
    except InputError:
        complete = None
    return StoredOutput(files=(path,), complete=complete)


def _read_json(path: Path) -> Iterator[InputGradient]:
    seen: set[str] = set()
    with opened_to_read(path, hint=_HINT) as file:
        for text in _documents(file, path):
            document = parse_edited_json(text, path)
            if not isinstance(document, dict) or not document:
                expected = "an object {id: {max_logit_action, ..., gradients}}"
                raise InputError(path, found=shown(document), expected=expected)
            for input_id, entry in document.items():
                if input_id in seen:
                    raise InputError(path, shown(input_id), found="a duplicate key", expected="unique keys")
                seen.add(input_id)
                yield _gradient(path, input_id, entry)


def _documents(file: BinaryIO, path: Path) -> Iterator[bytes]:
    """One object per input, read line by line, for a file written by this suite; otherwise the whole file."""
    first = file.readline() if file.readline(_OPENING).strip() == b"{" else b""
    if not first.startswith(b'"') or not first.strip().endswith((b"}", b"},")):
        yield read_bytes(path, limit=1 << 33)
        return
    line, more = first.strip(), True
    while more:
        more = line.endswith(b",")
        yield b"{" + line.removesuffix(b",") + b"}"
        line = file.readline().strip()
    if line != b"}" or file.read(_OPENING).strip():
        raise InputError(path, problem="is truncated, or has text after its last input", hint=_HINT)


def _gradient(path: Path, input_id: str, entry: Any) -> InputGradient:
    field = shown(input_id)
    if not isinstance(entry, dict) or not isinstance(entry.get("gradients"), dict) or not entry["gradients"]:
        raise InputError(path, field, found=shown(entry), expected="an object with gradients {parameter: numbers}")
    gradients: dict[str, np.ndarray] = {}
    for name, value in entry["gradients"].items():
        gradients[name] = filled_float_array(value, path, f"{field}.gradients.{shown(name, quoted=False)}")
    action, value = _decision(entry.get("max_logit_action"), entry.get("max_logit_value"), path, field)
    return InputGradient(input_id=input_id, action=action, value=value, gradients=gradients)


def _decision(action: Any, value: Any, path: Path, field: str) -> tuple[int, float]:
    if type(action) is not int or action < 0:
        raise InputError(path, f"{field}.max_logit_action", found=shown(action), expected="the index of an action")
    if not is_finite_number(value):
        raise InputError(path, f"{field}.max_logit_value", found=shown(value), expected="a finite number")
    return action, float(value)


def _npz_members(path: Path) -> ZipMembers:
    return ZipMembers(read_bytes(path, limit=1 << 33, hint="gradients.py --format npz makes it"), where=path)


def _npz_metadata(members: ZipMembers, path: Path) -> dict[str, Any]:
    """The metadata, with ids, actions and values of equal length.

    :raises InputError: other metadata, such as those of activations
    """
    metadata = parse_metadata(members.read(f"{METADATA_KEY}.npy"), path)
    columns: list[Any] = [metadata.get(key) for key in _PER_INPUT] if isinstance(metadata, dict) else []
    lengths = {len(values) if isinstance(values, list) else 0 for values in columns}
    if len(lengths) != 1 or 0 in lengths:
        raise InputError(path, METADATA_KEY, "lacks ids, actions or values of equal length")
    parameters = metadata.get("parameters", [])  # missing in files of version 0.1.0
    if not isinstance(parameters, list) or not all(isinstance(name, str) for name in parameters):
        raise InputError(path, f"{METADATA_KEY}.parameters", found=shown(parameters), expected="a list of names")
    ids, actions, values = columns
    for input_id, action, value in zip(ids, actions, values, strict=True):
        if not isinstance(input_id, str):
            raise InputError(path, "ids", found=shown(input_id), expected="text")
        _decision(action, value, path, shown(input_id))
    if len(set(ids)) < len(ids):
        twice = next(input_id for input_id, count in Counter(ids).items() if count > 1)
        raise InputError(path, shown(twice), "the id is listed twice")
    return dict(metadata)


def _read_npz(path: Path) -> Iterator[InputGradient]:
    members = _npz_members(path)
    metadata = _npz_metadata(members, path)
    ids = metadata["ids"]
    starts = range(0, len(ids), BLOCK)
    keys: dict[str, list[str]] = {f"{number:06d}": [] for number in range(len(starts))}
    for name in members.names:
        block, _, key = name.removesuffix(".npy").partition("/")
        if name != f"{METADATA_KEY}.npy":
            if block not in keys or not key or not name.endswith(".npy"):
                raise InputError(path, shown(name), "the member belongs to no input")
            keys[block].append(key)
    for (block, parameters), start in zip(keys.items(), starts, strict=True):
        rows = range(start, min(start + BLOCK, len(ids)))
        if not parameters:
            raise InputError(path, f"block {block}", f"has no gradients of its {len(rows)} inputs")
        missing = [name for name in metadata.get("parameters", ()) if name not in parameters]
        if missing:
            raise InputError(path, shown(f"{block}/{missing[0]}"), "is missing")
        arrays = {name: read_floats(members, f"{block}/{name}", path) for name in parameters}
        for name, array in arrays.items():
            if array.shape[:1] != (len(rows),) or array.size == 0:
                expected = f"({len(rows)}, ...), one row per input"
                raise InputError(path, shown(f"{block}/{name}"), found=f"shape {array.shape}", expected=expected)
            check_float32(array, path, shown(f"{block}/{name}"))
        for row, number in enumerate(rows):
            yield InputGradient(
                input_id=ids[number],
                action=metadata["actions"][number],
                value=float(metadata["values"][number]),
                gradients={name: array[row] for name, array in arrays.items()},
            )


def save_weight_gradients(
    folder: Path, gradients: Iterable[InputGradient], *, formats: Iterable[str], metadata: Mapping[str, Any]
) -> list[Path]:
    """Write ``weight_gradients.json``, ``weight_gradients.npz`` or both, in one pass.

    :param formats: of ``json`` and ``npz``
    :return: the paths written; the metadata of the JSON file are in ``weight_gradients.meta.json``
    """
    paths = {kind: folder / f"weight_gradients.{kind}" for kind in formats}
    with ExitStack() as open_files:
        files = {kind: open_files.enter_context(written_atomically(path)) for kind, path in paths.items()}
        writers: list[_JsonWriter | _NpzWriter] = []
        digest = hashlib.sha256()
        if "json" in files:
            writers.append(_JsonWriter(files["json"], digest))
        if "npz" in files:
            archive = open_files.enter_context(zipfile.ZipFile(files["npz"], "w"))
            writers.append(_NpzWriter(archive, metadata))
        for gradient in gradients:
            arrays = {**gradient.gradients, "max_logit_value": np.asarray(gradient.value)}
            odd = next((name for name, array in arrays.items() if not np.isfinite(array).all()), None)
            if odd is not None:
                field = f"{shown(gradient.input_id)}.{odd}"
                raise InputError(folder, field, found="NaN or infinity", expected="finite numbers")
            for writer in writers:
                writer.add(gradient)
        for writer in writers:
            writer.finish()
        if "json" in paths:  # renamed into place first: an interrupted run leaves no file without metadata
            described = {**metadata, "gradients_sha256": digest.hexdigest()}
            write_atomically(folder / "weight_gradients.meta.json", json_bytes(described))
    return list(paths.values())


class _JsonWriter:
    def __init__(self, file: BinaryIO, digest: hashlib._Hash) -> None:
        self.file = file
        self.digest = digest  # of the bytes written, since reading them back would need their size in memory
        self.empty = True

    def _write(self, data: bytes) -> None:
        self.file.write(data)
        self.digest.update(data)

    def add(self, gradient: InputGradient) -> None:
        import msgspec

        entry = {
            "max_logit_action": gradient.action,
            "max_logit_value": gradient.value,
            "gradients": {name: array.tolist() for name, array in gradient.gradients.items()},
        }
        self._write(b"{\n" if self.empty else b",\n")
        self._write(json.dumps(gradient.input_id, ensure_ascii=False).encode() + b": " + msgspec.json.encode(entry))
        self.empty = False

    def finish(self) -> None:
        self._write(b"{}\n" if self.empty else b"\n}\n")


class _NpzWriter:
    def __init__(self, archive: zipfile.ZipFile, metadata: Mapping[str, Any]) -> None:
        self.archive = archive
        self.metadata = dict(metadata)
        self.columns: dict[str, list[Any]] = {"ids": [], "actions": [], "values": []}
        self.block: list[InputGradient] = []
        self.blocks = 0
        self.parameters: list[str] = []  # in every block, so that a reader can find missing ones

    def add(self, gradient: InputGradient) -> None:
        self.block.append(gradient)
        self.columns["ids"].append(gradient.input_id)
        self.columns["actions"].append(gradient.action)
        self.columns["values"].append(gradient.value)
        if len(self.block) == BLOCK:
            self._write_block()

    def finish(self) -> None:
        if self.block:
            self._write_block()
        described = {**self.metadata, **self.columns, "block": BLOCK, "parameters": self.parameters}
        write_array(self.archive, METADATA_KEY, metadata_array(described))

    def _write_block(self) -> None:
        self.parameters = list(self.block[0].gradients)
        for name in self.parameters:
            key = f"{self.blocks:06d}/{name}"
            write_array(self.archive, key, np.stack([gradient.gradients[name] for gradient in self.block]))
        self.blocks += 1
        self.block = []
