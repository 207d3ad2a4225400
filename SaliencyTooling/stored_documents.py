"""What a JSON result that is already there says of itself."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from Neuron_Selection.errors import InputError
from Neuron_Selection.FileFormats.json_files import read_edited_json


def stored_document(path: Path) -> dict[str, Any] | None:
    """The object inside a JSON file, or None where there is none."""
    try:
        document = read_edited_json(path)
    except InputError:
        return None
    return document if isinstance(document, dict) else None


def stored_json_metadata(path: Path) -> dict[str, Any] | None:
    """The ``metadata`` inside a JSON file, or None where there is none."""
    metadata = (stored_document(path) or {}).get("metadata")
    return metadata if isinstance(metadata, dict) else None
