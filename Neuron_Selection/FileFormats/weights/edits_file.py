"""``*.edits.json``: new values for weights of an agent.

``{"edits": [{layer_name, neuron_index, weight_index, value, ...}], "metadata": {weights_sha256, ...}}``; further keys
are for people. Values are exact: a float32 written as JSON reads back as the same float32.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import msgspec

from Neuron_Selection.FileFormats.storage.atomic_files import read_bytes, write_atomically
from Neuron_Selection.FileFormats.storage.document_checks import Index, checked_document
from Neuron_Selection.FileFormats.storage.json_files import json_bytes, parse_edited_json


class _Edit(msgspec.Struct):
    layer_name: str
    neuron_index: Index
    weight_index: Index
    value: float


class _EditsFile(msgspec.Struct):
    edits: Annotated[list[_Edit], msgspec.Meta(min_length=1)]
    metadata: dict[str, Any] = {}


def save_weight_edits(path: Path, edits: Sequence[Mapping[str, Any]], *, metadata: Mapping[str, Any]) -> None:
    """Write the edits and the metadata of the agent they belong to."""
    write_atomically(path, json_bytes({"edits": list(edits), "metadata": metadata}))


def load_weight_edits(path: Path) -> dict[str, Any]:
    """Load a whole file; its edits are not checked against a network.

    :raises InputError: no edits, or one with a wrong field
    """
    document = parse_edited_json(read_bytes(path, hint="write_agent.py --edits reads edits"), path)
    checked_document(document, _EditsFile, path)
    return {"edits": document["edits"], "metadata": document.get("metadata", {})}
