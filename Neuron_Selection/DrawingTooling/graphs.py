"""Graphs whose nodes are in layers, drawn from left to right."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from Neuron_Selection.DrawingTooling.canvas import WIDTH, in_style, new_figure, short
from Neuron_Selection.DrawingTooling.style import PALETTE

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_ROUNDS = 4  # of moving nodes next to those that they are joined to


@dataclass(frozen=True, kw_only=True, slots=True)
class LayeredGraph:
    """A graph to draw.

    :param layers: the title of each layer and the labels of its nodes
    :param edges: layer, node in it, node in the next layer, and weight; the sign decides the colour
    """

    layers: Sequence[tuple[str, Sequence[str]]]
    edges: Sequence[tuple[int, int, int, float]]


@in_style
def draw_graph(graph: LayeredGraph) -> Figure:
    """Nodes in columns; the width of a line grows with the size of its weight."""
    from matplotlib.collections import LineCollection

    most = max(len(labels) for _, labels in graph.layers)
    figure = new_figure(2 * WIDTH, 0.9 + 0.21 * max(most, 6))
    axes = figure.add_subplot()
    heights = _heights(graph)
    largest = max((abs(weight) for *_, weight in graph.edges), default=1.0) or 1.0
    lines, widths, colours = [], [], []
    for layer, one, other, weight in sorted(graph.edges, key=lambda edge: abs(edge[3])):
        lines.append([(layer, heights[layer][one]), (layer + 1, heights[layer + 1][other])])
        widths.append(0.4 + 4.0 * abs(weight) / largest)
        colours.append(PALETTE["clean"] if weight >= 0 else PALETTE["corrupted"])
    axes.add_collection(LineCollection(lines, linewidths=widths, colors=colours, alpha=0.5, capstyle="round"))
    for layer, (title, labels) in enumerate(graph.layers):
        axes.plot([layer] * len(labels), heights[layer], "o", color=PALETTE["ink"], markersize=3.5)
        axes.text(layer, 1.06, short(title, most=22), fontsize=9, fontweight="bold", ha="center")
        is_last = layer == len(graph.layers) - 1
        for label, height in zip(labels, heights[layer], strict=True):
            axes.text(
                layer + (0.03 if is_last else -0.03),
                height,
                short(label, most=24),
                fontsize=7.5,
                ha="left" if is_last else "right",
                va="center",
                bbox={"facecolor": PALETTE["paper"], "edgecolor": "none", "pad": 0.8},
            )
    axes.set(xlim=(-0.45, len(graph.layers) - 0.75), ylim=(-0.03, 1.12))
    axes.axis("off")
    return figure


def _heights(graph: LayeredGraph) -> list[np.ndarray]:
    """The height of each node, 0 to 1: evenly apart, in the order of the mean height of their neighbours."""
    heights = [np.linspace(1, 0, len(labels) + 2)[1:-1] for _, labels in graph.layers]
    for _ in range(_ROUNDS):
        for layer in (*range(len(graph.layers)), *reversed(range(len(graph.layers)))):
            sums, weights = np.zeros((2, len(heights[layer])))
            for at, one, other, weight in graph.edges:
                for own, node, neighbour in ((at, one, (at + 1, other)), (at + 1, other, (at, one))):
                    if own == layer:
                        sums[node] += abs(weight) * heights[neighbour[0]][neighbour[1]]
                        weights[node] += abs(weight)
            wanted = np.where(weights > 0, sums / np.where(weights > 0, weights, 1), heights[layer])
            even = np.linspace(1, 0, len(wanted) + 2)[1:-1]
            placed = np.empty_like(even)
            placed[np.argsort(-wanted, kind="stable")] = even
            heights[layer] = placed
    return heights
