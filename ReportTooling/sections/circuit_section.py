"""The circuit as a graph, how faithful it is, and which neurons work together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from Neuron_Selection.DrawingTooling.canvas import svg_bytes
from Neuron_Selection.DrawingTooling.curves import draw_curves
from Neuron_Selection.DrawingTooling.graphs import LayeredGraph, draw_graph
from Neuron_Selection.DrawingTooling.heatmaps import draw_matrices
from Neuron_Selection.ExperimentTooling.attribution.pictures import draw_estimates
from Neuron_Selection.ExperimentTooling.edges.pictures import edge_curve_panel
from Neuron_Selection.ExperimentTooling.interactions.pictures import interaction_matrices
from Neuron_Selection.FileFormats.results.circuit_file import Circuit, Node
from ReportTooling.page.blocks import Block, Folded, Gallery, Paragraph, Part, Picture, Section, Table, Text
from ReportTooling.page.numbers import count, interval, joined, name, number, printable, sentence, share
from ReportTooling.results.loading import Results

_DRAWN = 48
_LISTED = 12


def circuit(results: Results) -> Section | None:
    """Edges, interactions and attribution; None without any."""
    blocks: list[Block] = []
    if results.circuit is not None and results.edges is not None:
        blocks += _edges(results, results.circuit, results.edges)
    if results.interactions:
        blocks.append(_together(results.interactions, results.interaction_rows))
    if results.attribution:
        blocks.append(_attribution(results.attribution, results.attribution_rows))
    return Section(name="circuit", title="The circuit", blocks=blocks) if blocks else None


def graph_picture(results: Results, found: Circuit, *, name: str, most: int = _DRAWN) -> Picture:
    """The strongest edges of a circuit as a graph."""
    ranked = sorted(range(len(found.edges)), key=lambda place: -abs(found.importance[place] or 0.0))[:most]
    edges = [(found.edges[place], found.importance[place] or 0.0) for place in ranked]
    nodes = {layer: sorted({node.neuron for edge, _ in edges for node in edge if node.layer == layer})
             for layer in found.layers}  # fmt: skip
    order = [layer for layer in found.layers if nodes[layer]]
    labels = [(printable(layer), [_label(results, found, Node(layer, one)) for one in nodes[layer]]) for layer in order]
    drawn = [
        (order.index(edge.sends.layer), nodes[edge.sends.layer].index(edge.sends.neuron),
         nodes[edge.receives.layer].index(edge.receives.neuron), weight) for edge, weight in edges
    ]  # fmt: skip
    listed = "; ".join(
        f"{_label(results, found, edge.sends)} to {_label(results, found, edge.receives)} {weight:.3g}"
        for edge, weight in edges[:8]
    )
    left_out = sentence(" The {} strongest of {} edges are drawn.", count(most), count(len(found.edges)))
    return Picture(
        name=name,
        svg=svg_bytes(draw_graph(LayeredGraph(layers=labels, edges=drawn))),
        title="The circuit.",
        caption=sentence(
            "A line is an edge between neurons, as wide as its mean effect on the margin.{}",
            left_out if len(found.edges) > most else "",
        ),
        alternative=f"Circuit of {len(found.edges)} edges. The strongest: {listed}",
        is_wide=True,
    )


def _label(results: Results, found: Circuit, node: Node) -> str:
    """A score by its action, an input entry by its name, a neuron by its index."""
    layers = list(found.layers)
    if node.layer == layers[-1]:
        return printable(results.actions[node.neuron])
    if node.layer == found.inputs:
        return printable(found.input_names.get(node.neuron, f"entry {node.neuron}"))
    return str(node.neuron)


def _edges(results: Results, found: Circuit, document: Mapping[str, Any]) -> list[Block]:
    faithfulness = found.measures.get("faithfulness")
    lead = sentence(
        "Of {} edges between neighbouring layers, the {} strongest form a circuit. With all other edges at their {} "
        "values it keeps {} of the margin.",
        count(document["edges"]), count(len(found.edges)), found.ablation, share(faithfulness),
    )  # fmt: skip
    blocks: list[Block] = [Paragraph(text=lead, kind="lead"), graph_picture(results, found, name="circuit")]
    if results.edge_curve:
        blocks.append(Gallery(pictures=[_curve(results.edge_curve)]))
    tables = [_strongest(direction, part["strongest"][:_LISTED]) for direction, part in document["directions"].items()]
    blocks.append(tables[0])
    if len(tables) > 1:
        blocks.append(Folded(summary="The other direction", blocks=tables[1:]))
    return blocks


def _curve(rows: Sequence[Mapping[str, Any]]) -> Picture:
    panel = edge_curve_panel(rows)
    curves = panel.curves
    ends = ", ".join(f"{curve.label}: {curve.y[-1]:.3g}" for curve in curves)
    return Picture(
        name="circuit-curve",
        svg=svg_bytes(draw_curves([panel])),
        title="Faithfulness against number of edges.",
        caption="1 is the whole margin. The band: lowest and highest of the random orders.",
        alternative=f"Faithfulness against number of edges. With all edges: {ends}",
    )


def _strongest(direction: str, edges: Sequence[Mapping[str, Any]]) -> Table:
    rows: list[list[Text]] = [
        [
            sentence("{} ({})", name(edge["from"]), edge["name"]) if edge.get("name") else name(edge["from"]),
            name(edge["to"]), number(edge["effect"]), interval(edge["low"], edge["high"]), number(edge["q"], digits=2),
            count(edge["flips"]),
        ]
        for edge in edges
    ]  # fmt: skip
    columns = ["From", "To", "Effect", "95 % interval", "q", "Flips"]
    return Table(name=f"edges-{direction}", caption=f"The strongest edges, {direction}", columns=columns, rows=rows,
                 numeric=[2, 3, 4, 5])  # fmt: skip


def _together(document: Mapping[str, Any], rows: Sequence[Mapping[str, Any]]) -> Part:
    matrices = interaction_matrices(rows)
    pictures = [
        Picture(
            name=f"interactions-{place}",
            svg=svg_bytes(draw_matrices([matrix])),
            title="Interactions.",
            caption="E(both) - E(one) - E(other): orange, each replaces the other; blue, both are needed.",
            alternative=f"Matrix of interactions of {len(matrix.values)} neurons, {printable(matrix.title)}; the "
            f"largest has size {matrix.limit:.3g}",
        )
        for place, matrix in enumerate(matrices, start=1)
    ]
    blocks: list[Block] = [Gallery(pictures=pictures)]
    for direction, part in document.items():
        counts = [sentence("{} {}", count(n), kind.replace("_", " ")) for kind, n in part["kinds"].items()]
        text = "{}: of the pairs of {} neurons of {}, {}; by the sign and size of E(both) - E(one) - E(other)."
        layers = joined([name(layer) for layer in part["layers"]])
        blocks.append(
            Paragraph(text=sentence(text, direction.capitalize(), count(len(part["neurons"])), layers, joined(counts)))
        )
        blocks.append(
            Folded(summary=f"The strongest, {direction}", blocks=[_interactions(direction, part["strongest"])])
        )
    return Part(name="interactions", title="Neurons that work together", blocks=blocks)


def _interactions(direction: str, strongest: Sequence[Mapping[str, Any]]) -> Table:
    rows: list[list[Text]] = [
        [
            name(f"{one['layer']}:{one['neuron']}"), name(f"{one['other_layer']}:{one['other_neuron']}"),
            number(one["effect"]), number(one["other_effect"]), number(one["effect_together"]),
            number(one["interaction"]), str(one["kind"]).replace("_", " "),
        ]
        for one in strongest
    ]  # fmt: skip
    columns = ["One", "Other", "Alone", "Other alone", "Together", "Interaction", "Kind"]
    return Table(name=f"interactions-{direction}", caption=f"The strongest interactions, {direction}", columns=columns,
                 rows=rows, numeric=[2, 3, 4, 5])  # fmt: skip


def _attribution(document: Mapping[str, Any], neurons: Sequence[Mapping[str, Any]]) -> Part:
    picture = Picture(
        name="attribution-estimates",
        svg=svg_bytes(draw_estimates(neurons)),
        title="Estimates against effects.",
        caption="On the line the estimate is the measured effect. Every neuron, layer and direction.",
        alternative=f"Estimates by gradients against measured effects of {len(neurons)} neurons; errors are in "
        "the table",
    )
    rows: list[list[Text]] = []
    for direction, layers in document.items():
        for layer, site in layers.items():
            for estimate, error in (site.get("estimates") or {}).items():
                recall = error["recall"].get("top_10")
                rows.append(
                    [
                        name(layer),
                        direction,
                        estimate.replace("_", " "),
                        number(error["spearman"]),
                        share(recall),
                        count(error["sign_errors"]),
                    ]
                )
    columns = ["Layer", "Direction", "Estimate", "Spearman", "Top 10 found", "Wrong sign"]
    table = Table(name="attribution", caption="Estimates by gradients against the measured effects", columns=columns,
                  rows=rows, numeric=[3, 4, 5])  # fmt: skip
    return Part(name="gradients", title="Can gradients be trusted here?", blocks=[picture, table])
