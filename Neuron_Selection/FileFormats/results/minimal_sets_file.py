"""Minimal sets files: ``<prefix>.json``, ``<prefix>.csv`` with one row per set, ``<prefix>_curves.csv``.

The JSON is ``{direction: {layer: {pairs, together, curves, ...}}}``.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from Neuron_Selection.FileFormats.results.result_files import ResultFiles
from Neuron_Selection.FileFormats.storage.csv_tables import read_table

MINIMAL_SET_FILES = ResultFiles(endings={"sets": ".csv", "curves": "_curves.csv"}, script="find_minimal_sets.py")
SET_COLUMNS = (
    "direction", "layer", "input_id", "size", "patch", "is_minimal", "not_monotone", "near_tie", "faithfulness",
    "completeness", "minimality", "smallest_size", "smallest_patch", "at_least", "is_smallest", "bound_by",
    "minimal_sets", "complete_up_to", "runs",
)  # fmt: skip
CURVE_COLUMNS = ("direction", "layer", "ranking", "scope", "size", "effect", "low", "high", "share_reached")


def load_curves(path: Path) -> list[dict[str, Any]]:
    """The rows of the table of curves that belongs to a results file, with ``CURVE_COLUMNS``; empty cells are None.

    :param path: of the results file
    :raises InputError: not such a table
    """
    table = MINIMAL_SET_FILES.paths(path)["curves"]
    return read_table(table, texts=CURVE_COLUMNS[:4], numbers=CURVE_COLUMNS[4:], hint="find_minimal_sets.py makes it")
