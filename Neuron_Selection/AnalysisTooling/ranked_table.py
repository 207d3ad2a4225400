"""The ranked table of important neurons, for the console and for ``--json``."""

from __future__ import annotations

from typing import Any

from Neuron_Selection.AnalysisTooling.analysis import Analysis, count_flags, defined, remarks
from Neuron_Selection.AnalysisTooling.experiment_metrics import MARGINS
from Neuron_Selection.FileFormats.patch_spec import format_patch_spec


def ranked_lines(analysis: Analysis) -> list[str]:
    """A summary of the analysed runs, then one line per important neuron."""
    runs = analysis.runs
    contrast = analysis.contrast_pairs
    settings = [f"{key} {value}" for key, value in runs.settings.items() if value is not None]
    lines = [
        f"{runs.where}: {len(runs.names)} experiments, {len(runs.ids)} pairs, "
        f"{'unknown' if contrast is None else contrast} of contrast, "
        f"{analysis.clusters.merged_from or analysis.clusters.count} clusters ({analysis.clusters.description})"
        + "".join(f", {text}" for text in settings)
    ]
    lines += [f"{name}: source {one.source}, target {one.target}" for name, one in runs.directions.items()]
    flags = count_flags(runs)
    if flags:
        lines.append("cannot matter: " + ", ".join(f"{count} {flag}" for flag, count in flags.items()))
    if analysis.chosen:
        heads = [f"{MARGINS[name]:<30}{'q':>8}{'flips':>7}" for name in runs.directions]
        width = max(24, *(len(format_patch_spec(runs.patches[number])) + 1 for number in analysis.chosen))
        lines += ["", f"{'rank':>4}  {'neuron':<{width}}{'importance':>11}  " + "  ".join(heads)]
        lines += [_line(analysis, number, place, width) for place, number in enumerate(analysis.chosen, start=1)]
        lines.append("")
    return lines


def ranked_document(analysis: Analysis) -> dict[str, Any]:
    """The same for ``--json``."""
    names, importance = analysis.runs.names, analysis.ranking.importance
    return {
        "experiments": len(names),
        "pairs": len(analysis.runs.ids),
        "contrast_pairs": analysis.contrast_pairs,
        "clusters": analysis.clusters.merged_from or analysis.clusters.count,
        "ranked_by": analysis.ranking.ranked_by,
        "cannot_matter": count_flags(analysis.runs),
        "important": {
            names[number]: {"importance": float(importance[number]), "q": defined(analysis.q[number])}
            for number in analysis.chosen
        },
        "remarks": remarks(analysis),
    }


def _line(analysis: Analysis, number: int, place: int, width: int) -> str:
    cells = []
    for statistics in analysis.statistics.values():
        effect, (low, high) = statistics.effects[number], statistics.intervals[:, number]
        shown = "undefined" if defined(effect) is None else f"{effect:.4g}"
        if defined(low) is not None:
            shown += f" [{low:.3g}, {high:.3g}]"
        q = "" if defined(statistics.q[number]) is None else f"{statistics.q[number]:.2g}"
        cells.append(f"{shown:<30}{q:>8}{int(statistics.metrics.counts['flips'][number]):>7}")
    spec = format_patch_spec(analysis.runs.patches[number])
    return f"{place:>4}  {spec:<{width}}{analysis.ranking.importance[number]:>11.4g}  " + "  ".join(cells)
