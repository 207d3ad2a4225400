"""What an earlier run left: a document, and the metadata that say what made it; None where none can be believed."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from Neuron_Selection.errors import InputError
from Neuron_Selection.FileFormats.storage.atomic_files import sha256_of_file
from Neuron_Selection.FileFormats.storage.json_files import read_edited_json


def meta_path(path: Path) -> Path:
    """Where the metadata of a results file lies."""
    return path.with_name(f"{path.stem}.meta.json")


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


def metadata_of_files(metadata: dict[str, Any] | None, files: Mapping[str, Path]) -> dict[str, Any] | None:
    """``metadata`` where every file is there as it was written, else None.

    :param files: key of the metadata to the file whose SHA-256 stands under it
    """
    try:
        fits = metadata is not None and all(metadata.get(key) == sha256_of_file(path) for key, path in files.items())
    except InputError:
        return None
    return metadata if fits else None


def unfinished_run(metadata: dict[str, Any] | None, files: Mapping[str, Path]) -> dict[str, Any] | None:
    """``metadata`` where a run was interrupted between its files: some are missing, the others are as it wrote them.

    :param files: as for ``metadata_of_files``
    """
    there = {key: path for key, path in files.items() if path.exists()}
    return metadata_of_files(metadata, there) if len(there) < len(files) else None
