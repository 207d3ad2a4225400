"""Results of the search for minimal sets as a JSON document and as the rows of two tables."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from Neuron_Selection.ExperimentTooling.minimal_sets.explain import Explanation
from Neuron_Selection.ExperimentTooling.minimal_sets.ranking_curves import Curve
from Neuron_Selection.FileFormats.patch_spec import format_patch_spec


@dataclass(frozen=True, kw_only=True, slots=True)
class LayerExplained:
    """One layer in one direction. ``together`` is None if no pair has contrast, and ``curves`` are empty then."""

    direction: str
    layer: str
    width: int
    n_pairs: int
    pairs: Sequence[Explanation]
    together: Explanation | None
    curves: Sequence[Curve]


def document_of(layers: Sequence[LayerExplained]) -> dict[str, Any]:
    """``{direction: {layer: {...}}}``."""
    document: dict[str, Any] = {}
    for site in layers:
        document.setdefault(site.direction, {})[site.layer] = {
            "neurons": site.width,
            "pairs_given": site.n_pairs,
            "contrast_pairs": len(site.pairs),
            "summary": summary_of(site),
            "together": None if site.together is None else _explanation(site.layer, site.together),
            "pairs": {pair.input_id: _explanation(site.layer, pair) for pair in site.pairs},
            "curves": [_curve(curve) for curve in site.curves],
        }
    return document


def summary_of(site: LayerExplained) -> dict[str, Any]:
    """Counts and median sizes over the pairs; sizes are None if no pair has a set."""
    found = [pair.found for pair in site.pairs if pair.found is not None]
    sizes = [len(one.neurons) for one in found]
    smallest = [len(pair.smallest) for pair in site.pairs if pair.smallest is not None]
    return {
        "one_minimal_sets": len(found),
        "whole_layer_fails": len(site.pairs) - len(found),
        "median_size": float(np.median(sizes)) if sizes else None,
        "least_size": min(sizes, default=None),
        "greatest_size": max(sizes, default=None),
        "median_smallest_size": float(np.median(smallest)) if smallest else None,
        "proven_smallest": sum(pair.is_smallest for pair in site.pairs),
        "not_monotone": sum(_is_not_monotone(pair) for pair in site.pairs),
        "near_ties": sum(pair.near_tie for pair in site.pairs),
    }


def set_rows(layers: Sequence[LayerExplained]) -> Iterator[dict[str, Any]]:
    """A row for each pair, and one with an empty input id for all together."""
    for site in layers:
        for one in (*site.pairs, *([] if site.together is None else [site.together])):
            record = _explanation(site.layer, one)
            family, measures = record["family"] or {}, record["measures"] or {}
            yield {
                "direction": site.direction,
                "layer": site.layer,
                "input_id": one.input_id,
                **{key: record[key] for key in ("size", "is_minimal", "not_monotone", "near_tie", "runs")},
                "patch": _spec(site.layer, None if one.found is None else one.found.neurons),
                **{key: measures.get(key) for key in ("faithfulness", "completeness", "minimality")},
                "smallest_size": None if one.smallest is None else len(one.smallest),
                "smallest_patch": _spec(site.layer, one.smallest),
                **{key: record["smallest"][key] for key in ("at_least", "is_smallest", "bound_by")},
                "minimal_sets": len(family["sets"]) if family else None,
                "complete_up_to": family.get("complete_up_to"),
            }


def curve_rows(layers: Sequence[LayerExplained]) -> Iterator[dict[str, Any]]:
    """A row for each size of each curve."""
    for site in layers:
        for curve in site.curves:
            for place, size in enumerate(curve.sizes):
                yield {
                    "direction": site.direction,
                    "layer": site.layer,
                    "ranking": curve.ranking,
                    "scope": curve.scope,
                    "size": int(size),
                    "effect": float(curve.effects[place]),
                    "low": None if curve.low is None else float(curve.low[place]),
                    "high": None if curve.high is None else float(curve.high[place]),
                    "share_reached": float(curve.shares[place]),
                }


def _is_not_monotone(one: Explanation) -> bool:
    return one.found is not None and bool(one.found.broken_by or one.found.has_detour)


def _explanation(layer: str, one: Explanation) -> dict[str, Any]:
    found, measures, family = one.found, one.measures, one.family
    return {
        "patch": None if found is None else {layer: list(found.neurons)},
        "size": None if found is None else len(found.neurons),
        "one_minimal": found is not None,
        "is_minimal": None if found is None else found.is_minimal,
        "not_monotone": _is_not_monotone(one),
        "broken_by": [] if found is None else list(found.broken_by),
        "has_detour": found is not None and found.has_detour,
        "near_tie": one.near_tie,
        "measures": measures
        and {
            "faithfulness": measures.faithfulness,
            "completeness": measures.completeness,
            "minimality": measures.minimality,
        },
        "smallest": {
            "patch": None if one.smallest is None else {layer: list(one.smallest)},
            "at_least": one.at_least,
            "is_smallest": one.is_smallest,
            "bound_by": one.method,
        },
        "family": family
        and {
            "sets": [list(neurons) for neurons in family.sets],
            "complete_up_to": family.complete_up_to,
            "is_whole": family.is_whole,
            "looked_at": family.looked_at,
        },
        "runs": None if found is None else found.runs,
    }


def _curve(curve: Curve) -> dict[str, Any]:
    return {
        "ranking": curve.ranking,
        "scope": curve.scope,
        "cpr": curve.area,
        "cmd": curve.area_from_one,
        "median_size": curve.median_size,
        "points": len(curve.sizes),
    }


def _spec(layer: str, neurons: Sequence[int] | None) -> str | None:
    return None if neurons is None else format_patch_spec({layer: list(neurons)}) if len(neurons) else ""
