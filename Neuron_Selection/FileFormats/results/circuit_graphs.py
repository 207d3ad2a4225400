"""Circuits as graphs: DOT for Graphviz, GraphML for Gephi, yEd or networkx."""

from __future__ import annotations

import json
from xml.etree import ElementTree as ET

from Neuron_Selection.FileFormats.results.circuit_file import Circuit, Node

_GRAPHML = "http://graphml.graphdrawing.org/xmlns"
_KEYS = {
    "layer": ("node", "string"),
    "neuron": ("node", "int"),
    "label": ("node", "string"),
    "importance": ("edge", "double"),
}


def dot_bytes(circuit: Circuit) -> bytes:
    """A directed graph from left to right, one column a layer, edges as thick as they are important."""
    lines = ["digraph circuit {", "  rankdir=LR;", "  node [shape=box];"]
    for layer in circuit.layers:
        names = "; ".join(
            f"{_quoted(str(node))} [label={_quoted(_label(circuit, node))}]"
            for node in _nodes(circuit)
            if node.layer == layer
        )
        lines += [f"  {{ rank=same; {names}; }}"] if names else []
    largest = max((value for value in circuit.importance if value is not None), default=0.0) or 1.0
    for edge, importance in zip(circuit.edges, circuit.importance, strict=True):
        width = f"{0.5 + 4.5 * (importance or 0.0) / largest:.3g}"
        lines.append(f"  {_quoted(str(edge.sends))} -> {_quoted(str(edge.receives))} [penwidth={width}];")
    return "\n".join([*lines, "}", ""]).encode()


def graphml_bytes(circuit: Circuit) -> bytes:
    """The same graph with every attribute."""
    root = ET.Element("graphml", xmlns=_GRAPHML)
    for name, (of, kind) in _KEYS.items():
        ET.SubElement(root, "key", {"id": name, "for": of, "attr.name": name, "attr.type": kind})
    graph = ET.SubElement(root, "graph", id="circuit", edgedefault="directed")
    for node in _nodes(circuit):
        element = ET.SubElement(graph, "node", id=str(node))
        for key, text in (("layer", node.layer), ("neuron", str(node.neuron)), ("label", _label(circuit, node))):
            ET.SubElement(element, "data", key=key).text = text
    for edge, value in zip(circuit.edges, circuit.importance, strict=True):
        element = ET.SubElement(graph, "edge", source=str(edge.sends), target=str(edge.receives))
        if value is not None:
            ET.SubElement(element, "data", key="importance").text = repr(value)
    ET.indent(root)
    document: bytes = ET.tostring(root, encoding="utf-8", xml_declaration=True)
    return document + b"\n"


def _nodes(circuit: Circuit) -> list[Node]:
    """Every node of the edges once, layer by layer."""
    order = list(circuit.layers)
    return sorted(
        {node for edge in circuit.edges for node in edge}, key=lambda node: (order.index(node.layer), node.neuron)
    )


def _label(circuit: Circuit, node: Node) -> str:
    name = circuit.input_names.get(node.neuron) if node.layer == circuit.inputs else None
    return str(node) if name is None else name


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)
