"""Edges files: ``edges.csv`` with one row an edge and direction, ``edges_curve.csv``, and ``edges.json``.

With them the circuit of the strongest edges: ``circuit.json``, ``circuit.dot`` and ``circuit.graphml``. A prefix is put
before all names. The metadata, ``edges.meta.json``, hold the SHA-256 of the other files and are renamed into place
first.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from Neuron_Selection.errors import InputError, shown
from Neuron_Selection.FileFormats.hashed_files import check_hashed, save_hashed, stored_hashed
from Neuron_Selection.FileFormats.provenance import StoredOutput
from Neuron_Selection.FileFormats.results.circuit_file import Circuit, circuit_bytes
from Neuron_Selection.FileFormats.results.circuit_graphs import dot_bytes, graphml_bytes
from Neuron_Selection.FileFormats.results.patching_results import results_path
from Neuron_Selection.FileFormats.storage.csv_tables import csv_bytes, read_table
from Neuron_Selection.FileFormats.storage.json_files import json_bytes, read_edited_json

EDGE_COLUMNS = (
    "direction", "from_layer", "from_neuron", "from_name", "to_layer", "to_neuron", "effect", "low", "high", "q",
    "flips", "matches_source", "changed_inputs", "in_circuit",
)  # fmt: skip
EDGE_CURVE_COLUMNS = ("ranking", "edges", "faithfulness", "low", "high")


def edges_paths(folder: Path, prefix: str | None) -> dict[str, Path]:
    """The files of a run, by content.

    :raises UsageError: a prefix that is not a plain file name
    """
    start = f"{prefix}_" if prefix else ""
    edges = results_path(folder, f"{start}edges")
    circuit = results_path(folder, f"{start}circuit")
    return {
        "results": edges,
        "edges": edges.with_suffix(".csv"),
        "curve": edges.with_name(f"{edges.stem}_curve.csv"),
        "circuit": circuit,
        "dot": circuit.with_suffix(".dot"),
        "graphml": circuit.with_suffix(".graphml"),
    }


def save_edges(
    paths: Mapping[str, Path],
    document: Mapping[str, Any],
    *,
    edges: Iterable[Mapping[str, Any]],
    curve: Iterable[Mapping[str, Any]],
    circuit: Circuit,
    metadata: Mapping[str, Any],
) -> None:
    """Write all files.

    :param paths: as ``edges_paths`` returns them
    :param edges: rows with ``EDGE_COLUMNS``, None for an empty cell; ``curve`` likewise
    """
    contents = {
        "results": json_bytes(document),
        "edges": csv_bytes(EDGE_COLUMNS, edges),
        "curve": csv_bytes(EDGE_CURVE_COLUMNS, curve),
        "circuit": circuit_bytes(circuit, metadata=metadata),
        "dot": dot_bytes(circuit),
        "graphml": graphml_bytes(circuit),
    }
    save_hashed(paths["results"], paths, contents, metadata=metadata)


def stored_edges(paths: Mapping[str, Path]) -> StoredOutput:
    """The files as they are on disk now."""
    return stored_hashed(paths["results"], paths)


def load_edges(path: Path) -> dict[str, Any]:
    """Load ``edges.json``.

    :raises InputError: not such a file, or it and its tables do not match their metadata
    """
    document = read_edited_json(path, hint="patch_edges.py makes it")
    if not isinstance(document, dict) or not isinstance(document.get("directions"), dict):
        raise InputError(path, found=shown(document), expected="an object with the key directions")
    tables = {"edges": path.with_suffix(".csv"), "curve": path.with_name(f"{path.stem}_curve.csv")}
    check_hashed(path, {"results": path, **tables}, script="patch_edges.py")
    return document


def load_edge_curve(path: Path) -> list[dict[str, Any]]:
    """The rows of the curve that belongs to ``edges.json``, with ``EDGE_CURVE_COLUMNS``; empty cells are None.

    :param path: of ``edges.json``
    :raises InputError: not such a table
    """
    curve = path.with_name(f"{path.stem}_curve.csv")
    return read_table(curve, texts=("ranking",), numbers=EDGE_CURVE_COLUMNS[1:], hint="patch_edges.py makes it")
