"""What changed weights did: a table ``<prefix>.csv``, and ``<prefix>.json`` with input ids, controls and metadata.

The JSON document carries the table's sha256; together they are one result. It takes its place first, so that an
interrupted run leaves a document that says whose it is, and no table that nobody owns.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from Neuron_Selection.errors import InputError
from Neuron_Selection.FileFormats.storage.atomic_files import read_bytes, sha256_of, written_atomically
from Neuron_Selection.FileFormats.storage.csv_tables import csv_bytes
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


def save_perturbation_results(
    path: Path, records: Sequence[Mapping[str, Any]], *, summary: Mapping[str, Any], metadata: Mapping[str, Any]
) -> list[Path]:
    """Write the table beside ``path``, then ``path`` itself; both paths.

    :param path: the JSON file
    :param records: column to value, and ``flipped_ids``; numbers are finite
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
    """``metadata``, ``summary`` and ``results``.

    :raises InputError: no such file, or a table beside it that belongs to another run
    """
    document = parse_edited_json(read_bytes(path, hint="perturb_weights.py makes it"), path)
    if not isinstance(document, dict) or not isinstance(document.get("results"), list):
        raise InputError(path, "results", found="no list", expected="the results of perturb_weights.py")
    if not isinstance(document.get("metadata"), dict) or not isinstance(document.get("summary"), dict):
        raise InputError(path, found="no metadata and summary", expected="the results of perturb_weights.py")
    expected = document["metadata"].get("table_sha256")
    if expected is not None and sha256_of(read_bytes(path.with_suffix(".csv"))) != expected:
        raise InputError(path.with_suffix(".csv"), found="the table of another run", expected="that of the JSON file")
    return document


def stored_run(path: Path) -> dict[str, Any] | None:
    """The metadata and summary of a whole result, or None where there is none."""
    try:
        document = load_perturbation_results(path)
    except InputError:
        return None
    return {"metadata": document["metadata"], "summary": document["summary"]}
