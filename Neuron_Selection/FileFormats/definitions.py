"""Definitions files: a list of patches, ``[{"q_net.0": [0]}, {"q_net.0": [5, 6], "q_net.2": "all"}]``.

If some of them are random sets, drawn as control, ``<stem>.meta.json`` next to the list names them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from Neuron_Selection.errors import InputError, UsageError, shown
from Neuron_Selection.FileFormats.hashed_files import save_hashed
from Neuron_Selection.FileFormats.patch_spec import parse_patch_spec
from Neuron_Selection.FileFormats.provenance import meta_path
from Neuron_Selection.FileFormats.storage.atomic_files import read_bytes, sha256_of, write_atomically
from Neuron_Selection.FileFormats.storage.json_files import json_bytes, read_edited_json


def load_definitions(path: Path) -> list[dict[str, Any]]:
    """The patches in a file, in order; layers and neurons are checked against an agent later.

    A circuit file is one patch, of its hidden neurons.

    :raises InputError: not a list, an empty list, or an entry that is not a patch
    """
    document = read_edited_json(path, hint="a list of patches such as [{'q_net.0': [5, 6]}, {'q_net.2': 'all'}]")
    if isinstance(document, dict) and {"nodes", "edges"} <= document.keys():
        check_patch(document["nodes"], path, "nodes")
        return [document["nodes"]]
    if not isinstance(document, list):
        raise InputError(path, found=shown(document), expected="a list of patches, or a circuit")
    if not document:
        raise InputError(path, found="an empty list", expected="a list of patches")
    for number, patch in enumerate(document, start=1):
        check_patch(patch, path, f"entry {number}")
    return document


def check_patch(patch: Any, where: object, field: str) -> None:
    """Check the JSON form of a patch.

    :raises InputError: naming the field
    """
    if not isinstance(patch, dict):
        raise InputError(where, field, found=shown(patch), expected="an object {layer: [indices] | 'all'}")
    try:
        parse_patch_spec(patch)
    except UsageError as error:
        raise patch_error(error, where, field) from error


def patch_error(error: UsageError, where: object, field: str, *, hint: str = "") -> InputError:
    """The error of a patch spec as one of the file that holds it; ``field`` names the patch."""
    place = f"{field}: {error.field}" if error.field else field
    return InputError(where, place, error.problem, found=error.found, expected=error.expected, hint=hint)


def load_random_sets(path: Path) -> tuple[int, ...]:
    """The positions, from 1, of the random sets among the patches of a definitions file; empty without metadata.

    :raises InputError: the metadata next to the file belong to a different list
    """
    meta = meta_path(path)
    if not meta.exists():
        return ()
    metadata = read_edited_json(meta)
    if not isinstance(metadata, dict) or metadata.get("definitions_sha256") != sha256_of(read_bytes(path)):
        hint = f"if {path.name} was edited, remove {meta.name}; no set then counts as random"
        raise InputError(meta, problem=f"does not belong to {path.name}", hint=hint)
    run = metadata.get("run")
    return positions_of(run.get("random_sets", []) if isinstance(run, dict) else None, meta)


def positions_of(random_sets: Any, where: object, *, count: int | None = None) -> tuple[int, ...]:
    """Check the positions of random sets in metadata, counted from 1.

    :param count: the number of patches, if known; at least one patch must not be a random set
    :raises InputError: not a list of such positions
    """
    fits = isinstance(random_sets, list) and all(
        type(number) is int and 1 <= number <= (count or number) for number in random_sets
    )
    if not fits or (count is not None and len(set(random_sets)) >= count):
        expected = "a list of some of the positions from 1"
        raise InputError(where, "run.random_sets", found=shown(random_sets), expected=expected)
    return tuple(random_sets)


def save_definitions(
    path: Path, patches: Sequence[Mapping[str, Any]], *, metadata: Mapping[str, Any] | None = None
) -> None:
    """Write patches, one per line.

    :param metadata: written next to them; if None, metadata of an earlier list are removed
    """
    data = definitions_bytes(patches)
    if metadata is None:
        if is_definitions_metadata(meta_path(path)):
            meta_path(path).unlink()
        write_atomically(path, data)
    else:
        save_hashed(path, {"definitions": path}, {"definitions": data}, metadata=metadata)


def is_definitions_metadata(path: Path) -> bool:
    """Whether a file is the metadata of a definitions file, and not of other results with that name."""
    try:
        metadata = read_edited_json(path)
    except InputError:
        return False
    return isinstance(metadata, dict) and "definitions_sha256" in metadata


def definitions_bytes(patches: Sequence[Mapping[str, Any]]) -> bytes:
    """The bytes of a definitions file, one patch per line."""
    lines = ",\n".join("  " + json_bytes(dict(patch), indent=None).decode().strip() for patch in patches)
    return f"[\n{lines}\n]\n".encode()
