"""Circuit files: ``circuit.json``, nodes and edges that may explain an agent's decisions.

An edge joins two nodes, ``{"from": "q_net.1:5", "to": "q_net.3:7"}``; the last layer is ``scores``. ``nodes`` is a
patch of the hidden neurons among them, which ``--patches_file`` of activation_patching.py accepts.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from Neuron_Selection.errors import InputError, shown
from Neuron_Selection.FileFormats.provenance import fingerprint_in
from Neuron_Selection.FileFormats.storage.document_checks import Index, checked_document
from Neuron_Selection.FileFormats.storage.json_files import json_bytes, read_edited_json

_HINT = "patch_edges.py makes it"


class Node(NamedTuple):
    """A neuron, an input entry or a score, by its layer's name and index."""

    layer: str
    neuron: int

    def __str__(self) -> str:
        return f"{self.layer}:{self.neuron}"


class Edge(NamedTuple):
    """Two nodes of neighbouring layers."""

    sends: Node
    receives: Node


@dataclass(frozen=True, kw_only=True, slots=True)
class Circuit:
    """A circuit as its file stores it.

    :param layers: every layer of the chain in order, the last ``scores``, to its number of nodes
    :param inputs: the name of the layer that is the agent's input, "" if the chain has none
    :param ablation: what all other edges carry
    :param seed: of an ablation that is drawn
    :param importance: of each edge, its mean |effect| over directions; None if unknown
    :param measures: faithfulness, completeness and minimality, None where undefined
    :param input_names: index of an input entry to what it means
    :param weights_sha256: of the agent; None in a file without metadata
    """

    layers: Mapping[str, int]
    inputs: str
    edges: Sequence[Edge]
    ablation: str
    seed: int
    importance: Sequence[float | None]
    measures: Mapping[str, float | None]
    input_names: Mapping[int, str]
    weights_sha256: str | None = None

    @property
    def nodes(self) -> dict[str, list[int]]:
        """Its hidden neurons, layer to indices: a patch, in the order in which the layers fire."""
        hidden = [name for name in self.layers if name != self.inputs][:-1]
        found: dict[str, set[int]] = {name: set() for name in hidden}
        for node in (node for edge in self.edges for node in edge):
            if node.layer in found:
                found[node.layer].add(node.neuron)
        return {name: sorted(indices) for name, indices in found.items() if indices}


class _Edge(msgspec.Struct, frozen=True, kw_only=True):
    sends: str = msgspec.field(name="from")
    receives: str = msgspec.field(name="to")
    importance: float | None = None


class _Document(msgspec.Struct, frozen=True, kw_only=True):
    layers: dict[str, Index]
    inputs: str
    nodes: dict[str, list[Index]]
    edges: list[_Edge]
    ablation: str
    seed: Index = 0
    faithfulness: float | None = None
    completeness: float | None = None
    minimality: float | None = None
    input_names: dict[str, str] = {}
    metadata: Any = None


def circuit_bytes(circuit: Circuit, *, metadata: Mapping[str, Any]) -> bytes:
    """The bytes of a circuit file."""
    return json_bytes(
        {
            "layers": dict(circuit.layers),
            "inputs": circuit.inputs,
            "nodes": circuit.nodes,
            "edges": [
                {"from": str(edge.sends), "to": str(edge.receives), "importance": value}
                for edge, value in zip(circuit.edges, circuit.importance, strict=True)
            ],
            "ablation": circuit.ablation,
            "seed": circuit.seed,
            **circuit.measures,
            "input_names": {str(index): name for index, name in circuit.input_names.items()},
            "metadata": dict(metadata),
        }
    )


def load_circuit(path: Path) -> Circuit:
    """Load a circuit, with every edge and node checked against the file's own layers.

    :raises InputError: not such a file, an edge that does not join neighbouring layers or is given twice, an index that
        a layer does not have, or ``nodes`` that are not those of the edges
    """
    document = read_edited_json(path, hint=_HINT)
    read = checked_document(document, _Document, path, hint=_HINT)
    names = list(read.layers)
    if len(names) < 2:
        raise InputError(path, "layers", found=f"{len(names)} layers", expected="at least two, the last of them scores")
    edges: dict[Edge, int] = {}
    for number, one in enumerate(read.edges):
        edge = Edge(*(_node(text, read.layers, path, f"edges[{number}]") for text in (one.sends, one.receives)))
        after = names.index(edge.sends.layer) + 1
        if after == len(names) or edge.receives.layer != names[after]:
            expected = f"a node of {names[after]}" if after < len(names) else "no edge out of the last layer"
            raise InputError(path, f"edges[{number}].to", found=shown(one.receives), expected=expected)
        if edge in edges:
            raise InputError(path, f"edges[{number}]", f"is the same edge as edges[{edges[edge]}]")
        edges[edge] = number
    n_inputs = read.layers.get(read.inputs, 0)
    for index in read.input_names:
        if not _is_index(index, n_inputs):
            raise InputError(path, "input_names", found=shown(index), expected="the index of an input")
    circuit = Circuit(
        layers=read.layers,
        inputs=read.inputs,
        edges=list(edges),
        ablation=read.ablation,
        seed=read.seed,
        importance=[one.importance for one in read.edges],
        measures={name: getattr(read, name) for name in ("faithfulness", "completeness", "minimality")},
        input_names={int(index): name for index, name in read.input_names.items()},
        weights_sha256=None if read.metadata is None else fingerprint_in(read.metadata, path),
    )
    if {name: sorted(indices) for name, indices in read.nodes.items()} != circuit.nodes:
        raise InputError(
            path, "nodes", found="other nodes than the edges join", expected="the hidden nodes of the edges"
        )
    return circuit


def _node(text: str, layers: Mapping[str, int], path: Path, field: str) -> Node:
    layer, _, index = text.rpartition(":")
    if layer not in layers or not _is_index(index, layers[layer]):
        raise InputError(path, field, found=shown(text), expected="LAYER:INDEX of one of the file's layers")
    return Node(layer, int(index))


def _is_index(text: str, width: int) -> bool:
    return text.isascii() and text.isdigit() and len(text) < 10 and int(text) < width
