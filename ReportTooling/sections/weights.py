"""Weights: what the chosen ones change against random ones, and the smallest changes that flip decisions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from Neuron_Selection.DrawingTooling.canvas import svg_bytes
from Neuron_Selection.DrawingTooling.curves import draw_curves
from Neuron_Selection.DrawingTooling.points import Points, draw_scatter
from Parameter_Selection.PerturbationTooling.exact_flips.pictures import flip_panel
from Parameter_Selection.PerturbationTooling.perturbations.pictures import control_panels, together_panel
from ReportTooling.page.blocks import Block, Folded, Gallery, Paragraph, Picture, Section, Table, Text
from ReportTooling.page.numbers import count, interval, name, number, printable, sentence, share
from ReportTooling.results.loading import Results

_LISTED = 200


def weights(results: Results) -> Section | None:
    """The weights; None if none were chosen or changed."""
    blocks: list[Block] = []
    if results.candidates is not None:
        chosen = results.candidates["weight_targets"]
        blocks.append(
            Paragraph(
                text=sentence(
                    "{} weights that feed the most important neurons were chosen by their gradients. What do changes "
                    "of them do to decisions?",
                    count(len(chosen)),
                ),
                kind="lead",
            )
        )
    if results.perturbations is not None:
        blocks += _perturbed(results.perturbations)
    if results.flips is not None:
        blocks += _flips(results.flips)
    elif results.candidates is not None and results.perturbations is None:
        blocks.append(_chosen(results.candidates["weight_targets"]))
    return Section(name="weights", title="Weights", blocks=blocks) if blocks else None


def control_picture(document: Mapping[str, Any], *, name: str, measure: int = 0) -> Picture | None:
    """Chosen weights against random ones; None without random sets."""
    panels = control_panels(document["summary"], document["metadata"]["run"]["mode"])
    if not panels:
        return None
    panel = panels[measure]
    listed = "; ".join(
        f"{curve.label}: " + ", ".join(f"{x:g} {y:.3g}" for x, y in zip(curve.x, curve.y, strict=True))
        for curve in panel.curves
    )
    return Picture(
        name=name,
        svg=svg_bytes(draw_curves([panel])),
        title=f"{panel.y_label.capitalize()}.",
        caption="Means over the inputs and over weights, each changed alone.",
        alternative=f"{panel.y_label} against {panel.x_label}. {listed}",
    )


def _perturbed(document: Mapping[str, Any]) -> list[Block]:
    summary, mode = document["summary"], document["metadata"]["run"]["mode"]
    pictures = [
        picture
        for place, name in enumerate(("weights-flips", "weights-margin"))
        if (picture := control_picture(document, name=name, measure=place)) is not None
    ]
    panel = together_panel(summary, mode)
    listed = ", ".join(f"{x:g} {y:.3g}" for x, y in zip(panel.curves[0].x, panel.curves[0].y, strict=True))
    pictures.append(
        Picture(
            name="weights-together",
            svg=svg_bytes(draw_curves([panel])),
            title="All chosen weights changed together.",
            caption=sentence("{} weights, {} inputs.", count(summary["targets"]), count(summary["inputs"])),
            alternative=f"Share of changed decisions against {panel.x_label}: {listed}",
        )
    )
    pictures.append(_sizes(document))
    blocks: list[Block] = [Gallery(pictures=pictures)]
    comparisons = summary["controls"].get("comparisons") or []
    if comparisons:
        blocks.append(
            Folded(summary="All values, with intervals", blocks=[_comparisons(comparisons, summary["controls"])])
        )
    return blocks


def _sizes(document: Mapping[str, Any]) -> Picture:
    alone = [record for record in document["results"] if record["target"] != "all together"]
    size = np.array([abs(record["weight_after"] - record["weight_before"]) for record in alone])
    shares = np.array([record["flip_share"] for record in alone])
    strongest = document["summary"]["strongest"]
    return Picture(
        name="weights-sizes",
        svg=svg_bytes(
            draw_scatter([Points(label="a weight and a value", x=size, y=shares)], x_label="size of the change",
                         y_label="share of changed decisions", y_percent=True)
        ),
        title="Size of the change and changed decisions.",
        caption=sentence("Most: {} changes {} decisions.", name(strongest["target"]), count(strongest["flips"])),
        alternative="Share of changed decisions against the size of the change of one weight; most: "
        f"{printable(str(strongest['target']))}, {strongest['flips']} decisions",
    )  # fmt: skip


def _comparisons(comparisons: list[Mapping[str, Any]], controls: Mapping[str, Any]) -> Table:
    names = {"flip_share": "changed decisions", "margin_change_size": "change of the margin"}
    rows: list[list[Text]] = []
    for row in comparisons:
        shown = share if row["measure"] == "flip_share" else number
        low, high = row["difference_interval"] or (None, None)
        rows.append(
            [
                names[row["measure"]],
                number(row["value"]),
                shown(row["candidates"]),
                shown(row["random"]),
                interval(low, high),
                number(row["q"], digits=2),
                {True: "yes", False: "no", None: "undecidable"}[row["beats_chance"]],
            ]
        )
    note = sentence(
        "{} random sets of as many weights of the same layers. Interval: of the difference, over {} clusters of inputs",
        count(controls["random_sets"]), count(controls["clusters"]),
    )  # fmt: skip
    return Table(name="against-random", caption="Chosen weights against random ones",
                 columns=["Measure", "Value", "Chosen", "Random", "Difference, 95 %", "q", "Beats chance"], rows=rows,
                 numeric=[1, 2, 3, 4, 5], note=note)  # fmt: skip


def flips_picture(document: Mapping[str, Any], *, name: str) -> Picture:
    """The share of decisions within reach of one weight."""
    panel = flip_panel(document)
    listed = "; ".join(f"{printable(curve.label)}: at most {100 * curve.y[-1]:.3g} %" for curve in panel.curves)
    return Picture(
        name=name,
        svg=svg_bytes(draw_curves([panel])),
        title="Decisions within reach of one weight.",
        caption="For each input the smallest change of one chosen weight that flips the decision.",
        alternative=f"{panel.y_label} against {panel.x_label}. {listed}",
    )


def _flips(document: Mapping[str, Any]) -> list[Block]:
    summary = document["summary"]
    rows: list[list[Text]] = [
        [
            name(record["target"]), number(record["weight_before"], digits=4), count(record["inputs_that_flip"]),
            number(record["smallest"], digits=4), number(record["median"], digits=4),
        ]
        for record in sorted(document["results"], key=lambda one: (one["smallest"] is None, one["smallest"]))[:_LISTED]
    ]  # fmt: skip
    brackets = summary.get("brackets") is not None
    note = "Sizes are upper ends of brackets where the activation function is not piecewise linear." if brackets else ""
    table = Table(name="flips", caption="The smallest change of each chosen weight that flips a decision",
                  columns=["Weight", "Value", "Decisions it can flip", "Smallest change", "Median change"], rows=rows,
                  numeric=[1, 2, 3, 4], note=note)  # fmt: skip
    return [Gallery(pictures=[flips_picture(document, name="weights-reach")]), table]


def _chosen(targets: list[Mapping[str, Any]]) -> Table:
    rows: list[list[Text]] = [
        [
            name(f"{one['layer_name']}[{one['neuron_index']},{one['weight_index']}]"),
            number(one.get("gradient_magnitude")),
        ]
        for one in targets[:_LISTED]
    ]
    return Table(name="chosen-weights", caption="Chosen weights", columns=["Weight", "Score"], rows=rows, numeric=[1])
