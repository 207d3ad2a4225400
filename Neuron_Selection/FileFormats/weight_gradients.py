"""``weight_gradients.json``, ``{id: {max_logit_action, max_logit_value, gradients {parameter: list}}}``; its npz twin.

The JSON holds one input a line. The npz holds blocks of up to 64 inputs, ``<block>/<parameter>`` of shape
(inputs, *shape), with ids, actions and values in ``__metadata__``.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from Neuron_Selection.errors import InputError, shown
from Neuron_Selection.FileFormats.atomic_files import read_bytes, sha256_of
from Neuron_Selection.FileFormats.json_files import parse_edited_json, read_edited_json
from Neuron_Selection.FileFormats.npy_arrays import npy_header
from Neuron_Selection.FileFormats.zip_members import ZipMembers

METADATA_KEY = "__metadata__"
BLOCK = 64


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class InputGradient:
    """The gradient of one input's greatest Q-value: parameter to an array of its shape, signed."""

    input_id: str
    action: int
    value: float
    gradients: Mapping[str, np.ndarray]


def load_weight_gradients(path: Path) -> Iterator[InputGradient]:
    """The gradients of a file, one input after the other; JSON or npz, told apart by the file's name.

    A JSON file of ours, one input a line, is read line by line; a published one as a whole.

    :raises InputError: not such a file, values that are no numbers, inputs with other parameters
    """
    shapes: dict[str, tuple[int, ...]] | None = None
    for gradient in _read_npz(path) if path.suffix == ".npz" else _read_json(path):
        found = {name: array.shape for name, array in gradient.gradients.items()}
        shapes = shapes or found
        if found != shapes:
            odd = next(iter(found.items() ^ shapes.items()))[0]
            raise InputError(
                path,
                f"{shown(gradient.input_id)}.gradients.{odd}",
                found="another shape, or none",
                expected="the same parameters for every input",
            )
        yield gradient


def stored_metadata(path: Path) -> dict[str, Any] | None:
    """The metadata of a weight_gradients file, or None where it has none that belongs to it."""
    try:
        if path.suffix == ".npz":
            return _npz_metadata(ZipMembers(read_bytes(path), where=path), path)
        metadata = read_edited_json(path.with_name("weight_gradients.meta.json"))
        fits = isinstance(metadata, dict) and metadata.get("gradients_sha256") == sha256_of(read_bytes(path))
    except InputError:
        return None
    return metadata if fits else None


def _read_json(path: Path) -> Iterator[InputGradient]:
    data = read_bytes(path, limit=1 << 33, hint="gradients.py makes it")
    lines = data.split(b"\n")
    if lines[0] == b"{" and len(lines) > 2 and lines[1].startswith(b'"') and lines[1].rstrip(b",").endswith(b"}"):
        texts = (b"{" + line.rstrip(b",") + b"}" for line in lines[1:-2])
    else:
        texts = (text for text in [data])
    seen: set[str] = set()
    for text in texts:
        document = parse_edited_json(text, path)
        if not isinstance(document, dict) or not document:
            raise InputError(path, found=shown(document), expected="an object {id: {max_logit_action, ..., gradients}}")
        for input_id, entry in document.items():
            if input_id in seen:
                raise InputError(path, shown(input_id), found="this key twice in one object", expected="once")
            seen.add(input_id)
            yield _gradient(path, input_id, entry)


def _gradient(path: Path, input_id: str, entry: Any) -> InputGradient:
    field = shown(input_id)
    if not isinstance(entry, dict) or not isinstance(entry.get("gradients"), dict) or not entry["gradients"]:
        raise InputError(path, field, found=shown(entry), expected="an object with gradients {parameter: numbers}")
    gradients: dict[str, np.ndarray] = {}
    for name, value in entry["gradients"].items():
        gradients[name] = numbers(value, path, f"{field}.gradients.{shown(name, quoted=False)}")
    action, value = entry.get("max_logit_action"), entry.get("max_logit_value")
    if type(action) is not int or not isinstance(value, int | float) or isinstance(value, bool):
        raise InputError(path, field, found="no max_logit_action or max_logit_value", expected="both")
    return InputGradient(input_id=input_id, action=action, value=float(value), gradients=gradients)


def numbers(value: Any, where: object, field: str) -> np.ndarray:
    """Nested lists as a float array.

    :raises InputError: ragged, other than numbers, or not finite
    """
    try:
        array = np.asarray(value)
    except (ValueError, OverflowError) as error:
        raise InputError(where, field, found="lists of unequal lengths", expected="a full array") from error
    if array.dtype.kind not in "if" or array.size == 0:
        raise InputError(
            where, field, found=shown(value) if array.ndim == 0 else f"{array.dtype.name} values", expected="numbers"
        )
    if not np.isfinite(array).all():
        raise InputError(where, field, found="NaN or infinity", expected="finite numbers")
    return array.astype(np.float64)


def _npz_metadata(members: ZipMembers, path: Path) -> dict[str, Any]:
    raw = members.read(f"{METADATA_KEY}.npy")
    try:
        metadata = json.loads(raw[npy_header(raw)[3] :])
    except (ValueError, RecursionError) as error:
        raise InputError(path, METADATA_KEY, found="bytes that are no JSON", expected="metadata") from error
    lengths = {len(metadata[key]) for key in ("ids", "actions", "values")} if isinstance(metadata, dict) else set()
    if len(lengths) != 1:
        raise InputError(path, METADATA_KEY, found="metadata without its ids", expected="ids, actions and values")
    return dict(metadata)


def _read_npz(path: Path) -> Iterator[InputGradient]:
    members = ZipMembers(read_bytes(path, limit=1 << 33, hint="gradients.py --format npz makes it"), where=path)
    metadata = _npz_metadata(members, path)
    names = sorted(name for name in members.names if name != f"{METADATA_KEY}.npy")
    for number, start in enumerate(range(0, len(metadata["ids"]), BLOCK)):
        prefix = f"{number:06d}/"
        arrays: dict[str, np.ndarray] = {}
        for name in names:
            if name.startswith(prefix):
                raw = members.read(name)
                shape, _fortran, dtype, offset = npy_header(raw)
                if dtype.kind != "f" or int(np.prod(shape)) * dtype.itemsize != len(raw) - offset:
                    raise InputError(path, shown(name), found="another array than its header says", expected="floats")
                arrays[name.removeprefix(prefix).removesuffix(".npy")] = np.frombuffer(
                    raw, dtype, offset=offset
                ).reshape(shape)
        for row, input_id in enumerate(metadata["ids"][start : start + BLOCK]):
            yield InputGradient(
                input_id=input_id,
                action=metadata["actions"][start + row],
                value=metadata["values"][start + row],
                gradients={name: array[row] for name, array in arrays.items()},
            )
