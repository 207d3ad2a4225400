"""Agents with every kind of observation get a page with their sweep: images, Dict and Discrete spaces, actors."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest
from gymnasium import spaces

from Neuron_Selection.AnalysisTooling import analyze
from Neuron_Selection.ExperimentTooling.sweeps import run_sweep
from Neuron_Selection.PatchingTooling import open_agent
from ReportTooling.reports import make_report
from tests.made_agents import new_dqn, save_dqn

SPACES = {
    "image": spaces.Box(0, 255, (3, 36, 36), np.uint8),
    "dict": spaces.Dict(
        {"camera": spaces.Box(0, 255, (1, 36, 36), np.uint8), "speed": spaces.Box(-1, 1, (2,), np.float32)}
    ),
    "discrete": spaces.Discrete(6),
    "vector": spaces.Box(-1, 1, (5,), np.float32),
}


def plain(observation: object) -> object:
    if isinstance(observation, dict):
        return {key: plain(value) for key, value in observation.items()}
    return np.asarray(observation).tolist()


@pytest.mark.parametrize("kind", SPACES)
def test_an_agent_with_this_space_gets_a_page(kind: str, tmp_path: Path) -> None:
    space = SPACES[kind]
    space.seed(4)
    policy = {"image": "CnnPolicy", "dict": "MultiInputPolicy"}.get(kind, "MlpPolicy")
    folder = save_dqn(tmp_path / "agent", new_dqn(space, policy=policy, net_arch=[6]))
    inputs = folder / "activation_inputs"
    inputs.mkdir()
    for name in ("clean", "corrupted"):
        document = {f"{place}": {"input": plain(space.sample())} for place in range(5)}
        (inputs / f"{name}_inputs.json").write_text(json.dumps(document))
    agent = open_agent(folder)
    run_sweep(agent)
    analyze(folder, resamples=9, max_neurons=2)
    html = make_report(agent).path.read_text()
    assert re.findall(r'<section id="(pairs|effects|neurons)"', html) == ["pairs", "effects", "neurons"]
    assert len(re.findall(r"<svg ", html)) >= 4
