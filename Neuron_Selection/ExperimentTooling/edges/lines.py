"""The console's summary of patched edges and their circuit."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from Neuron_Selection.FileFormats.directions import TARGETS

_SHOWN = 5
_EFFECTS = {"denoising": "margin_recovery", "noising": "margin_damage"}


def edge_lines(document: Mapping[str, Any]) -> list[str]:
    """Pairs, then for each direction its links, strongest edges and paths, then the circuit."""
    layers = " -> ".join(f"{name} ({width})" for name, width in document["layers"].items())
    counts = f"{document['contrast_pairs']} of {document['pairs_given']} pairs with contrast"
    clusters = f"{document['clusters']} clusters ({document['clusters_are']})"
    lines = [f"{document['edges']:,} edges: {layers}", f"{counts}, {clusters}"]
    for direction, one in document["directions"].items():
        target, source = TARGETS[direction]
        other = one["contrast_pairs"] != document["contrast_pairs"]  # action masks differ between the runs
        own = f", {one['contrast_pairs']} pairs with contrast" if other else ""
        lines += ["", f"{direction} (source {source}, target {target}){own}, {_EFFECTS[direction]}:"]
        for link in one["links"]:
            having = f"{link['edges_with_effect']:,} of {link['edges']:,} edges have an effect"
            lines.append(
                f"  {link['from_layer']} -> {link['to_layer']}: {having}, {link['edges_with_low_q']:,} with q < 0.05"
            )
        for edge in one["strongest"][:_SHOWN]:
            lines.append(f"  edge {_named(edge['from'], edge['name'])} -> {edge['to']}: {_effect(edge)}")
        for path in one["paths"][:_SHOWN]:
            nodes = [_named(path["path"][0], path["name"]), *path["path"][1:]]
            lines.append(f"  path {' -> '.join(nodes)}: {path['effect']:.4g}, {path['flips']} flips")
    circuit = document["circuit"]
    lines += ["", f"circuit of {circuit['edges']} edges and {circuit['neurons']} neurons: {measure_words(circuit)}"]
    return lines


def measure_words(measures: Mapping[str, Any]) -> str:
    """Faithfulness, completeness and minimality."""
    names = ("faithfulness", "completeness", "minimality")
    return ", ".join(f"{name} {_number(measures[name])}" for name in names) + f" (ablation {measures['ablation']})"


def _named(node: str, name: str | None) -> str:
    return node if name is None else f"{node} ({name})"


def _effect(edge: Mapping[str, Any]) -> str:
    interval = "" if edge["low"] is None else f" [{edge['low']:.3g}, {edge['high']:.3g}]"
    return f"{edge['effect']:.4g}{interval}, q {_number(edge['q'])}, {edge['flips']} flips"


def _number(value: float | None) -> str:
    return "undefined" if value is None else f"{value:.3g}"
