"""Definitions files: a list of patches, ``[{"q_net.0": [0]}, {"q_net.0": [5, 6], "q_net.2": "all"}]``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from Neuron_Selection.errors import InputError, UsageError, shown
from Neuron_Selection.FileFormats.atomic_files import write_atomically
from Neuron_Selection.FileFormats.json_files import json_bytes, read_edited_json
from Neuron_Selection.FileFormats.patch_spec import parse_patch_spec


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


def save_definitions(path: Path, patches: Sequence[Mapping[str, Any]]) -> None:
    """Write patches, one a line."""
    write_atomically(path, definitions_bytes(patches))


def definitions_bytes(patches: Sequence[Mapping[str, Any]]) -> bytes:
    """The bytes of a definitions file, one patch a line."""
    lines = ",\n".join("  " + json_bytes(dict(patch), indent=None).decode().strip() for patch in patches)
    return f"[\n{lines}\n]\n".encode()
