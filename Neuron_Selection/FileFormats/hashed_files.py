"""Files that one run writes together, with metadata that hold the SHA-256 of each under ``<kind>_sha256``."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from Neuron_Selection.errors import InputError
from Neuron_Selection.FileFormats.provenance import StoredOutput, meta_path, stored_document, stored_output
from Neuron_Selection.FileFormats.storage.atomic_files import sha256_of, write_together
from Neuron_Selection.FileFormats.storage.json_files import json_bytes


def save_hashed(
    path: Path, files: Mapping[str, Path], contents: Mapping[str, bytes], *, metadata: Mapping[str, Any]
) -> None:
    """Write files and the metadata of ``path``, which are renamed into place first.

    :param path: of the file whose metadata cover all
    :param files: kind to path, for every kind of ``contents``
    """
    hashes = {f"{kind}_sha256": sha256_of(data) for kind, data in contents.items()}
    written = {files[kind]: data for kind, data in contents.items()}
    write_together({**written, meta_path(path): json_bytes({**metadata, **hashes})})


def stored_hashed(path: Path, files: Mapping[str, Path]) -> StoredOutput:
    """Files written by ``save_hashed`` as they are on disk now."""
    return stored_output(stored_document(meta_path(path)), {f"{kind}_sha256": file for kind, file in files.items()})


def check_hashed(path: Path, files: Mapping[str, Path], *, script: str) -> None:
    """Check that files are as their metadata describe them, if there are metadata.

    :param script: which makes them
    :raises InputError: another file than the one described
    """
    if meta_path(path).exists() and stored_hashed(path, files).complete is None:
        raise InputError(meta_path(path), problem="does not match the files next to it", hint=f"run {script} again")
