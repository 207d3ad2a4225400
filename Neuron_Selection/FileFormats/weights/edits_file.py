"""``*.edits.json``: which weights of which agent shall have which values.

``{"edits": [{layer_name, neuron_index, weight_index, value, ...}], "metadata": {weights_sha256, ...}}``; further keys
are for people. Values are exact: a float32 written as JSON reads back as the same float32.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from Neuron_Selection.errors import InputError, shown
from Neuron_Selection.FileFormats.storage.atomic_files import read_bytes, write_atomically
from Neuron_Selection.FileFormats.storage.json_files import is_finite_number, json_bytes, parse_edited_json


def save_weight_edits(path: Path, edits: Sequence[Mapping[str, Any]], *, metadata: Mapping[str, Any]) -> None:
    """Write the edits and what they belong to."""
    write_atomically(path, json_bytes({"edits": list(edits), "metadata": metadata}))


def load_weight_edits(path: Path) -> dict[str, Any]:
    """A whole file; every edit is checked, though not against a network.

    :raises InputError: no edits, or one with a wrong field
    """
    document = parse_edited_json(read_bytes(path, hint="write_agent.py --edits reads edits"), path)
    edits = document.get("edits") if isinstance(document, dict) else None
    if not isinstance(edits, list):
        raise InputError(path, "edits", found=shown(edits), expected="a list of edits")
    if not edits:
        raise InputError(path, "edits", found="an empty list", expected="at least one edit")
    for number, edit in enumerate(edits):
        field = f"edits[{number}]"
        if not isinstance(edit, dict):
            raise InputError(path, field, found=shown(edit), expected="an object")
        if not isinstance(edit.get("layer_name"), str):
            raise InputError(
                path, f"{field}.layer_name", found=shown(edit.get("layer_name")), expected="the name of a weight"
            )
        for key in ("neuron_index", "weight_index"):
            if type(edit.get(key)) is not int or edit[key] < 0:
                raise InputError(path, f"{field}.{key}", found=shown(edit.get(key)), expected="an index from 0")
        value = edit.get("value")
        if not is_finite_number(value):
            raise InputError(path, f"{field}.value", found=shown(value), expected="a finite number")
    if not isinstance(document.get("metadata", {}), dict):
        raise InputError(path, "metadata", found=shown(document["metadata"]), expected="an object")
    return {"edits": edits, "metadata": document.get("metadata", {})}
