"""``results.csv``: one row per experiment and direction, with one column per metric.

Its metadata are in ``results.meta.json`` next to it, with the SHA-256 of the table and of the summary written with it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from Neuron_Selection.FileFormats.hashed_files import save_hashed, stored_hashed
from Neuron_Selection.FileFormats.provenance import StoredOutput, stored_json_metadata
from Neuron_Selection.FileFormats.storage.csv_tables import csv_bytes, read_table

EXPERIMENT_COLUMNS = (
    "experiment",
    "direction",
    "patch",  # as a patch spec
    "source",
    "target",
    "effect",  # margin recovery (denoising) or damage (noising), ratio of sums
    "interval_low",
    "interval_high",
    "p",
    "q",
    "effect_mean_of_ratios",
    "flips",
    "matches",  # of the contrast pairs
    "near_ties",
    "n",
    "contrast_pairs",
    "clusters",
    "flag",  # "", constant, dead or unmoved
)
CONTROL_COLUMNS = (
    "control_sets",  # other experiments that patch as many neurons of the same layers
    "control_effect",  # their mean |effect|
    "control_p",  # share of them, itself included, whose |effect| is at least as large
)


def results_table_bytes(
    rows: Sequence[Mapping[str, Any]], *, metrics: Sequence[str], selection_metrics: Sequence[str] = ()
) -> bytes:
    """The table's file.

    :param rows: column to value, None for an empty cell
    :param metrics: the metrics that every table has, in the order of their columns
    :param selection_metrics: the published selection metrics that were requested
    """
    return csv_bytes([*EXPERIMENT_COLUMNS, *metrics, *CONTROL_COLUMNS, *selection_metrics], rows)


def save_with_summary(
    path: Path, table: bytes, summary_path: Path, summary: bytes, *, metadata: Mapping[str, Any]
) -> None:
    """Write a table, the summary of the same analysis, and their metadata."""
    files = {"results": path, "summary": summary_path}
    save_hashed(path, files, {"results": table, "summary": summary}, metadata=metadata)


def stored_analysis(path: Path, summary_path: Path) -> StoredOutput:
    """A table and its summary as they are on disk now."""
    stored = stored_hashed(path, {"results": path, "summary": summary_path})
    if stored.unfinished is None and not path.exists():  # a summary alone has metadata of its own
        return replace(stored, unfinished=stored_json_metadata(summary_path))
    return stored


def load_results_table(path: Path) -> list[dict[str, Any]]:
    """The rows of a table, with ``EXPERIMENT_COLUMNS``; empty cells are None.

    :raises InputError: not such a table
    """
    texts = ("experiment", "direction", "patch", "source", "target", "flag")
    numbers = [name for name in EXPERIMENT_COLUMNS if name not in texts]
    return read_table(path, texts=texts, numbers=numbers, hint="analyze_metrics.py makes it")


def load_importances(path: Path) -> dict[str, float]:
    """Patch spec to importance: the mean of |effect| over directions, for the experiments that have one.

    :raises InputError: a file without these columns, or an effect that is no number
    """
    effects: dict[str, list[float]] = {}
    for row in read_table(path, texts=("patch",), numbers=("effect",), hint="analyze_metrics.py makes it"):
        if row["patch"] and row["effect"] is not None:
            effects.setdefault(row["patch"], []).append(abs(row["effect"]))
    return {patch: sum(sizes) / len(sizes) for patch, sizes in effects.items()}
