"""The console's short table of attribution, and remarks on it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from Neuron_Selection.FileFormats.directions import TARGETS

_NAMES = {
    "gradient_at_target": "gradient at target", "gradient_at_source": "gradient at source",
    "integrated_gradients": "integrated gradients",
}  # fmt: skip
_ROUNDING = 1e-9  # of the margin: a smaller error is none
_COLUMNS = {"spearman": 10, "kendall": 9, "top 1": 7, "top 5": 7, "top 10": 8, "top 20": 8, "signs": 7}


def attribution_lines(document: Mapping[str, Any]) -> list[str]:
    """A block for each direction: three lines a layer, and one on its path."""
    lines: list[str] = []
    for direction, layers in document.items():
        target, source = TARGETS[direction]
        lines.append(
            f"{direction} (source {source}, target {target}): estimates of each neuron's effect, against a run"
        )
        head = "".join(f"{word:>{width}}" for word, width in _COLUMNS.items())
        width = max(24, *(len(layer) + 1 for layer in layers))
        lines.append(f"{'layer':<{width}}{'estimate':<21}{head}  worst miss")
        for layer, site in layers.items():
            lines += [f"{layer:<{width}}{_line(name, one)}" for name, one in site["estimates"].items()]
            lines += [f"  {layer}: {_path(site)}"] if site["path"] else []
    return lines


def remarks(document: Mapping[str, Any]) -> list[str]:
    """Remarks on what the table does not show."""
    sites = [site for layers in document.values() for site in layers.values()]
    counts = {(site["contrast_pairs"], site["pairs_given"]) for site in sites}
    return [
        f"{given - contrast} of {given} pairs have no contrast and are left out: their margin is undefined"
        for contrast, given in sorted(counts)
        if contrast < given
    ]


def _line(name: str, one: Mapping[str, Any]) -> str:
    recall, worst = one["recall"], one["worst_miss"]
    values = [one["spearman"], one["kendall"], *(recall[k] for k in ("top_1", "top_5", "top_10", "top_20"))]
    cells = [*("-" if value is None else f"{value:.2f}" for value in values), str(one["sign_errors"])]
    shown = "".join(f"{cell:>{width}}" for cell, width in zip(cells, _COLUMNS.values(), strict=True))
    miss = f"neuron {worst['neuron']}: {worst['estimate']:.3g}, run {worst['effect']:.3g}"
    is_exact = abs(worst["estimate"] - worst["effect"]) <= _ROUNDING
    return f"{_NAMES[name]:<21}{shown}  {'none' if is_exact else miss}"


def _path(site: Mapping[str, Any]) -> str:
    path, neurons = site["path"], site["neurons"] - site["cannot_matter"]
    how = "exact, piece by piece" if path["method"] == "exact" else f"quadrature of {path['steps']} points"
    flips = f"{path['flips']} of {site['contrast_pairs']} decisions flip"
    if path["flips"]:
        verified = "all" if path["flips_verified"] == path["flips"] else path["flips_verified"]
        flips += f", at a median {path['median_strength']:.3g} of the path, {verified} verified on both sides"
    return f"{neurons} of {site['neurons']} neurons differ; path {how}, residual {path['residual']:.1g}; {flips}"
