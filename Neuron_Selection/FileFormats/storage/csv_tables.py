"""Tables of comma-separated values with reproducible bytes: a header, then one line per row."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from Neuron_Selection.errors import InputError, shown
from Neuron_Selection.FileFormats.storage.atomic_files import read_bytes


def csv_bytes(columns: Sequence[str], rows: Iterable[Mapping[str, Any]]) -> bytes:
    """A table's file.

    :param rows: column to value; None is an empty cell, a boolean is true or false, a float has all its digits
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows([_cell(row[name]) for name in columns] for row in rows)
    return text.getvalue().encode()


def _cell(value: Any) -> Any:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError("tables hold finite numbers only")
    return value


def read_table(path: Path, *, texts: Sequence[str], numbers: Sequence[str], hint: str = "") -> list[dict[str, Any]]:
    """The rows of a table, with these columns at least; the other columns are left out.

    :param texts: columns of text
    :param numbers: columns of numbers; an empty cell is None
    :raises InputError: a column that is missing, or a cell that is not a finite number
    """
    try:
        lines = read_bytes(path, hint=hint).decode()
        reader = csv.DictReader(io.StringIO(lines, newline=""), strict=True)
        rows = list(reader)
    except (UnicodeDecodeError, csv.Error) as error:
        raise InputError(path, found="another content", expected="a table of comma-separated values") from error
    for name in (*texts, *numbers):
        if name not in (reader.fieldnames or ()):
            raise InputError(path, "header", problem=f"has no column {name}", hint=hint)
    return [
        {name: row[name] or "" for name in texts}
        | {name: _number(row[name], path, f"line {line}: {name}") for name in numbers}
        for line, row in enumerate(rows, start=2)
    ]


def _number(cell: str | None, path: Path, field: str) -> float | None:
    if not cell:
        return None
    try:
        value = float(cell)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise InputError(path, field, found=shown(cell), expected="a finite number")
    return value
