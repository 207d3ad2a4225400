"""``results.csv``: one row for each experiment and direction, the same columns whatever was analysed.

Its metadata lie in ``results.meta.json`` beside it, with the sha256 of the table and of the summary written with it.
"""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from Neuron_Selection.errors import InputError, shown
from Neuron_Selection.FileFormats.storage.atomic_files import read_bytes, sha256_of, write_together
from Neuron_Selection.FileFormats.storage.csv_tables import csv_bytes
from Neuron_Selection.FileFormats.storage.json_files import is_finite_number, json_bytes, read_edited_json
from Neuron_Selection.FileFormats.storage.stored_documents import meta_path, metadata_of_files, stored_document

# column -> what stands in it; None is an empty cell: undefined, as an effect without contrast pairs
COLUMNS: dict[str, type] = {
    "experiment": str,
    "direction": str,
    "patch": str,  # as a patch spec
    "source": str,
    "target": str,
    "effect": float,  # margin recovery (denoising) or damage (noising), ratio of sums
    "interval_low": float,
    "interval_high": float,
    "p": float,
    "q": float,
    "effect_mean_of_ratios": float,
    "flips": int,
    "matches": int,  # of the contrast pairs
    "near_ties": int,
    "n": int,
    "contrast_pairs": int,
    "clusters": int,
    "flag": str,  # "", constant, dead or unmoved
    "self_regret": float,
    "value_shift": float,
    "advantage_shift": float,
    "vector_recovery": float,
    "control_sets": int,  # others that patch as many neurons of the same layers
    "control_effect": float,  # their mean |effect|
    "control_p": float,  # share of them, itself included, whose |effect| is at least as large
}
_REQUIRED = {"experiment": str, "direction": str, "patch": str, "n": int}


def results_table_bytes(rows: Sequence[Mapping[str, Any]], *, more_columns: Sequence[str] = ()) -> bytes:
    """The table's file.

    :param rows: column to value, None for an empty cell
    :param more_columns: behind the fixed ones, numbers
    """
    return csv_bytes([*COLUMNS, *more_columns], rows)


def load_results_table(path: Path) -> list[dict[str, Any]]:
    """The rows of a table; empty cells are None, columns that we do not know stay text.

    :raises InputError: a column is missing, a cell is not of its column's kind, or the metadata beside it belong to
        another table
    """
    data = read_bytes(path, hint="analyze_metrics.py makes it")
    if meta_path(path).exists():
        metadata = read_edited_json(meta_path(path))
        if not isinstance(metadata, dict) or metadata.get("results_sha256") != sha256_of(data):
            hint = "run analyze_metrics.py again"
            raise InputError(meta_path(path), found="the hash of another table", expected="a pair", hint=hint)
    limit = csv.field_size_limit(max(len(data), 1))  # a patch of 30,000 neurons is a longer cell than csv's default
    try:
        lines = list(csv.reader(io.StringIO(data.decode("utf-8-sig"), newline=""), strict=True))
    except (UnicodeDecodeError, csv.Error) as error:
        raise InputError(path, found="no table of comma-separated values", expected="results.csv") from error
    finally:
        csv.field_size_limit(limit)
    header = lines[0] if lines else []
    missing = [name for name in COLUMNS if name not in header]
    if missing:
        raise InputError(path, found=f"no column {missing[0]}", expected="the columns that analyze_metrics.py writes")
    if len(set(header)) < len(header):
        raise InputError(path, found="two columns of one name", expected="each once")
    rows = []
    for number, line in enumerate(lines[1:], start=2):
        if len(line) != len(header):
            raise InputError(path, f"line {number}", found=f"{len(line)} cells", expected=f"{len(header)}")
        cells = zip(header, line, strict=True)
        rows.append({name: _value(text, name, path, number) for name, text in cells})
    return rows


def _value(text: str, name: str, path: Path, number: int) -> Any:
    kind = COLUMNS.get(name, str)
    if kind is str:
        return text
    if not text and name not in _REQUIRED:
        return None
    try:
        value = kind(text)
    except ValueError:
        value = math.nan
    if not is_finite_number(value) or "_" in text:
        expected = "a whole number" if kind is int else "a finite number"
        raise InputError(path, f"line {number}: {name}", found=shown(text), expected=expected)
    return value


def save_with_summary(
    path: Path, table: bytes, summary_path: Path, summary: bytes, *, metadata: Mapping[str, Any]
) -> None:
    """Write a table, the summary of the same analysis, and the metadata of both."""
    hashes = {"results_sha256": sha256_of(table), "summary_sha256": sha256_of(summary)}
    write_together({path: table, summary_path: summary, meta_path(path): json_bytes({**metadata, **hashes})})


def stored_table_metadata(path: Path, summary: Path) -> dict[str, Any] | None:
    """The metadata beside a table, or None where there are none that belong to it and to this summary."""
    return metadata_of_files(stored_document(meta_path(path)), {"results_sha256": path, "summary_sha256": summary})
