"""Results of weight perturbations: a table ``<prefix>.csv``, and ``<prefix>.json`` with input ids and metadata.

The JSON document carries the table's SHA-256. It is renamed into place first, so that an interrupted run leaves a
document with its metadata rather than a table without any.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from Neuron_Selection.errors import InputError
from Neuron_Selection.FileFormats.provenance import StoredOutput, stored_json_metadata
from Neuron_Selection.FileFormats.storage.atomic_files import read_bytes, sha256_of, written_atomically
from Neuron_Selection.FileFormats.storage.csv_tables import csv_bytes
from Neuron_Selection.FileFormats.storage.document_checks import checked_document
from Neuron_Selection.FileFormats.storage.json_files import json_bytes, parse_edited_json

PERTURBATIONS = "perturbation_results"
COLUMNS = (
    "target",
    "value",
    "weight_before",
    "weight_after",
    "flips",
    "flip_share",
    "near_tie_flips",
    "q_change",
    "q_change_size",
    "q_change_max",
    "margin_change",
    "margin_change_size",
    "self_regret",
    "predicted_q_change",
    "prediction_error",
)


_HINT = "perturb_weights.py makes it"


class _Results(msgspec.Struct):
    metadata: dict[str, Any]
    summary: dict[str, Any]
    results: list[Any]


def save_perturbation_results(
    path: Path, records: Sequence[Mapping[str, Any]], *, summary: Mapping[str, Any], metadata: Mapping[str, Any]
) -> list[Path]:
    """Write ``path`` and the table next to it.

    :param path: the JSON file
    :param records: column to value, and ``flipped_ids``; numbers are finite
    :return: the paths of the table and of the JSON file
    """
    table = path.with_suffix(".csv")
    data = csv_bytes(COLUMNS, records)
    with written_atomically(table) as file:
        file.write(data)
        save_records(path, records, summary=summary, metadata={**metadata, "table_sha256": sha256_of(data)})
    return [table, path]


def save_records(
    path: Path, records: Sequence[Mapping[str, Any]], *, summary: Mapping[str, Any], metadata: Mapping[str, Any]
) -> None:
    """Write ``{metadata, summary, results: [...]}``, one record a line."""
    with written_atomically(path) as file:
        file.write(b'{"metadata": ' + json_bytes(metadata).rstrip() + b',\n"summary": ' + json_bytes(summary).rstrip())
        file.write(b',\n"results": [')
        for number, record in enumerate(records):
            file.write(b",\n" if number else b"\n")
            file.write(msgspec.json.encode(record))
        file.write(b"\n]}\n")


def load_perturbation_results(path: Path) -> dict[str, Any]:
    """Load ``metadata``, ``summary`` and ``results``.

    :raises InputError: not such a file, or one whose table was written by a different run
    """
    document = parse_edited_json(read_bytes(path, hint=_HINT), path)
    metadata = checked_document(document, _Results, path, hint=_HINT).metadata
    sha256 = metadata.get("table_sha256")
    if sha256 is not None and sha256_of(read_bytes(path.with_suffix(".csv"))) != sha256:
        raise InputError(
            path.with_suffix(".csv"), problem=f"was not written with {path.name}", hint="run the command again"
        )
    return dict(document)


def stored_perturbation_results(path: Path) -> StoredOutput:
    """A JSON file and its table as they are on disk now."""
    table = path.with_suffix(".csv")
    unfinished = None if table.exists() else stored_json_metadata(path)
    complete = stored_records(path).complete if table.exists() else None
    return StoredOutput(files=(path, table), complete=complete, unfinished=unfinished)


def stored_records(path: Path) -> StoredOutput:
    """A JSON file without a table as it is on disk now."""
    try:
        complete = load_perturbation_results(path)["metadata"]
    except InputError:
        complete = None
    return StoredOutput(files=(path,), complete=complete)
