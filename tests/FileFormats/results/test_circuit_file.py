"""circuit.json: a round trip, every field wrong once, its graphs, and its use as a patch."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest

from Neuron_Selection.errors import InputError
from Neuron_Selection.FileFormats.definitions import load_definitions
from Neuron_Selection.FileFormats.results.circuit_file import Circuit, Edge, Node, circuit_bytes, load_circuit
from Neuron_Selection.FileFormats.results.circuit_graphs import dot_bytes, graphml_bytes

CIRCUIT = Circuit(
    layers={"flatten": 4, "q_net.1": 3, "q_net.3": 3, "scores": 2},
    inputs="flatten",
    edges=[
        Edge(Node("flatten", 3), Node("q_net.1", 2)),
        Edge(Node("q_net.1", 2), Node("q_net.3", 0)),
        Edge(Node("q_net.3", 0), Node("scores", 1)),
        Edge(Node("q_net.1", 0), Node("q_net.3", 0)),
    ],
    ablation="mean",
    seed=3,
    importance=[0.5, 0.25, None, 0.0],
    measures={"faithfulness": 0.75, "completeness": None, "minimality": 0.0},
    input_names={3: 'row 0, "lava" & <goal>'},
    weights_sha256="ab",
)
NODES = {"q_net.1": [0, 2], "q_net.3": [0]}


def saved(path: Path, change: Any = lambda _: None) -> Path:
    document = json.loads(circuit_bytes(CIRCUIT, metadata={"run": {"weights_sha256": "ab"}}))
    change(document)
    path.write_text(json.dumps(document))
    return path


def test_a_circuit_is_read_as_it_was_written_and_its_hidden_nodes_are_a_patch(tmp_path: Path) -> None:
    path = saved(tmp_path / "circuit.json")
    assert load_circuit(path) == CIRCUIT
    assert CIRCUIT.nodes == NODES
    assert load_definitions(path) == [NODES]


def test_without_metadata_and_measures_it_is_a_circuit_too(tmp_path: Path) -> None:
    def less(document: dict[str, Any]) -> None:
        for key in ("metadata", "faithfulness", "seed", "input_names"):
            del document[key]
        for edge in document["edges"]:
            del edge["importance"]

    found = load_circuit(saved(tmp_path / "circuit.json", less))
    assert (found.edges, found.weights_sha256, found.importance) == (CIRCUIT.edges, None, [None] * 4)


WRONG: dict[str, tuple[Any, str, str]] = {
    "layers": (lambda d: d.update(layers={"scores": 2}), "layers", "1 layers"),
    "a width": (lambda d: d["layers"].update(flatten="4"), "layers[...]", "text"),
    "a layer": (lambda d: d["edges"][0].update({"from": "q_net.7:0"}), "edges[0]", "'q_net.7:0'"),
    "a neuron": (lambda d: d["edges"][0].update({"to": "q_net.1:3"}), "edges[0]", "'q_net.1:3'"),
    "no neuron": (lambda d: d["edges"][0].update({"to": "q_net.1"}), "edges[0]", "'q_net.1'"),
    "a layer left out": (lambda d: d["edges"][0].update({"to": "q_net.3:0"}), "edges[0].to", "'q_net.3:0'"),
    "backwards": (lambda d: d["edges"][2].update({"from": "scores:1"}), "edges[2].to", "'scores:1'"),
    "no number": (lambda d: d["edges"][0].update(importance="x"), "edges[0].importance", "'x'"),
    "twice": (lambda d: d["edges"].append(copy.deepcopy(d["edges"][1])), "edges[4]", ""),
    "other nodes": (lambda d: d["nodes"].update({"q_net.1": [1]}), "nodes", "other nodes than the edges join"),
    "no edges": (lambda d: d.pop("edges"), "edges", ""),
    "no ablation": (lambda d: d.update(ablation=None), "ablation", "null"),
    "metadata": (lambda d: d.update(metadata={"run": 3}), "metadata.run", "3"),
}


@pytest.mark.parametrize("fault", WRONG)
def test_a_wrong_field_is_named(fault: str, tmp_path: Path) -> None:
    change, field, found = WRONG[fault]
    with pytest.raises(InputError) as raised:
        load_circuit(saved(tmp_path / "circuit.json", change))
    assert (raised.value.field, raised.value.found) == (field, found)


def test_nodes_that_are_no_patch_are_refused_as_one(tmp_path: Path) -> None:
    path = saved(tmp_path / "circuit.json", lambda document: document.update(nodes={"q_net.1": [-1]}))
    with pytest.raises(InputError) as raised:
        load_definitions(path)
    assert raised.value.field.startswith("nodes")


def test_the_graphs_hold_every_node_and_edge(tmp_path: Path) -> None:
    root, space = ET.fromstring(graphml_bytes(CIRCUIT)), "{http://graphml.graphdrawing.org/xmlns}"
    nodes = {node.get("id"): node for node in root.iter(f"{space}node")}
    assert set(nodes) == {"flatten:3", "q_net.1:0", "q_net.1:2", "q_net.3:0", "scores:1"}
    assert [data.text for data in nodes["flatten:3"]] == ["flatten", "3", 'row 0, "lava" & <goal>']
    edges = [(edge.get("source"), edge.get("target"), [one.text for one in edge]) for edge in root.iter(f"{space}edge")]
    assert edges[0] == ("flatten:3", "q_net.1:2", ["0.5"])
    assert edges[2] == ("q_net.3:0", "scores:1", [])
    dot = dot_bytes(CIRCUIT).decode()
    assert dot.count(" -> ") == 4
    assert '"flatten:3" [label="row 0, \\"lava\\" & <goal>"]' in dot
    assert '"flatten:3" -> "q_net.1:2" [penwidth=5]' in dot
