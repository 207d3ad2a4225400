"""Files of circuit checks: ``circuit_check.json``, the measures of a circuit and the tests of its hypothesis."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from Neuron_Selection.FileFormats.provenance import StoredOutput, stored_document
from Neuron_Selection.FileFormats.storage.atomic_files import write_atomically
from Neuron_Selection.FileFormats.storage.json_files import json_bytes

_KEYS = ("circuit", "measures", "tests", "metadata")


def save_circuit_check(path: Path, document: Mapping[str, Any], *, metadata: Mapping[str, Any]) -> None:
    """Write the file, with its metadata inside."""
    write_atomically(path, json_bytes({**document, "metadata": dict(metadata)}))


def stored_circuit_check(path: Path) -> tuple[StoredOutput, dict[str, Any]]:
    """The file as it is on disk now, and its document; empty if it is not such a file."""
    document = stored_document(path) or {}
    is_whole = all(isinstance(document.get(key), dict) for key in _KEYS)
    complete = document.pop("metadata") if is_whole else None
    return StoredOutput(files=(path,), complete=complete), document
