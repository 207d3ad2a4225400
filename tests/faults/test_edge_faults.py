"""patch_edges.py and check_circuit.py: damaged circuits, networks and pairs without edges, outputs of other runs."""

from __future__ import annotations

import errno
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from gymnasium import spaces

from tests.conftest import ROOT
from tests.faults.script_runs import NO_TORCH, error_line, no_temporary_files, refused, run, works
from tests.made_actors import PARTS, samples
from tests.made_agents import new_dqn, save_dqn

EDGES, CHECK = "patch_edges.py", "check_circuit.py"
by_script = pytest.mark.parametrize("script", [EDGES, CHECK])
QUICK = {
    EDGES: ["--edges", "6", "--paths", "2", "--resamples", "9", "--random_orders", "1", "--subsets", "1"],
    CHECK: ["--subsets", "1", "--random_circuits", "9", "--permutations", "9"],
}


def words_of(script: str, agent: Path, *more: str) -> list[str]:
    path = ROOT / "Neuron_Selection" / "ExperimentTooling" / script
    return [str(path), "--agent_path", str(agent), *QUICK[script], *more]


@pytest.fixture(scope="module")
def with_circuit(template: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = Path(shutil.copytree(template, tmp_path_factory.mktemp("circuit") / "agent"))
    works(words_of(EDGES, folder), orders=NO_TORCH)
    return folder


@pytest.fixture
def checked(with_circuit: Path, tmp_path: Path) -> Path:
    """An agent folder with the outputs of patch_edges.py."""
    return Path(shutil.copytree(with_circuit, tmp_path / "agent"))


Document = dict[str, Any]


def setting(key: str, value: Any) -> Callable[[Document], object]:
    return lambda document: document.update({key: value})


def of_first_edge(key: str, value: Any) -> Callable[[Document], object]:
    return lambda document: document["edges"][0].update({key: value})


def without(key: str) -> Callable[[Document], object]:
    return lambda document: document.pop(key)


def another_agents(document: Document) -> None:
    document["metadata"]["run"]["weights_sha256"] = "0" * 64


# name: (what is wrong in the document, words of the error line)
BAD_CIRCUITS: dict[str, tuple[Callable[[Document], object], str]] = {
    "layers missing": (without("layers"), "circuit.json: layers: is missing"),
    "layers no object": (setting("layers", "q_net.1"), "layers: found 'q_net.1', expected an object"),
    "layers of another network": (lambda one: one["layers"].update({"q_net.1": 9}), "layers: found "),
    "layers too few": (lambda one: one.update(layers={"scores": 3}, edges=[], nodes={}), "expected at least two"),
    "a width below 0": (lambda one: one["layers"].update({"q_net.1": -1}), "layers[...]: found another value"),
    "inputs no name": (setting("inputs", 1), "inputs: found 1, expected text"),
    "nodes missing": (without("nodes"), "nodes: is missing"),
    "nodes of other edges": (setting("nodes", {"q_net.1": [0]}), "nodes: found other nodes than the edges join"),
    "edges no list": (setting("edges", {}), "edges: found an object, expected a list"),
    "edges missing": (without("edges"), "edges: is missing"),
    "an edge without end": (lambda one: one["edges"][0].pop("to"), "edges[0].to: is missing"),
    "an unknown layer": (of_first_edge("from", "q_net.9:0"), "edges[0]: found 'q_net.9:0', expected LAYER:INDEX"),
    "an unknown neuron": (of_first_edge("to", "q_net.1:999"), "edges[0]: found 'q_net.1:999', expected LAYER:INDEX"),
    "an index that is no number": (of_first_edge("to", "q_net.1:x"), "edges[0]: found 'q_net.1:x'"),
    "an edge over a layer": (
        lambda one: one["edges"][0].update({"from": "q_net.1:0", "to": "scores:0"}),
        "edges[0].to: found 'scores:0', expected a node of q_net.3",
    ),
    "an edge out of the scores": (
        lambda one: one["edges"][0].update({"from": "scores:0", "to": "scores:0"}),
        "expected no edge out of the last layer",
    ),
    "an edge twice": (lambda one: one["edges"].append(one["edges"][0]), "is the same edge as edges[0]"),
    "an importance that is text": (of_first_edge("importance", "much"), "edges[0].importance: found 'much'"),
    "an unknown ablation": (
        setting("ablation", "median"),
        "circuit.json: ablation: found 'median', expected corrupted, zero",
    ),
    "an ablation that is no text": (setting("ablation", None), "ablation: found null, expected text"),
    "a seed below 0": (setting("seed", -1), "seed: found -1, expected a whole number, at least 0"),
    "faithfulness that is text": (
        setting("faithfulness", "1"),
        "faithfulness: found '1', expected a finite number or null",
    ),
    "completeness that is text": (
        setting("completeness", "1"),
        "completeness: found '1', expected a finite number or null",
    ),
    "minimality that is text": (setting("minimality", "1"), "minimality: found '1', expected a finite number or null"),
    "input names no object": (setting("input_names", ["a"]), "input_names: found a list, expected an object"),
    "a name of no input": (
        setting("input_names", {"4": "a"}),
        "input_names: found '4', expected the index of an input",
    ),
    "metadata of another agent": (another_agents, "metadata.run.weights_sha256: found a circuit of agent"),
}


@pytest.mark.parametrize("fault", BAD_CIRCUITS)
def test_a_damaged_circuit_is_refused_with_its_field(fault: str, checked: Path) -> None:
    spoil, says = BAD_CIRCUITS[fault]
    path = checked / "patching_results" / "circuit.json"
    document = json.loads(path.read_text())
    spoil(document)
    path.write_text(json.dumps(document))
    refused(words_of(CHECK, checked), 2, says, checked, orders=NO_TORCH)


BAD_FILES: dict[str, tuple[str, str]] = {
    "no JSON": ("{", "circuit.json: line 1, column 2: found invalid JSON"),
    "a list": ("[]", "circuit.json: found a list, expected an object"),
    "a number of more than float": ('{"seed": 1e999}', "circuit.json: "),
    "one key twice": ('{"seed": 1, "seed": 2}', "circuit.json: "),
}


@pytest.mark.parametrize("fault", BAD_FILES)
def test_a_file_that_is_no_circuit_is_refused(fault: str, checked: Path) -> None:
    content, says = BAD_FILES[fault]
    (checked / "patching_results" / "circuit.json").write_text(content)
    refused(words_of(CHECK, checked), 2, says, checked, orders=NO_TORCH)


def test_without_a_circuit_the_script_that_makes_it_is_named(agent: Path) -> None:
    refused(words_of(CHECK, agent), 2, "patch_edges.py makes it", agent, orders=NO_TORCH)


@by_script
def test_pairs_without_contrast_have_no_edges(script: str, checked: Path) -> None:
    inputs = checked / "activation_inputs"
    shutil.copyfile(inputs / "clean_inputs.json", inputs / "corrupted_inputs.json")
    refused(words_of(script, checked, "--overwrite"), 2, "none of the 3 pairs has contrast", checked, orders=NO_TORCH)


BAD_WORDS: dict[str, tuple[str, list[str], str]] = {
    "an unknown layer": (CHECK, ["--patch_spec", "q_net.9:0"], "q_net.9"),
    "a layer of no chain": (CHECK, ["--patch_spec", "q_net.4:0"], "expected a layer of q_net.1, q_net.3"),
    "two circuits": (CHECK, ["--patch_spec", "q_net.1:0", "--circuit", "circuit.json"], "not allowed with argument"),
    "no patches": (CHECK, ["--patches_file", "no.json"], "no.json: no such file"),
    "an ablation": (CHECK, ["--ablate", "median"], "median"),
    "both choices": (EDGES, ["--threshold", "0.1"], "--edges and --threshold cannot be used together"),
    "reference inputs without use": (EDGES, ["--reference_inputs", "clean_inputs.json"], "--reference_inputs"),
    "an unknown id": (EDGES, ["--input_ids", "x"], "x"),
    "a prefix that is a path": (EDGES, ["--output_prefix", "a/b"], "a/b"),
}


@pytest.mark.parametrize("fault", BAD_WORDS)
def test_words_that_cannot_be_used_are_refused(fault: str, checked: Path) -> None:
    script, words, says = BAD_WORDS[fault]
    refused(words_of(script, checked, *words), 2, says, checked, orders=NO_TORCH)


@by_script
def test_the_output_of_a_different_run_is_kept(script: str, checked: Path) -> None:
    works(words_of(script, checked), orders=NO_TORCH)
    changed = words_of(script, checked, "--seed", "7")
    refused(changed, 2, "--overwrite", checked, orders=NO_TORCH)
    works([*changed, "--overwrite"], orders=NO_TORCH)


NO_CHAINS: dict[str, tuple[spaces.Dict, str]] = {
    "branches": (
        spaces.Dict({"image": spaces.Box(0, 255, (1, 36, 36), "uint8"), "state": spaces.Discrete(3)}),
        "so that the network is not a chain of layers",
    ),
    "no hidden layer": (PARTS, "the network has no hidden layer, and its inputs are not one list or image"),
}


@pytest.mark.parametrize("fault", NO_CHAINS)
def test_a_network_that_is_no_chain_of_layers_has_no_edges(fault: str, tmp_path: Path) -> None:
    space, says = NO_CHAINS[fault]
    folder = save_dqn(tmp_path / "agent", new_dqn(space, policy="MultiInputPolicy", net_arch=[]))
    (folder / "activation_inputs").mkdir()
    for seed, name in enumerate(("clean", "corrupted")):
        inputs = {
            input_id: {"input": {key: np.asarray(part).tolist() for key, part in one.items()}}
            for input_id, one in samples(space, 2, seed).items()
        }
        (folder / "activation_inputs" / f"{name}_inputs.json").write_text(json.dumps(inputs))
    refused(words_of(EDGES, folder), 2, says, folder)


DISK = {"full": ("write", errno.ENOSPC), "rename": ("replace", errno.EACCES)}


@by_script
@pytest.mark.parametrize("fault", DISK)
def test_a_disk_that_fails_at_any_moment_leaves_whole_files(fault: str, script: str, checked: Path) -> None:
    call, number = DISK[fault]
    words = words_of(script, checked, "--seed", "5", "--overwrite")
    for moment in range(1, 20):
        reported = run(words, orders={"call": call, "number": moment, "errno": number, **NO_TORCH})
        assert no_temporary_files(checked)
        for path in (checked / "patching_results").glob("*.json"):
            json.loads(path.read_text())
        if reported.returncode == 0:
            break
        error_line(reported, 4)
    assert reported.returncode == 0
    assert moment > 1
