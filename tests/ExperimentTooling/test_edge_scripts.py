"""patch_edges.py and check_circuit.py: their files, the way from one to the next, and their faults."""

from __future__ import annotations

import csv
import itertools
import json
import shlex
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import activation_patching
from Neuron_Selection.errors import InputError, SuiteError, UsageError
from Neuron_Selection.ExperimentTooling import check_circuit as check_script
from Neuron_Selection.ExperimentTooling import patch_edges as edges_script
from Neuron_Selection.ExperimentTooling.circuits import check_circuit
from Neuron_Selection.ExperimentTooling.edges import patch_edges
from Neuron_Selection.FileFormats.inputs import save_inputs
from Neuron_Selection.FileFormats.results.circuit_file import load_circuit
from Neuron_Selection.FileFormats.results.edges_file import EDGE_COLUMNS, EDGE_CURVE_COLUMNS
from Neuron_Selection.PatchingTooling import open_agent
from tests.made_agents import planted_agent

FILES = [
    "circuit.dot",
    "circuit.graphml",
    "circuit.json",
    "edges.csv",
    "edges.json",
    "edges.meta.json",
    "edges_curve.csv",
]
SIDES = [4, 9, 7, 3]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An agent folder with 20 pairs, some of them without contrast."""
    random = np.random.default_rng(3)
    layers = [(random.normal(size=(b, a)), random.normal(size=b)) for a, b in itertools.pairwise(SIDES)]
    folder = planted_agent(tmp_path_factory.mktemp("made") / "agent", layers)
    for name in ("clean", "corrupted"):
        observations = {f"id;{n},0": row for n, row in enumerate(random.normal(size=(20, 4)).astype(np.float32))}
        save_inputs(folder / "activation_inputs" / f"{name}_inputs.json", observations)
    return folder


@pytest.fixture
def agent(made: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(made, tmp_path / "agent"))


def run(agent: Path, *words: str, main: Any = edges_script.main) -> int:
    return int(main(["--agent_path", str(agent), *words]))


def rows_in(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_every_edge_has_a_row_in_each_direction_and_the_circuit_holds_the_strongest(agent: Path, capsys: Any) -> None:
    assert run(agent, "--edges", "12") == 0
    folder = agent / "patching_results"
    assert sorted(path.name for path in folder.iterdir()) == FILES
    rows = rows_in(folder / "edges.csv")
    n_edges = sum(before * after for before, after in itertools.pairwise(SIDES))
    assert tuple(rows[0]) == EDGE_COLUMNS
    assert len(rows) == 2 * n_edges
    circuit, document = load_circuit(folder / "circuit.json"), json.loads((folder / "edges.json").read_text())
    chosen = {(row["from_layer"], row["from_neuron"], row["to_neuron"]) for row in rows if row["in_circuit"] == "true"}
    assert chosen == {(e.sends.layer, str(e.sends.neuron), str(e.receives.neuron)) for e in circuit.edges}
    assert document["circuit"]["edges"] == len(circuit.edges) <= 12
    effects: dict[Any, list[float]] = {}
    for row in rows:
        effects.setdefault(
            (f"{row['from_layer']}:{row['from_neuron']}", f"{row['to_layer']}:{row['to_neuron']}"), []
        ).append(abs(float(row["effect"])))
        assert (row["q"] == "") == (row["changed_inputs"] == "0")
        assert float(row["low"]) <= float(row["effect"]) + 1e-9
        assert float(row["effect"]) <= float(row["high"]) + 1e-9 or row["changed_inputs"] == "1"
    assert list(circuit.importance) == sorted(circuit.importance, key=lambda value: -(value or 0))
    for edge, importance in zip(circuit.edges, circuit.importance, strict=True):
        assert importance == pytest.approx(np.mean(effects[str(edge.sends), str(edge.receives)]))
    curve = rows_in(folder / "edges_curve.csv")
    assert tuple(curve[0]) == EDGE_CURVE_COLUMNS
    assert {row["ranking"] for row in curve} == {"importance", "random"}
    assert float(curve[-1]["faithfulness"]) == pytest.approx(1.0)
    printed = capsys.readouterr()
    assert document["contrast_pairs"] < document["pairs_given"] == 20
    assert f"{document['contrast_pairs']} of 20 pairs with contrast" in printed.out
    assert all(str(folder / name) in printed.out for name in FILES if "meta" not in name)


def test_the_next_commands_lead_from_edges_to_the_check_to_a_patch_of_the_neurons(agent: Path, capsys: Any) -> None:
    assert run(agent, "--output_prefix", "mine") == 0
    for module in (check_script, activation_patching):
        (line,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("next: ")]
        program, script, *words = shlex.split(line.removeprefix("next: "))
        assert (program, Path(script).stem) == ("python", Path(module.__file__).stem)
        assert module.main(words) == 0
    nodes = load_circuit(agent / "patching_results" / "mine_circuit.json").nodes
    results = json.loads((agent / "patching_results" / "mine_circuit_check_neurons_denoising.meta.json").read_text())
    assert results["run"]["patches"] == [nodes]


def test_a_run_is_up_to_date_until_something_changes(agent: Path, capsys: Any) -> None:
    for script, words, changed in (
        (edges_script.main, [], ["--edges", "5"]),
        (check_script.main, [], ["--seed", "1"]),
    ):
        assert run(agent, *words, main=script) == 0
        before = {path: path.read_bytes() for path in (agent / "patching_results").iterdir()}
        capsys.readouterr()
        assert run(agent, *words, main=script) == 0
        assert "up to date" in capsys.readouterr().err
        assert run(agent, *changed, main=script) == 2
        assert {path: path.read_bytes() for path in (agent / "patching_results").iterdir()} == before
        assert run(agent, *changed, "--overwrite", main=script) == 0
        assert run(agent, *words, "--overwrite", main=script) == 0
        assert {path: path.read_bytes() for path in (agent / "patching_results").iterdir()} == before


def test_the_check_of_the_circuit_finds_the_measures_of_its_file(agent: Path, capsys: Any) -> None:
    assert run(agent, "--edges", "20", "--ablate", "mean", "--quiet") == 0
    capsys.readouterr()
    assert run(agent, "--quiet", "--json", main=check_script.main) == 0
    printed = json.loads(capsys.readouterr().out)
    circuit = load_circuit(agent / "patching_results" / "circuit.json")
    assert printed["measures"] == circuit.measures
    assert printed["circuit"]["ablation"] == "mean"
    assert set(printed["tests"]) == {"equivalence", "independence", "sufficiency", "partial_necessity", "minimality"}
    assert len(printed["tests"]["minimality"]["edges"]) == len(circuit.edges)


def test_edges_of_one_direction_and_of_some_pairs(made: Path, tmp_path: Path) -> None:
    agent = open_agent(made)
    ids = agent.inputs("clean_inputs.json").ids[:15]
    found = patch_edges(agent, direction="noising", input_ids=ids, paths=3, random_orders=0, output_dir=str(tmp_path))
    assert list(found.document["directions"]) == ["noising"]
    assert len(found.document["directions"]["noising"]["paths"]) == 3
    assert [curve["ranking"] for curve in found.document["curves"]] == ["importance"]
    assert found.document["pairs_given"] == 15


BAD_CALLS: dict[str, dict[str, Any]] = {
    "both choices": {"edges": 3, "threshold": 0.1},
    "a threshold of 0": {"threshold": 0.0},
    "an ablation": {"ablate": "median"},
    "reference inputs without use": {"reference_inputs": "clean_inputs.json"},
    "a prefix": {"output_prefix": "a/b"},
}


@pytest.mark.parametrize("fault", BAD_CALLS)
def test_arguments_that_cannot_be_used_write_nothing(fault: str, made: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError):
        patch_edges(open_agent(made), **BAD_CALLS[fault], output_dir=str(tmp_path / "out"))
    assert not (tmp_path / "out").exists()


def other_layers(document: dict[str, Any]) -> None:
    document["layers"]["q_net.1"] = 10


def other_agent(document: dict[str, Any]) -> None:
    document["metadata"]["run"]["weights_sha256"] = "0" * 64


BAD_CIRCUITS: dict[str, tuple[Callable[[dict[str, Any]], None], str]] = {
    "other layers": (other_layers, "layers"),
    "another agent": (other_agent, "metadata.run.weights_sha256"),
}


@pytest.mark.parametrize("fault", BAD_CIRCUITS)
def test_a_circuit_of_something_else_is_refused(fault: str, agent: Path) -> None:
    change, field = BAD_CIRCUITS[fault]
    opened = open_agent(agent)
    path = patch_edges(opened, edges=5, paths=0, random_orders=0).paths["circuit"]
    document = json.loads(path.read_text())
    change(document)
    path.write_text(json.dumps(document))
    with pytest.raises(InputError) as raised:
        check_circuit(opened)
    assert (raised.value.field, raised.value.exit_code) == (field, 2)
    if field != "layers":
        assert check_circuit(opened, allow_mismatch=True).document["circuit"]["edges"] > 0


def test_a_missing_circuit_names_the_script_that_makes_it(made: Path) -> None:
    with pytest.raises(InputError) as raised:
        check_circuit(open_agent(made), circuit="none.json")
    assert raised.value.hint == "patch_edges.py makes it"


def test_one_pair_has_effects_without_intervals(made: Path, tmp_path: Path) -> None:
    agent = open_agent(made)
    for input_id in agent.inputs("clean_inputs.json").ids:
        try:
            found = patch_edges(agent, input_ids=[input_id], output_dir=str(tmp_path), overwrite=True)
        except SuiteError:  # without contrast
            continue
        strongest = found.document["directions"]["denoising"]["strongest"][0]
        assert (strongest["low"], strongest["q"]) == (None, 1.0)
        return
    raise AssertionError("no pair has contrast")


@pytest.mark.parametrize(("layer", "neurons"), [("q_net.1", [0, 4, 5]), ("q_net.0", [2]), ("q_net.2", [1, 2, 6])])
def test_a_patch_of_one_layer_is_a_circuit_whose_faithfulness_is_its_margin_recovery(
    layer: str, neurons: list[int], agent: Path, capsys: Any
) -> None:
    """Before or after the activation function: the neurons are the same."""
    spec = f"{layer}:{','.join(map(str, neurons))}"
    assert run(agent, "--patch_spec", spec, "--quiet", "--json", main=check_script.main) == 0
    printed = json.loads(capsys.readouterr().out)
    opened = open_agent(agent)
    network, runs = opened.network, [opened.inputs(f"{run}_inputs.json").observations for run in ("corrupted", "clean")]
    mixed, source = (network.activations(run, [layer])[layer] for run in runs)
    mixed = mixed.copy()
    mixed[:, neurons] = source[:, neurons]
    before, whole = map(network.scores, runs)
    behind, ahead, rows = before.argmax(axis=1), whole.argmax(axis=1), np.arange(len(before))
    margins = [
        (scores[rows, ahead] - scores[rows, behind]).sum()
        for scores in (before, network.run_on(layer, mixed, runs[0]), whole)
    ]
    assert printed["measures"]["faithfulness"] == pytest.approx((margins[1] - margins[0]) / (margins[2] - margins[0]))
    assert (printed["circuit"]["file"], list(printed["circuit"]["nodes"].values())) == (None, [neurons])
    assert activation_patching.main(shlex.split(printed["next"])[2:]) == 0


def test_a_definitions_file_with_one_patch_is_a_circuit_and_so_are_the_neurons_of_a_circuit_file(agent: Path) -> None:
    opened = open_agent(agent)
    patch = {"q_net.1": [1, 2], "q_net.3": [0]}
    (agent / "patches.json").write_text(json.dumps([patch]))
    checked = check_circuit(opened, patches_file="patches.json")
    assert (
        checked.document["circuit"] | {"nodes": patch, "edges": 4 * 2 + 2 + 3, "neurons": 3}
        == (checked.document["circuit"])
    )
    assert check_circuit(opened, patch_spec=patch, output_prefix="again").document["tests"] == checked.document["tests"]
    edges = patch_edges(opened, edges=8, paths=0, random_orders=0)
    of_neurons = check_circuit(opened, patches_file=str(edges.paths["circuit"]), output_prefix="neurons").document
    nodes = load_circuit(edges.paths["circuit"]).nodes
    assert of_neurons["circuit"]["nodes"] == nodes
    assert of_neurons["circuit"]["edges"] == 4 * len(nodes["q_net.1"]) + len(nodes["q_net.3"]) * (
        len(nodes["q_net.1"]) + 3
    )
    (agent / "patches.json").write_text(json.dumps([patch, patch]))
    with pytest.raises(InputError) as raised:
        check_circuit(opened, patches_file="patches.json")
    assert (raised.value.found, raised.value.hint) == ("2 patches", "--patch_spec names one")


BAD_NEURONS: dict[str, dict[str, Any]] = {
    "two circuits": {"circuit": "circuit.json", "patch_spec": "q_net.1:0"},
    "an unknown neuron": {"patch_spec": "q_net.1:9"},
    "the scores": {"patch_spec": "q_net.4:0"},
}


@pytest.mark.parametrize("fault", BAD_NEURONS)
def test_neurons_that_are_no_circuit_are_refused(fault: str, made: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError):
        check_circuit(open_agent(made), **BAD_NEURONS[fault], output_dir=str(tmp_path / "out"))
    assert not (tmp_path / "out").exists()
