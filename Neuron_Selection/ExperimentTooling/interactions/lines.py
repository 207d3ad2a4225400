"""The console's short tables of interactions, remarks on them, and the patch to run next."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from Neuron_Selection.AnalysisTooling.measures.cluster_statistics import FEW_CLUSTERS
from Neuron_Selection.FileFormats.directions import TARGETS
from Neuron_Selection.FileFormats.patch_spec import format_patch_spec

_SHOWN = 5
_COLUMNS = {"E(i)": 10, "E(j)": 10, "E(ij)": 10, "I(i, j)": 11}


def interaction_lines(document: Mapping[str, Any]) -> list[str]:
    """A block for each direction: counts, the strongest pairs, Shapley values, groups."""
    lines: list[str] = []
    for direction, one in document.items():
        target, source = TARGETS[direction]
        neurons = len(one["neurons"])
        pairs = neurons * (neurons - 1) // 2
        kinds = ", ".join(f"{count} {_words(kind)}" for kind, count in one["kinds"].items())
        lines.append(
            f"{direction} (source {source}, target {target}): {neurons} neurons of {', '.join(one['layers'])}, "
            f"{pairs} {'pair' if pairs == 1 else 'pairs'} of them: {kinds} (threshold {one['threshold']:g})"
        )
        lines += _pair_lines(one["strongest"][:_SHOWN])
        lines += _shapley_lines(one)
        for number, group in enumerate(one["groups"][:_SHOWN], start=1):
            effects = f"together {group['effect']:.3g}, sum of each alone {group['sum_of_effects']:.3g}"
            lines.append(f"  group {number}: {_short(format_patch_spec(group['patch']))}: {effects}")
        if len(one["groups"]) > _SHOWN:
            lines.append(f"  and {len(one['groups']) - _SHOWN} more groups")
    return lines


def remarks(document: Mapping[str, Any]) -> list[str]:
    """Remarks on what limits the results, with their direction if it matters."""
    by_direction = {direction: _limits(one) for direction, one in document.items()}
    lines = next(iter(by_direction.values()))
    if any(others != lines for others in by_direction.values()):
        lines = [f"{direction}: {line}" for direction, of_one in by_direction.items() for line in of_one]
    drawn = next(iter(document.values()))["resamples"]
    if drawn["intervals"] != drawn["p"]:
        lines.append(
            f"intervals of {drawn['intervals']} resamples, p values of {drawn['p']}; --resamples N sets both to N"
        )
    if any(one["contrast_pairs"] for one in document.values()) and not any(
        one["strongest"] for one in document.values()
    ):
        lines.append("no interaction at all: the margin is linear in these neurons")
    return lines


def _limits(one: Mapping[str, Any]) -> list[str]:
    lines = []
    contrast, given, clusters = (one[key] for key in ("contrast_pairs", "pairs_given", "clusters_with_contrast"))
    if contrast < given:
        lines.append(
            f"{given - contrast} of {given} pairs have no contrast and are left out: their margin is undefined"
        )
    if contrast and clusters < 2:
        lines.append(f"a single cluster ({one['clusters_by']}): there are no intervals, and p is 1")
    elif contrast and clusters < FEW_CLUSTERS:
        lines.append(
            f"{clusters} clusters ({one['clusters_by']}): with fewer than {FEW_CLUSTERS}, intervals are too narrow"
        )
    return lines


def next_patch(document: Mapping[str, Any]) -> tuple[str, str] | None:
    """Direction and patch spec of the first group, else of the pair of largest interaction; None if there is none."""
    for direction, one in document.items():
        if one["groups"]:
            return direction, format_patch_spec(one["groups"][0]["patch"])
    for direction, one in document.items():
        if one["strongest"]:
            return direction, _spec(one["strongest"][0])
    return None


def _spec(pair: Mapping[str, Any]) -> str:
    """Both neurons as a patch spec."""
    patch: dict[str, list[int]] = {pair["layer"]: [pair["neuron"]]}
    patch.setdefault(pair["other_layer"], []).append(pair["other_neuron"])
    return format_patch_spec(patch)


def _pair_lines(pairs: list[Mapping[str, Any]]) -> list[str]:
    if not pairs:
        return []
    names = [_short(_spec(pair)) for pair in pairs]
    width = max(len("  neurons i and j"), *(len(name) + 2 for name in names)) + 2
    head = "".join(f"{word:>{size}}" for word, size in _COLUMNS.items())
    intervals = [_interval(pair["interval_low"], pair["interval_high"]) for pair in pairs]
    ends = max(20, *map(len, intervals)) + 2
    lines = [f"{'  neurons i and j':<{width}}{head}  {'interval':<{ends}}{'q':<9}kind"]
    for name, pair, interval in zip(names, pairs, intervals, strict=True):
        values = (pair[key] for key in ("effect", "other_effect", "effect_together", "interaction"))
        cells = "".join(f"{value:>{size}.3g}" for value, size in zip(values, _COLUMNS.values(), strict=True))
        lines.append(f"{'  ' + name:<{width}}{cells}  {interval:<{ends}}{pair['q']:<9.2g}{_words(pair['kind'])}")
    return lines


def _interval(low: float | None, high: float | None) -> str:
    return "" if low is None or high is None else f"[{low:.3g}, {high:.3g}]"


def _shapley_lines(one: Mapping[str, Any]) -> list[str]:
    if one["shapley"] is None:
        return []
    order = sorted(one["neurons"], key=lambda neuron: -abs(neuron["shapley"]))[:_SHOWN]
    values = ", ".join(f"{neuron['layer']}:{neuron['neuron']} {_value(neuron)}" for neuron in order)
    return [f"  Shapley values ({one['shapley']['method']}; all sum to {one['shapley']['total']:.3g}): {values}"]


def _value(neuron: Mapping[str, Any]) -> str:
    error = neuron["standard_error"]
    return f"{neuron['shapley']:.3g}" + ("" if error is None else f" ± {error:.1g}")


def _words(kind: str) -> str:
    return kind.replace("_", " ")


def _short(text: str, limit: int = 72) -> str:
    return text if len(text) <= limit else f"{text[: limit - 3]}..."
