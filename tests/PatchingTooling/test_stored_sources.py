"""Stored activations checked against the agent: other kinds of layer, other libraries."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest

import activation_extraction
from Neuron_Selection.errors import InputError, SuiteWarning
from Neuron_Selection.FileFormats.activations import activation_paths, load_activations, save_activations
from Neuron_Selection.PatchingTooling import PatchingExperiment
from tests.made_agents import mlp_agent
from tests.raised import parts, raises


@pytest.fixture
def agent(tmp_path: Path) -> Path:
    folder = mlp_agent(tmp_path / "agent")
    (folder / "activation_inputs").mkdir()
    (folder / "activation_inputs" / "clean_inputs.json").write_text(json.dumps({"a": [1, 2, 3, 4]}))
    assert activation_extraction.main(["--agent_path", str(folder), "--quiet"]) == 0
    return folder


def changed(agent: Path, **metadata: object) -> None:
    """The extracted file again, with some of its metadata changed."""
    npz, readable = activation_paths(agent / "activation_logging", "clean")
    stored = load_activations(npz, {f"q_net.{n}": f"q_net.{n}" for n in range(5)})
    save_activations(npz, readable, stored.ids, stored.values, metadata={**stored.metadata, **metadata})


def patch(agent: Path) -> None:
    PatchingExperiment(agent).run_patching_experiment("clean_inputs.json", "clean_activations.npz", "q_net.1:2")


def test_a_layer_of_another_kind_is_refused(agent: Path) -> None:
    npz, _ = activation_paths(agent / "activation_logging", "clean")
    with np.load(npz) as stored:
        kinds = json.loads(stored["__metadata__"].tobytes())["layer_kinds"]
    assert kinds == {
        "q_net.0": "Linear",
        "q_net.1": "ReLU",
        "q_net.2": "Linear",
        "q_net.3": "ReLU",
        "q_net.4": "Linear",
    }
    patch(agent)
    changed(agent, layer_kinds={**kinds, "q_net.1": "Tanh"})
    with raises(
        InputError, file="clean_activations.npz", field="q_net.1", found="a 'Tanh' layer", expected="a ReLU as here"
    ):
        patch(agent)


def test_the_readable_activations_are_a_source_as_the_npz_is(agent: Path) -> None:
    experiment = PatchingExperiment(agent)
    from_npz, from_readable = (
        experiment.run_patching_experiment("clean_inputs.json", source, "q_net.1:2")["a"]
        for source in ("clean_activations.npz", "clean_activations_readable.json")
    )
    assert {**from_npz, "source": ""} == {**from_readable, "source": ""}


def test_readable_activations_of_another_agent_are_refused_by_the_metadata_of_their_npz(agent: Path) -> None:
    other = mlp_agent(agent.parent / "other", seed=5)
    for folder in ("activation_inputs", "activation_logging"):
        shutil.copytree(agent / folder, other / folder)
    experiment = PatchingExperiment(other)
    found, expected = re.compile("activations of agent .*"), re.compile("this agent, .*")
    error = parts(field="weights_sha256", found=found, expected=expected)
    with raises(InputError, file="clean_activations_readable.json", **error):
        experiment.run_patching_experiment("clean_inputs.json", "clean_activations_readable.json", "q_net.1:2")


def test_activations_of_another_torch_are_taken_with_a_warning(agent: Path) -> None:
    changed(agent, libraries={"torch": "1.0"})
    with pytest.warns(SuiteWarning, match="recorded with torch 1.0, not .*; bits may differ"):
        patch(agent)
