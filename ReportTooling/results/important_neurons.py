"""The important neurons of a summary, with their rows of ``results.csv`` and their columns of the sweep."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from Neuron_Selection.AnalysisTooling.effect_matrices import EffectMatrix
from Neuron_Selection.FileFormats.patch_spec import format_patch_spec
from ReportTooling.results.loading import Results


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class ImportantRows:
    """One important neuron.

    :param spec: as a patch spec
    :param rows: direction to its row of ``results.csv``
    :param columns: direction to the matrix of its layer and its column there
    """

    spec: str
    layer: str
    neuron: int
    importance: float | None
    rows: Mapping[str, Mapping[str, Any]]
    columns: Mapping[str, tuple[EffectMatrix, int]]


def important_rows(results: Results) -> list[ImportantRows]:
    """The important neurons, the most important first; empty without a summary."""
    if results.summary is None:
        return []
    by_spec: dict[str, dict[str, Mapping[str, Any]]] = {}
    for row in results.rows:
        by_spec.setdefault(row["patch"], {})[row["direction"]] = row
    found = []
    for neuron in results.summary.neurons:
        if neuron.patch is None or len(neuron.patch) != 1:
            continue
        ((layer, indices),) = neuron.patch.items()
        spec = format_patch_spec(neuron.patch)
        if len(indices) == 1 and spec in by_spec:
            found.append(
                ImportantRows(
                    spec=spec,
                    layer=layer,
                    neuron=int(indices[0]),
                    importance=neuron.importance,
                    rows=by_spec[spec],
                    columns=_columns(results, layer, int(indices[0])),
                )
            )
    return found


def _columns(results: Results, layer: str, neuron: int) -> dict[str, tuple[EffectMatrix, int]]:
    found = {}
    for matrix in results.matrices:
        places = (matrix.neurons == neuron).nonzero()[0]
        if matrix.layer == layer and len(places):
            found[matrix.direction] = (matrix, int(places[0]))
    return found
