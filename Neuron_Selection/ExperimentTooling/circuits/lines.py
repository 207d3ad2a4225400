"""The console's summary of a checked circuit."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_MEANINGS = {
    "equivalence": "small: circuit and network do not do the same",
    "independence": "small: the network without the circuit still knows the decision",
    "sufficiency": "small: more faithful than random circuits",
    "partial_necessity": "small: removing it costs more than removing random circuits",
}


def check_lines(document: Mapping[str, Any]) -> list[str]:
    """The measures, then a line for each test."""
    circuit, measures, tests = document["circuit"], document["measures"], document["tests"]
    words = ", ".join(f"{name} {'undefined' if value is None else f'{value:.3g}'}" for name, value in measures.items())
    counts = (
        f"{circuit['contrast_pairs']} of {circuit['pairs_given']} pairs with contrast, {circuit['clusters']} clusters"
    )
    size = f"circuit of {circuit['edges']} edges and {circuit['neurons']} neurons"
    lines = [f"{size}, {counts}, ablation {circuit['ablation']}", words]
    for name, meaning in _MEANINGS.items():
        test = tests[name]
        lines.append(f"{name:<18} statistic {test['statistic']:<10.4g} p {test['p']:<8.4g} ({meaning})")
    needed, edges = tests["minimality"]["needed"], len(tests["minimality"]["edges"])
    result = "undefined for the whole network"
    if needed is not None:
        result = f"{needed} of {edges} edges matter more than random edges, q < 0.05"
    return [*lines, f"{'minimality':<18} {result}"]
