"""Definitions files: a list of patches, ``[{"q_net.0": [0]}, {"q_net.0": [5, 6], "q_net.2": "all"}]``.

Which of them are random sets, drawn as control, stands in ``<stem>.meta.json`` beside the list, where there are any.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from Neuron_Selection.errors import InputError, UsageError, shown
from Neuron_Selection.FileFormats.patch_spec import parse_patch_spec
from Neuron_Selection.FileFormats.provenance import meta_path
from Neuron_Selection.FileFormats.storage.atomic_files import read_bytes, sha256_of, write_atomically, write_together
from Neuron_Selection.FileFormats.storage.json_files import json_bytes, read_edited_json


def load_definitions(path: Path) -> list[dict[str, Any]]:
    """The patches of a file, in their order; which layers and neurons exist is checked against an agent later.

    :raises InputError: no list, an empty one, or an entry that is no patch
    """
    document = read_edited_json(path, hint="a list of patches such as [{'q_net.0': [5, 6]}, {'q_net.2': 'all'}]")
    if not isinstance(document, list):
        raise InputError(path, found=shown(document), expected="a list of patches")
    if not document:
        raise InputError(path, found="an empty list", expected="at least one patch")
    for number, patch in enumerate(document, start=1):
        check_patch(patch, path, f"entry {number}")
    return document


def check_patch(patch: Any, where: object, field: str) -> None:
    """Refuse what is no patch in JSON form.

    :raises InputError: the field, and what is wrong in it
    """
    if not isinstance(patch, dict):
        raise InputError(where, field, found=shown(patch), expected="an object {layer: [indices] | 'all'}")
    try:
        parse_patch_spec(patch)
    except UsageError as error:
        raise InputError(where, f"{field}: {str(error).removeprefix('patch spec: ')}") from error


def load_random_sets(path: Path) -> tuple[int, ...]:
    """Which patches of a definitions file are random sets, as positions from 1; none where nothing says so.

    :raises InputError: what lies beside the file belongs to another list
    """
    beside = meta_path(path)
    if not beside.exists():
        return ()
    metadata = read_edited_json(beside)
    if not isinstance(metadata, dict) or metadata.get("definitions_sha256") != sha256_of(read_bytes(path)):
        hint = f"remove {beside.name} if {path.name} was edited: no set counts as random then"
        raise InputError(beside, found="the hash of another list", expected="a pair", hint=hint)
    run = metadata.get("run")
    return positions_of(run.get("random_sets", []) if isinstance(run, dict) else None, beside)


def positions_of(random_sets: Any, where: object, *, count: int | None = None) -> tuple[int, ...]:
    """Random sets as metadata name them, checked: positions of patches, counted from 1.

    :param count: how many patches there are, where that is known; one at least is no random set
    :raises InputError: no list of such positions
    """
    fits = isinstance(random_sets, list) and all(
        type(number) is int and 1 <= number <= (count or number) for number in random_sets
    )
    if not fits or (count is not None and len(set(random_sets)) >= count):
        expected = "a list of positions, from 1, that leaves some out"
        raise InputError(where, "run.random_sets", found=shown(random_sets), expected=expected)
    return tuple(random_sets)


def save_definitions(
    path: Path, patches: Sequence[Mapping[str, Any]], *, metadata: Mapping[str, Any] | None = None
) -> None:
    """Write patches, one a line.

    :param metadata: what stands beside them, None for nothing; what an earlier list left there goes
    """
    data = definitions_bytes(patches)
    if metadata is None:
        if tells_of_definitions(meta_path(path)):
            meta_path(path).unlink()
        write_atomically(path, data)
    else:
        write_together({path: data, meta_path(path): json_bytes({**metadata, "definitions_sha256": sha256_of(data)})})


def tells_of_definitions(path: Path) -> bool:
    """Whether there are metadata of a definitions file, and not of something else of that name."""
    try:
        metadata = read_edited_json(path)
    except InputError:
        return False
    return isinstance(metadata, dict) and "definitions_sha256" in metadata


def definitions_bytes(patches: Sequence[Mapping[str, Any]]) -> bytes:
    """The bytes of a definitions file, one patch a line."""
    lines = ",\n".join("  " + json_bytes(dict(patch), indent=None).decode().strip() for patch in patches)
    return f"[\n{lines}\n]\n".encode()
