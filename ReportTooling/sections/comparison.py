"""The sections of the page over many agents."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from Neuron_Selection.DrawingTooling.canvas import svg_bytes
from Neuron_Selection.DrawingTooling.curves import Curve, Panel, draw_curves
from Neuron_Selection.DrawingTooling.points import Points, draw_scatter
from ReportTooling.page.blocks import (
    Block,
    Commands,
    Facts,
    Gallery,
    Paragraph,
    Picture,
    Section,
    Table,
    Text,
)
from ReportTooling.page.numbers import UNDEFINED, count, joined, name, number, printable, sentence, share
from ReportTooling.results.agent_rows import AgentRow
from ReportTooling.results.steps import step_command

_COLUMNS = {
    "algorithm": "Algorithm", "parameters": "Parameters", "neurons": "Neurons", "dead_neurons": "Dead",
    "pairs": "Pairs", "contrast_pairs": "Different actions", "sufficient_neurons": "Neurons that suffice",
    "necessary_neurons": "Neurons that destroy", "random_neurons": "In random order", "top_neuron": "Top neuron",
    "top_effect": "Its effect", "top_share": "Its share",
    "success": "Success", "rank_correlation": "One step against behaviour",
}  # fmt: skip
_SUMMED = (
    "sufficient_neurons",
    "necessary_neurons",
    "random_neurons",
    "top_effect",
    "top_share",
    "success",
    "rank_correlation",
)
_NOTE = (
    "Neurons that suffice, or destroy: median size of the minimal sets that restore the clean action, or replace it by "
    "the corrupted run's, in the layer that needs fewest. Effect: mean over the directions of the share of the margin. "
    "Share: of the sum over all neurons. Success: of the unchanged agent. One step against behaviour: Spearman "
    "correlation of a neuron's importance and what ablating it changes, in the layer with most neurons."
)


def overview(rows: Sequence[AgentRow]) -> Section:
    """All agents in a table."""
    grouped = any(row.values["group"] for row in rows)
    algorithms = dict.fromkeys(row.values["algorithm"] for row in rows)
    facts: list[tuple[str, Text]] = [
        ("Agents", count(len(rows))),
        ("Algorithms", joined([sentence("{}", one) for one in algorithms])),
        ("With all steps", count(sum(not row.not_run for row in rows))),
    ]
    if grouped:
        facts.append(("Groups", count(len({row.values["group"] for row in rows}))))
    columns: list[Text] = ["Agent", *(["Group"] if grouped else []), *_COLUMNS.values()]
    cells: list[list[Text]] = [
        [name(row.values["agent"]), *([row.values["group"]] if grouped else []),
         *(_cell(key, row.values[key]) for key in _COLUMNS)] for row in rows
    ]  # fmt: skip
    first = 2 + grouped
    numeric = [place for place in range(first, len(columns)) if columns[place] != "Top neuron"]
    table = Table(name="agents", caption="Agents", columns=columns, rows=cells, numeric=numeric, note=_NOTE)
    blocks: list[Block] = [Facts(facts=facts, is_large=True), table]
    if grouped:
        blocks.append(_groups(rows))
    return Section(name="overview", title="The agents", blocks=blocks)


def _groups(rows: Sequence[AgentRow]) -> Table:
    """Medians of each group."""
    cells: list[list[Text]] = []
    for group in dict.fromkeys(row.values["group"] for row in rows):
        own = [row.values for row in rows if row.values["group"] == group]
        known = {key: [one[key] for one in own if one[key] is not None] for key in _SUMMED}
        medians = {key: float(np.median(values)) if values else None for key, values in known.items()}
        cells.append([group or "no group", count(len(own)), *(_cell(key, medians[key]) for key in _SUMMED)])
    columns: list[Text] = ["Group", "Agents", *(_COLUMNS[key] for key in _SUMMED)]
    return Table(name="groups", caption="Medians of the groups", columns=columns, rows=cells,
                 numeric=range(1, len(columns)), note="Over the agents whose step was run.")  # fmt: skip


def curves_section(rows: Sequence[AgentRow]) -> Section | None:
    """A small picture for each agent: how many neurons its decisions need; None if none was searched."""
    pictures = [_curves(row, place) for place, row in enumerate(rows, start=1) if row.curves]
    if not pictures:
        return None
    lead = (
        "The share of pairs that get the clean action back when the first neurons of the measured ranking take their "
        "clean values, in each layer; grey: neurons in random order."
    )
    return Section(
        name="curves", title="How many neurons decisions need",
        blocks=[Paragraph(text=lead, kind="lead"), Gallery(pictures=[picture for picture in pictures if picture])],
    )  # fmt: skip


def _curves(row: AgentRow, place: int) -> Picture | None:
    direction = next((one for one in ("denoising", "noising") if any(c["direction"] == one for c in row.curves)), "")
    own = [one for one in row.curves if one["direction"] == direction and one["scope"] == "pair"]
    curves: list[Curve] = []
    for ranking in ("measured_effect", "random"):
        for layer in dict.fromkeys(one["layer"] for one in own if one["ranking"] == ranking):
            is_first = not any(curve.is_control for curve in curves)
            points = [one for one in own if (one["layer"], one["ranking"]) == (layer, ranking)]
            curves.append(
                Curve(
                    label=printable(layer) if ranking != "random" else "random" * is_first,
                    x=np.array([one["size"] for one in points]),
                    y=np.array([one["share_reached"] for one in points]),
                    is_control=ranking == "random",
                )
            )
    title = printable(str(row.values["agent"]))
    panel = Panel(title=title, curves=curves, x_label="neurons", y_label="pairs", scale="symlog", as_percent=True)
    medians = sentence(
        "Median set: {} of {}.", _cell("sufficient_neurons", row.values["sufficient_neurons"]), direction
    )
    return Picture(
        name=f"curve-{place}",
        svg=svg_bytes(draw_curves([panel])),
        title=sentence("{}.", row.values["agent"]),
        caption=medians,
        alternative=f"{title}: share of pairs against number of neurons, {direction}; median size "
        f"{row.values['sufficient_neurons']}",
    )


def spread_section(rows: Sequence[AgentRow]) -> Section | None:
    """Number of neurons needed against the share of the strongest neuron; None without two agents that have both."""
    known = [row.values for row in rows if None not in (row.values["sufficient_neurons"], row.values["top_share"])]
    if len(known) < 2:
        return None
    groups = dict.fromkeys(one["group"] for one in known)
    series = [
        Points(
            label=printable(group) or "agents",
            x=np.array([one["sufficient_neurons"] for one in known if one["group"] == group]),
            y=np.array([one["top_share"] for one in known if one["group"] == group]),
        )
        for group in groups
    ]
    listed = "; ".join(
        f"{one['agent']}: {one['sufficient_neurons']:g} neurons, {one['top_share']:.3g}" for one in known
    )
    labels = [(one["sufficient_neurons"], one["top_share"], printable(one["agent"])) for one in known[:12]]
    picture = Picture(
        name="spread",
        svg=svg_bytes(
            draw_scatter(series, x_label="neurons that suffice (median)", y_label="share of the top neuron",
                         labels=labels, y_percent=True)
        ),
        title="Concentrated or distributed.",
        caption="Few neurons and a large share: single neurons decide.",
        alternative=f"Neurons that suffice against the share of the top neuron. {printable(listed)}",
    )  # fmt: skip
    return Section(name="spread", title="Concentrated or distributed", blocks=[picture])


def missing_section(rows: Sequence[AgentRow]) -> Section | None:
    """The steps that agents miss, with their commands; None if all have all."""
    commands: list[tuple[Text, str]] = []
    for row in rows:
        for step in row.not_run:
            text = step_command(step, row.folder.folder, recorded=row.recorded)
            commands.append((sentence("{} misses {}.", name(row.values["agent"]), name(step.file)), printable(text)))
    if not commands:
        return None
    return Section(name="missing", title="Not run yet", blocks=[Commands(commands=commands)])


def files_section(rows: Sequence[AgentRow]) -> Section:
    """The files read, with their hashes."""
    cells: list[list[Text]] = [[name(file), name(sha)] for row in rows for file, sha in row.files.items()]
    table = Table(name="files", caption="Files and their SHA-256", columns=["File", "SHA-256"], rows=cells)
    return Section(name="origin", title="How it was made", blocks=[table])


def _cell(key: str, value: Any) -> Text:
    if value is None:
        return UNDEFINED
    if key == "top_neuron":
        return name(value)
    if key in ("top_share", "top_effect", "success"):
        return share(value)
    if isinstance(value, int):
        return count(value)
    return number(value) if isinstance(value, float) else sentence("{}", value)
