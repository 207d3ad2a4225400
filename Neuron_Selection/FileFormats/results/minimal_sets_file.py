"""Minimal sets files: ``<prefix>.json``, ``<prefix>.csv`` with one row per set, ``<prefix>_curves.csv``.

The JSON is ``{direction: {layer: {pairs, together, curves, ...}}}``. The metadata, ``<prefix>.meta.json``, hold the
SHA-256 of the other three files and are renamed into place first.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from Neuron_Selection.errors import InputError, shown
from Neuron_Selection.FileFormats.provenance import StoredOutput, meta_path, stored_document, stored_output
from Neuron_Selection.FileFormats.storage.atomic_files import sha256_of, write_together
from Neuron_Selection.FileFormats.storage.csv_tables import csv_bytes, read_table
from Neuron_Selection.FileFormats.storage.json_files import json_bytes, read_edited_json

SET_COLUMNS = (
    "direction", "layer", "input_id", "size", "patch", "is_minimal", "not_monotone", "near_tie", "faithfulness",
    "completeness", "minimality", "smallest_size", "smallest_patch", "at_least", "is_smallest", "bound_by",
    "minimal_sets", "complete_up_to", "runs",
)  # fmt: skip
CURVE_COLUMNS = ("direction", "layer", "ranking", "scope", "size", "effect", "low", "high", "share_reached")


def paths_of(path: Path) -> dict[str, Path]:
    """The files that belong to a results file, by content."""
    return {
        "results": path,
        "sets": path.with_name(f"{path.stem}.csv"),
        "curves": path.with_name(f"{path.stem}_curves.csv"),
    }


def save_minimal_sets(
    path: Path,
    document: Mapping[str, Any],
    sets: Sequence[Mapping[str, Any]],
    curves: Sequence[Mapping[str, Any]],
    *,
    metadata: Mapping[str, Any],
) -> None:
    """Write all four files.

    :param sets: rows with ``SET_COLUMNS``, None for an empty cell; ``curves`` likewise
    """
    contents = {
        "results": json_bytes(document),
        "sets": csv_bytes(SET_COLUMNS, sets),
        "curves": csv_bytes(CURVE_COLUMNS, curves),
    }
    hashes = {f"{kind}_sha256": sha256_of(data) for kind, data in contents.items()}
    files = {place: contents[kind] for kind, place in paths_of(path).items()}
    write_together({**files, meta_path(path): json_bytes({**metadata, **hashes})})


def stored_minimal_sets(path: Path) -> StoredOutput:
    """The three files as they are on disk now."""
    hashed = {f"{kind}_sha256": place for kind, place in paths_of(path).items()}
    return stored_output(stored_document(meta_path(path)), hashed)


def load_minimal_sets(path: Path) -> dict[str, Any]:
    """Load the document written by ``save_minimal_sets``.

    :raises InputError: not such a file, or the files do not match their metadata
    """
    document = read_edited_json(path, hint="find_minimal_sets.py makes it")
    if not isinstance(document, dict) or not document or not all(isinstance(part, dict) for part in document.values()):
        raise InputError(path, found=shown(document), expected="an object {direction: {layer: ...}}")
    if meta_path(path).exists() and stored_minimal_sets(path).complete is None:
        raise InputError(
            meta_path(path), problem="does not match the files next to it", hint="run find_minimal_sets.py again"
        )
    return document


def load_curves(path: Path) -> list[dict[str, Any]]:
    """The rows of the table of curves that belongs to a results file, with ``CURVE_COLUMNS``; empty cells are None.

    :param path: of the results file
    :raises InputError: not such a table
    """
    return read_table(
        paths_of(path)["curves"],
        texts=CURVE_COLUMNS[:4],
        numbers=CURVE_COLUMNS[4:],
        hint="find_minimal_sets.py makes it",
    )
