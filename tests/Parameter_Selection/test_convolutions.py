"""Channels of convolutions through all steps: sweep, analysis, candidate weights, perturbation, edited agent."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from gymnasium import spaces
from stable_baselines3 import DQN

from Neuron_Selection.AnalysisTooling import analyze_metrics
from Neuron_Selection.errors import InputError
from Neuron_Selection.ExperimentTooling import run_experiments
from Neuron_Selection.FileFormats.weights.candidate_weights import load_candidate_weights
from Neuron_Selection.FileFormats.weights.perturbation_results import load_perturbation_results
from Parameter_Selection.PerturbationTooling import perturb_weights, write_agent
from SaliencyTooling import initial_test
from tests.extractors import MinigridFeaturesExtractor
from tests.made_agents import new_dqn, save_dqn
from tests.raised import reports

TRUST = ["--trust", "tests.extractors.MinigridFeaturesExtractor"]
CASES: dict[str, tuple[int, dict[str, Any], list[str]]] = {
    "NatureCNN": (36, {"features_extractor_kwargs": {"features_dim": 8}}, []),
    "custom": (7, {"features_extractor_class": MinigridFeaturesExtractor}, TRUST),
}
FIRST, SECOND = "features_extractor.cnn.0", "features_extractor.cnn.2"


@pytest.fixture(params=CASES)
def agent(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[Path, list[str]]:
    side, more, trust = CASES[request.param]
    image = spaces.Box(0, 255, (3, side, side), np.uint8)
    folder = save_dqn(tmp_path / "agent", new_dqn(image, policy="CnnPolicy", net_arch=[5], **more))
    (folder / "activation_inputs").mkdir()
    random = np.random.default_rng(0)
    for name in ("clean", "corrupted"):
        rows = {f"id-{n}": {"input": random.integers(0, 256, (3, side, side)).tolist()} for n in range(6)}
        (folder / "activation_inputs" / f"{name}_inputs.json").write_text(json.dumps(rows))
    patches = [{layer: [channel]} for layer in (FIRST, SECOND) for channel in range(3)]
    (folder / "channels.json").write_text(json.dumps(patches))
    return folder, ["--agent_path", str(folder), "--quiet", *trust]


def test_candidates_in_convolutions_go_all_the_way_into_an_agent(agent: tuple[Path, list[str]], tmp_path: Path) -> None:
    folder, flags = agent
    assert run_experiments.main([*flags, "--definitions", "channels.json"]) == 0
    assert analyze_metrics.main(["--agent_path", str(folder), "--quiet"]) == 0
    assert initial_test.main([*flags, "--k", "2", "--m", "1"]) == 0
    path = folder / "gradient_analysis" / "candidate_weights.json"
    document = load_candidate_weights(path)
    averages = json.loads(path.with_name("average_gradients.json").read_text())["average_gradients"]
    assert {entry["layer_name"] for entry in document["neuron_weights"].values()} <= {
        f"{FIRST}.weight",
        f"{SECOND}.weight",
    }
    for entry in document["neuron_weights"].values():
        row = np.array(averages[entry["layer_name"]][entry["neuron_index"]])
        assert row.ndim == 3
        assert entry["weights"] == row.ravel().tolist()
    for target in document["weight_targets"]:
        row = np.array(averages[target["layer_name"]][target["neuron_index"]])
        assert target["gradient_magnitude"] == row.ravel()[target["weight_index"]]
    assert perturb_weights.main([*flags, "--values", "0", "--control_sets", "2"]) == 0
    results = load_perturbation_results(folder / "perturbation_results" / "results.json")["results"]
    assert any(record["q_change_max"] > 0 for record in results)
    output = tmp_path / "edited.zip"
    words = ["--candidates", "candidate_weights.json", "--value", "0", "--output", str(output)]
    assert write_agent.main([*flags, *words]) == 0
    before, after = (DQN.load(zip_path).q_net.state_dict() for zip_path in (folder / "agent.zip", output))
    changed = {
        (name, int(row), int(column))
        for name in before
        for row, column in zip(
            *np.nonzero((before[name] != after[name]).numpy().reshape(len(before[name]), -1)), strict=True
        )
    }
    assert changed == {(t["layer_name"], t["neuron_index"], t["weight_index"]) for t in document["weight_targets"]}
    assert all(after[name].numpy().reshape(len(after[name]), -1)[row, column] == 0 for name, row, column in changed)


def test_rows_that_were_written_nested_are_read_too_and_checked_against_the_agent(
    agent: tuple[Path, list[str]],
) -> None:
    folder, flags = agent
    (folder / "gradient_analysis").mkdir()
    path = folder / "gradient_analysis" / "candidate_weights.json"
    side = 8 if "--trust" not in flags else 2
    target = {"layer_name": f"{FIRST}.weight", "neuron_index": 1, "weight_index": 3 * side * side - 1}

    def run(count: int) -> int:
        entry = {"layer_name": f"{FIRST}.weight", "neuron_index": 1, "weights": np.ones((3, side, count)).tolist()}
        path.write_text(json.dumps({"weight_targets": [target], "neuron_weights": {"x": entry}}))
        return perturb_weights.main([*flags, "--values", "0", "--control_sets", "0", "--overwrite"])

    assert run(side) == 0
    found, expected = f"{3 * side * (side + 1)} numbers", f"{3 * side * side}, as in this agent"
    with reports(InputError, file=path, field="neuron_weights.x.weights", found=found, expected=expected):
        assert run(side + 1) == 2
