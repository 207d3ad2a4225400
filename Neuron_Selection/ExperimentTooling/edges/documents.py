"""Patched edges as a table and as a JSON document, and the circuit of the strongest ones."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from Neuron_Selection.ExperimentTooling.circuits.masked_runs import Masks
from Neuron_Selection.ExperimentTooling.circuits.measures import CircuitMeasures, edges_of
from Neuron_Selection.ExperimentTooling.circuits.strongest import FaithfulnessCurve
from Neuron_Selection.ExperimentTooling.edges.effects import LinkEffects
from Neuron_Selection.ExperimentTooling.edges.paths import PatchedPath
from Neuron_Selection.ExperimentTooling.node_chain import NodeChain
from Neuron_Selection.FileFormats.results.circuit_file import Circuit, Edge, Node

STRONGEST = 20
SIGNIFICANT = 0.05


def edge_rows(
    effects: Mapping[str, Sequence[LinkEffects]], circuit: Masks, input_names: Sequence[str] | None, inputs: str
) -> Iterator[dict[str, Any]]:
    """A row for every edge and direction, layer by layer.

    :param inputs: the layer whose nodes ``input_names`` names
    """
    for direction, links in effects.items():
        for one, chosen in zip(links, circuit, strict=True):
            names = input_names if one.link.sends == inputs else None
            columns = [
                array.ravel().tolist()
                for array in (one.effect, one.low, one.high, one.q, one.flips, one.matches, one.changed, chosen)
            ]
            ends = np.ndindex(one.effect.shape)
            for (sender, receiver), effect, low, high, q, flips, matches, changed, is_in in zip(
                ends, *columns, strict=True
            ):
                yield {
                    "direction": direction,
                    "from_layer": one.link.sends,
                    "from_neuron": sender,
                    "from_name": None if names is None else names[sender],
                    "to_layer": one.link.receives,
                    "to_neuron": receiver,
                    "effect": effect,
                    "low": _defined(low),
                    "high": _defined(high),
                    "q": _defined(q),
                    "flips": flips,
                    "matches_source": matches,
                    "changed_inputs": changed,
                    "in_circuit": is_in,
                }


def curve_rows(curves: Sequence[FaithfulnessCurve]) -> Iterator[dict[str, Any]]:
    """A row for every size of every curve."""
    for curve in curves:
        for place, size in enumerate(curve.sizes):
            yield {
                "ranking": curve.ranking,
                "edges": int(size),
                **{name: float(getattr(curve, name)[place]) for name in ("faithfulness", "low", "high")},
            }


def direction_document(
    links: Sequence[LinkEffects],
    paths: Sequence[PatchedPath],
    chain: NodeChain,
    input_names: Sequence[str] | None,
    *,
    n_pairs: int,
) -> dict[str, Any]:
    """One direction: its links, its strongest edges and paths.

    :param n_pairs: its pairs with contrast
    """
    sizes = np.concatenate([np.abs(one.effect).ravel() for one in links])
    order, ends = np.argsort(-sizes, kind="stable"), [int(end) for end in np.cumsum([one.effect.size for one in links])]
    strongest = []
    for place in order[:STRONGEST]:
        number = int(np.searchsorted(ends, place, side="right"))
        one, start = links[number], ends[number] - links[number].effect.size
        at = np.unravel_index(int(place) - start, one.effect.shape)
        if one.effect[at]:
            strongest.append(
                {
                    "from": str(Node(one.link.sends, int(at[0]))),
                    "name": _name(chain, input_names, one.link.sends, int(at[0])),
                    "to": str(Node(one.link.receives, int(at[1]))),
                    "effect": float(one.effect[at]),
                    "low": _defined(float(one.low[at])),
                    "high": _defined(float(one.high[at])),
                    "q": _defined(float(one.q[at])),
                    "flips": int(one.flips[at]),
                }
            )
    return {
        "contrast_pairs": n_pairs,
        "links": [
            {
                "from_layer": one.link.sends,
                "to_layer": one.link.receives,
                "edges": one.effect.size,
                "edges_with_effect": int(np.count_nonzero(one.changed)),
                "edges_with_low_q": int(np.count_nonzero(one.q < SIGNIFICANT)),
            }
            for one in links
        ],
        "strongest": strongest,
        "paths": [
            {
                "path": [str(Node(layer, node)) for layer, node in zip(chain.layers, path.nodes, strict=True)],
                "name": _name(chain, input_names, chain.layers[0], path.nodes[0]),
                "effect": path.effect,
                "flips": path.flips,
            }
            for path in paths
        ],
    }


def circuit_of(
    chain: NodeChain,
    masks: Masks,
    importance: Sequence[np.ndarray],
    measures: CircuitMeasures,
    *,
    ablation: str,
    seed: int,
    input_names: Sequence[str] | None,
) -> Circuit:
    """The circuit as its file stores it, edges of the largest importance first."""
    edges = sorted(edges_of(masks), key=lambda edge: -importance[edge[0]][edge[1:]])
    names, layers = chain.layers, dict(zip(chain.layers, chain.widths, strict=True))
    used = {sender for link, sender, _ in edges if link == 0 and chain.inputs}
    return Circuit(
        layers=layers,
        inputs=chain.inputs,
        edges=[Edge(Node(names[link], sender), Node(names[link + 1], receiver)) for link, sender, receiver in edges],
        ablation=ablation,
        seed=seed,
        importance=[float(importance[link][sender, receiver]) for link, sender, receiver in edges],
        measures=asdict(measures),
        input_names={} if input_names is None else {index: input_names[index] for index in sorted(used)},
    )


def _name(chain: NodeChain, input_names: Sequence[str] | None, layer: str, node: int) -> str | None:
    return input_names[node] if input_names is not None and layer == chain.inputs else None


def _defined(value: float) -> float | None:
    return None if np.isnan(value) else value
