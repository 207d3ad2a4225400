"""An agent with inputs, and with the outputs of every script that these tests break."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from tests.faults.made_runs import copied, make_world
from tests.faults.script_runs import words_of, works
from tests.made_agents import mlp_agent

IDS = ["env-v0-81110-6,4,0-0763", "env-v0-81110-6,4,1-0764", "a_b;c:d/e"]
SUMMARY = {
    "common_neurons": {"exp_1_q_net.0": {"patch": {"q_net.0": [0]}}, "q_net.2_neuron_3": {}},
    "common_count": 2,
}


@pytest.fixture(scope="session")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = mlp_agent(tmp_path_factory.mktemp("template") / "agent")
    for place in ("activation_inputs", "patching_results"):
        (folder / place).mkdir()
    random = np.random.default_rng(0)
    for name in ("clean", "corrupted"):
        inputs = {input_id: {"input": random.normal(size=4).round(3).tolist()} for input_id in IDS}
        (folder / "activation_inputs" / f"{name}_inputs.json").write_text(json.dumps(inputs))
    (folder / "patching_results" / "cross_metric_summary.json").write_text(json.dumps(SUMMARY))
    for script in ("E", "P", "G", "W"):
        works(words_of(script, folder, fast=True, quiet=True))
    return folder


@pytest.fixture
def agent(template: Path, tmp_path: Path) -> Path:
    """A copy of its own, with old outputs that a fault must leave as they are."""
    return Path(shutil.copytree(template, tmp_path / "agent"))


@pytest.fixture(scope="session")
def made_world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_world(tmp_path_factory.mktemp("world"))


@pytest.fixture
def world(made_world: Path, tmp_path: Path) -> Path:
    """An agent of its own with visited states, pairs, minimal sets, a circuit, episodes, a report and a comparison."""
    return copied(made_world, tmp_path)
