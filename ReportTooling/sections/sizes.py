"""How many neurons decisions need: sizes of minimal sets, and curves of the rankings with random orders."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from Neuron_Selection.DrawingTooling.canvas import svg_bytes
from Neuron_Selection.DrawingTooling.curves import draw_curves
from Neuron_Selection.DrawingTooling.points import draw_counts
from Neuron_Selection.ExperimentTooling.minimal_sets.pictures import curve_panels, effect_panel, size_counts
from ReportTooling.page.blocks import Block, Gallery, Paragraph, Picture, Section, Table, Text
from ReportTooling.page.numbers import count, name, number, printable
from ReportTooling.results.loading import Results

_MOST = 12
_LEAD = (
    "The smallest sets of one layer's neurons that make the action of one run the action of the other. Denoising: "
    "neurons that suffice to restore the clean action. Noising: neurons that suffice to destroy it."
)
_NOTE = (
    "No neuron can be left out of a set; a smaller set of other neurons may exist. Proven smallest: pairs for which "
    "none does. Not monotone: pairs in which adding a neuron to the set undoes the goal."
)


def sizes(results: Results) -> Section | None:
    """The minimal sets; None if they were not searched."""
    document = results.minimal_sets
    sites = [(way, layer, site) for way, layers in document.items() for layer, site in layers.items()]
    if not sites:
        return None
    blocks: list[Block] = [
        Paragraph(text=_LEAD, kind="lead"),
        Gallery(pictures=[size_picture(document, direction, name=f"sizes-{direction}") for direction in document]),
        _table(sites),
    ]
    panels = curve_panels(results.curves)
    pictures = []
    for place, panel in enumerate(panels, start=1):
        medians = {row.label: _first_half(row.x, row.y) for row in panel.curves}
        listed = ", ".join(f"{label}: {size}" for label, size in medians.items())
        pictures.append(
            Picture(
                name=f"curves-{place}",
                svg=svg_bytes(draw_curves([panel])),
                title="First neurons of each ranking.",
                caption=f"Neurons until half of the pairs reach the goal: {listed}.",
                alternative=f"{printable(panel.title)}: share of pairs that reach the goal against number of "
                f"neurons. Half: {listed}",
            )
        )
    for place, (direction, layer, _) in enumerate(sites, start=1):
        panel = effect_panel(direction, layer, results.curves)
        if len(panel.curves) > 1:
            pictures.append(
                Picture(
                    name=f"effects-of-first-{place}",
                    svg=svg_bytes(draw_curves([panel])),
                    title="Their effect on the margin.",
                    caption="1 is the whole way to the other run. The band: lowest and highest of the random orders.",
                    alternative=f"{printable(panel.title)}: margin effect of the first neurons, in the measured "
                    "ranking and in random orders",
                )
            )
    blocks.append(Gallery(pictures=pictures))
    return Section(name="sizes", title="How many neurons a decision needs", blocks=blocks)


def size_picture(document: Mapping[str, Any], direction: str, *, name: str) -> Picture:
    """How many pairs need how many neurons, in each layer of a direction."""
    layers = document[direction]
    counts = [(printable(layer), size_counts(site, most=_MOST)) for layer, site in layers.items()]
    labels = [*map(str, range(1, _MOST)), f"{_MOST}+"]
    listed = "; ".join(
        f"{layer}: " + ", ".join(f"{label} neurons {n} pairs" for label, n in zip(labels, numbers, strict=True) if n)
        for layer, numbers in counts
    )
    return Picture(
        name=name,
        svg=svg_bytes(
            draw_counts(counts, labels=labels, x_label="neurons in the set", y_label="pairs", title=direction)
        ),
        title=f"Sizes of the sets, {direction}.",
        caption="One set for each pair with different actions.",
        alternative=f"Sizes of minimal sets, {direction}. {listed}",
    )


def _table(sites: list[tuple[str, str, Mapping[str, Any]]]) -> Table:
    rows: list[list[Text]] = []
    for direction, layer, site in sites:
        summary, together = site["summary"], site["together"]
        rows.append(
            [
                name(layer),
                direction,
                count(site["neurons"]),
                number(summary["median_size"]),
                count(summary["least_size"]),
                count(summary["greatest_size"]),
                count(summary["proven_smallest"]),
                count(summary["not_monotone"]),
                count(None if together is None else together["size"]),
            ]
        )
    columns = ["Layer", "Direction", "Neurons", "Median size", "Least", "Greatest", "Proven smallest", "Not monotone",
               "One set for all"]  # fmt: skip
    return Table(name="set-sizes", caption="Sizes of minimal sets", columns=columns, rows=rows,
                 numeric=range(2, len(columns)), note=_NOTE)  # fmt: skip


def _first_half(x: Any, y: Any) -> str:
    reached = [size for size, share in zip(x, y, strict=True) if share >= 0.5]
    return f"{min(reached):g}" if reached else "never"
