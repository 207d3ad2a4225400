"""The console's short table of minimal sets, and the patch spec to use next."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from Neuron_Selection.FileFormats.directions import TARGETS
from Neuron_Selection.FileFormats.patch_spec import format_patch_spec

_MEANINGS = {"denoising": "sufficient", "noising": "necessary"}
_COLUMNS = {
    "layer": 24, "contrast": 9, "sets": 6, "median": 8, "range": 9, "smallest": 10, "proven": 8, "not monotone": 14,
    "together": 10,
}  # fmt: skip


def set_lines(document: Mapping[str, Any], goal: str) -> list[str]:
    """A block for each direction: a line a layer, then the rankings."""
    lines: list[str] = []
    for direction, layers in document.items():
        target, source = TARGETS[direction]
        lines.append(f"{direction} (source {source}, target {target}): sets that are {_MEANINGS[direction]} for {goal}")
        lines.append("".join(f"{word:>{width}}" for word, width in _COLUMNS.items()))
        lines += [_line(layer, site) for layer, site in layers.items()]
        for layer, site in layers.items():
            curves = ", ".join(map(_curve, site["curves"]))
            lines += [f"  {layer}: median number of first neurons needed: {curves}"] if curves else []
    return lines


def remarks(document: Mapping[str, Any]) -> list[str]:
    """Remarks on what the table does not show."""
    counts = {(site["contrast_pairs"], site["pairs_given"]) for site in _sites(document)}
    fails = sum(site["summary"]["whole_layer_fails"] for site in _sites(document))
    lines = []
    for contrast, given in sorted(counts):
        if contrast < given:
            lines.append(
                f"{given - contrast} of {given} pairs have no contrast and are left out: there is nothing to explain"
            )
    if fails:
        lines.append(f"in {fails} cases even the whole layer fails, so there is no set")
    return lines


def next_patch(document: Mapping[str, Any]) -> tuple[str, str] | None:
    """Direction and patch spec of the smallest set for all pairs together; None if there is none."""
    found = [
        (site["together"]["size"], direction, site["together"]["patch"])
        for direction, layers in document.items()
        for site in layers.values()
        if site["together"] and site["together"]["size"]
    ]
    if not found:
        return None
    _, direction, patch = min(found, key=lambda one: one[0])
    return direction, format_patch_spec(patch)


def _sites(document: Mapping[str, Any]) -> list[Any]:
    return [site for layers in document.values() for site in layers.values()]


def _line(layer: str, site: Mapping[str, Any]) -> str:
    summary, together = site["summary"], site["together"]
    span = "-" if summary["least_size"] is None else f"{summary['least_size']}-{summary['greatest_size']}"
    joint = None if together is None else together["size"]
    cells = (
        layer,
        site["contrast_pairs"],
        summary["one_minimal_sets"],
        _number(summary["median_size"]),
        span,
        _number(summary["median_smallest_size"]),
        summary["proven_smallest"],
        summary["not_monotone"],
        _number(joint),
    )
    return "".join(f"{cell:>{width}}" for cell, width in zip(cells, _COLUMNS.values(), strict=True))


def _curve(curve: Mapping[str, Any]) -> str:
    scope = "" if curve["scope"] == "pair" else " (one order)"
    return f"{curve['ranking']}{scope} {_number(curve['median_size'])}"


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:g}"
