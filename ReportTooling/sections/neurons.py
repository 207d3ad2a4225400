"""The important neurons: a table with intervals and flips, a picture of both, and a part for each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from Neuron_Selection.DrawingTooling.canvas import svg_bytes
from Neuron_Selection.DrawingTooling.points import Points, draw_intervals
from Neuron_Selection.FileFormats.directions import DIRECTIONS
from ReportTooling.page.blocks import Block, Paragraph, Picture, Section, Table, Text
from ReportTooling.page.numbers import count, interval, name, number, printable, sentence
from ReportTooling.results.important_neurons import ImportantRows, important_rows
from ReportTooling.results.loading import Results
from ReportTooling.sections.neuron_part import neuron_part

_EFFECTS = {"denoising": "recovery", "noising": "damage"}


def neurons(results: Results) -> Section | None:
    """The neurons in the summary of ``analyze_metrics.py``; None without one."""
    important = important_rows(results)
    if not important:
        return None
    directions = [one for one in DIRECTIONS if any(one in neuron.rows for neuron in important)]
    contrast = max(int(row["contrast_pairs"] or 0) for neuron in important for row in neuron.rows.values())
    clusters = max(int(row["clusters"] or 0) for neuron in important for row in neuron.rows.values())
    lead = sentence(
        "Patched alone, over {} pairs that lead to different actions. Recovery: the share of the margin that the clean "
        "value gives back to the corrupted run. Damage: the share that the corrupted value takes from the clean run.",
        count(contrast),
    )  # fmt: skip
    blocks: list[Block] = [
        Paragraph(text=lead, kind="lead"),
        intervals_picture(important, directions, name="neurons"),
        _table(important, directions, clusters),
        *(neuron_part(results, neuron) for neuron in important),
    ]
    return Section(name="neurons", title="The most important neurons", blocks=blocks)


def intervals_picture(important: Sequence[ImportantRows], directions: Sequence[str], *, name: str) -> Picture:
    """Effects with their intervals, a row for each neuron."""
    series = []
    for direction in directions:
        found = [(row, neuron.rows[direction]) for row, neuron in enumerate(important) if direction in neuron.rows]
        known = [(row, one) for row, one in found if one["effect"] is not None]
        low, high = (np.array([one[f"interval_{end}"] if one[f"interval_{end}"] is not None else one["effect"]
                               for _, one in known]) for end in ("low", "high"))  # fmt: skip
        series.append(
            Points(
                label=_EFFECTS[direction],
                x=np.array([one["effect"] for _, one in known]),
                y=np.array([row for row, _ in known], float),
                low=low,
                high=high,
            )
        )
    labels = [printable(neuron.spec) for neuron in important]
    listed = "; ".join(
        f"{label}: "
        + ", ".join(f"{_EFFECTS[way]} {row['effect']:.3g}" for way, row in neuron.rows.items() if row["effect"])
        for label, neuron in zip(labels, important, strict=True)
    )
    return Picture(
        name=name,
        svg=svg_bytes(draw_intervals(labels, series, x_label="share of the margin")),
        title="Effects of single neurons.",
        caption="Points: effect over all pairs. Lines: 95 % intervals over clusters of inputs.",
        alternative=f"Effects of single neurons. {listed}",
    )


def _table(important: Sequence[ImportantRows], directions: Sequence[str], clusters: int) -> Table:
    columns: list[Text] = ["Neuron", "Importance"]
    for direction in directions:
        columns += [_EFFECTS[direction].capitalize(), "95 % interval", "q", "Flips"]
    rows: list[list[Text]] = []
    for neuron in important:
        cells: list[Text] = [name(neuron.spec), number(neuron.importance, digits=4)]
        for direction in directions:
            cells += _cells(neuron.rows.get(direction, {}))
        rows.append(cells)
    note = sentence(
        "q: false discovery rate over all neurons. Flips: pairs whose action changes. Intervals: bootstrap over {} "
        "clusters of inputs{}.",
        count(clusters),
        "; below 40 clusters they cover less than 95 %" if clusters < 40 else "",
    )
    caption = "Neurons in the order of their importance"
    return Table(name="important-neurons", caption=caption, columns=columns, rows=rows, numeric=range(1, len(columns)),
                 note=note)  # fmt: skip


def _cells(row: Mapping[str, Any]) -> list[Text]:
    flips = row.get("flips")
    return [
        number(row.get("effect"), digits=4),
        interval(row.get("interval_low"), row.get("interval_high")),
        number(row.get("q"), digits=2),
        count(None if flips is None else int(flips)),
    ]
