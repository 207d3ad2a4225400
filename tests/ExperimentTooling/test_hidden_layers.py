"""Every hidden neuron: each hidden layer with a weight matrix is swept, and all other layers are named."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from gymnasium import spaces

from Neuron_Selection.AnalysisTooling import analyze_metrics
from Neuron_Selection.ExperimentTooling import find_minimal_sets, generate_definitions, run_experiments
from Neuron_Selection.ExperimentTooling.hidden_layers import hidden_activations, hidden_layers, layers_left_out
from Neuron_Selection.ExperimentTooling.sweeps.plan import plan_sweep
from Neuron_Selection.ExperimentTooling.sweeps.sweep import write_sweep
from Neuron_Selection.FileFormats.results.sweep import opened_sweep
from Neuron_Selection.PatchingTooling import OpenedAgent, open_agent
from Parameter_Selection.PerturbationTooling import perturb_weights
from SaliencyTooling import initial_test
from tests.ExperimentTooling import user_extractors
from tests.extractors import DuellingPolicy, MinigridFeaturesExtractor
from tests.interventions import patched
from tests.made_agents import BlankEnv, mlp_agent, new_dqn, save_dqn, vector_space

TRUSTED = "tests.ExperimentTooling.user_extractors."
IMAGES = spaces.Box(-1, 1, (2, 6, 6), np.float32)


def agent_with(folder: Path, extractor: str, *, n_pairs: int = 12) -> tuple[Path, list[str]]:
    """An agent folder with pairs, most of them of contrast, and the flag that lets its extractor in."""
    space = IMAGES if extractor == "FunctionalCnn" else vector_space(4)
    model = new_dqn(
        space, n_actions=3, net_arch=[9], features_extractor_class=getattr(user_extractors, extractor),
        **({"normalize_images": False} if space is IMAGES else {}),
    )  # fmt: skip
    high = 1 if space is IMAGES else 9
    runs = np.random.default_rng(0).uniform(-high, high, (2, n_pairs, *space.shape)).round(3).astype(np.float32)
    q_net = model.policy.q_net.eval()
    with torch.no_grad():
        q_net.q_net[-1].bias -= q_net(torch.from_numpy(np.concatenate(runs))).mean(dim=0)  # or all act alike
    save_dqn(folder, model)
    (folder / "activation_inputs").mkdir()
    for name, rows in zip(("clean", "corrupted"), runs.tolist(), strict=True):
        document = {str(number): {"input": row} for number, row in enumerate(rows)}
        (folder / "activation_inputs" / f"{name}_inputs.json").write_text(json.dumps(document))
    return folder, ["--agent_path", str(folder), "--trust", TRUSTED + extractor]


def opened(folder: Path, extractor: str) -> OpenedAgent:
    return OpenedAgent(folder, trust=TRUSTED + extractor, dtype="float64")


SWEPT = {
    "FunctionalCnn": ["first", "second", "linear"],
    "NormedMlp": ["net.0", "net.3"],
    "WithLayersOfOtherKinds": ["inward"],
    "Residual": ["first", "second"],
    "Tied": ["a"],
}
ACTIVATIONS = {**SWEPT, "NormedMlp": ["net.2", "net.5"], "Residual": ["first", "relu"]}


@pytest.mark.parametrize("extractor", SWEPT)
def test_every_hidden_layer_with_a_weight_matrix_is_swept(extractor: str, tmp_path: Path) -> None:
    agent = opened(agent_with(tmp_path / "agent", extractor)[0], extractor)
    assert hidden_layers(agent) == [*(f"features_extractor.{name}" for name in SWEPT[extractor]), "q_net.0"]
    assert hidden_activations(agent) == [*(f"features_extractor.{name}" for name in ACTIVATIONS[extractor]), "q_net.1"]


def test_standard_networks_are_swept_as_ever(tmp_path: Path) -> None:
    mlp = OpenedAgent(mlp_agent(tmp_path / "mlp", net_arch=[5, 3]))
    assert (hidden_layers(mlp), hidden_activations(mlp)) == (["q_net.0", "q_net.2"], ["q_net.1", "q_net.3"])
    assert layers_left_out(mlp) == {}
    slopes = OpenedAgent(mlp_agent(tmp_path / "prelu", net_arch=[5], activation_fn=torch.nn.PReLU))
    assert (hidden_layers(slopes), layers_left_out(slopes)) == (["q_net.0"], {})
    space = spaces.Box(0, 255, (1, 36, 36), np.uint8)
    nature = OpenedAgent(save_dqn(tmp_path / "cnn", new_dqn(space, policy="CnnPolicy", n_actions=2, net_arch=[4])))
    parts = [f"features_extractor.{name}" for name in ("cnn.0", "cnn.2", "cnn.4", "linear.0")]
    assert hidden_layers(nature) == [*parts, "q_net.0"]
    parts = [f"features_extractor.{name}" for name in ("cnn.1", "cnn.3", "cnn.5", "linear.1")]
    assert (hidden_activations(nature), layers_left_out(nature)) == ([*parts, "q_net.1"], {})
    none = OpenedAgent(mlp_agent(tmp_path / "none", net_arch=[]))
    assert hidden_activations(none) == ["q_net.0"]


def test_a_custom_head_is_swept_as_well(tmp_path: Path) -> None:
    from stable_baselines3 import DQN

    model = DQN(DuellingPolicy, BlankEnv(vector_space(4), 3), buffer_size=1, seed=0, device="cpu")
    agent = OpenedAgent(save_dqn(tmp_path, model), trust="tests.extractors.DuellingPolicy")
    assert set(hidden_layers(agent)) == {"q_net.value.0", "q_net.value.2", "q_net.advantage.0", "q_net.advantage.2"}


def test_layers_with_parameters_that_are_not_swept_are_named_with_the_reason(tmp_path: Path, capsys: Any) -> None:
    folder, words = agent_with(tmp_path / "agent", "WithLayersOfOtherKinds")
    reported = layers_left_out(opened(folder, "WithLayersOfOtherKinds"))
    no_rows = "it has no weight matrix with a row for each neuron"
    assert reported == {
        "features_extractor": "a container of layers, not a layer",
        "features_extractor.words": f"Embedding: {no_rows}",
        "features_extractor.twice": "it fires 2 times in one forward pass",
        "features_extractor.never": "it never fires in a forward pass",
    }
    lines = {f"left out: {name} ({why})" for name, why in reported.items()}
    for main in (generate_definitions.main, run_experiments.main, find_minimal_sets.main):
        assert main(words) == 0
        assert lines <= set(capsys.readouterr().err.splitlines())
    assert run_experiments.main([*words, "--definitions", "single_neuron_definitions.json"]) == 0
    assert generate_definitions.main([*words, "--layers", "q_net.0", "--output", str(folder / "d.json")]) == 0
    assert find_minimal_sets.main([*words, "--layers", "q_net.1", "--output_prefix", "one"]) == 0
    assert "left out" not in capsys.readouterr().err
    norms = layers_left_out(opened(agent_with(tmp_path / "normed", "NormedMlp")[0], "NormedMlp"))
    assert norms == {
        "features_extractor.net.1": f"BatchNorm1d: {no_rows}",
        "features_extractor.net.4": f"LayerNorm: {no_rows}",
    }


def test_layers_that_share_their_weights_are_swept_once_and_changed_under_either_name(tmp_path: Path) -> None:
    folder, words = agent_with(tmp_path / "agent", "Tied")
    agent = opened(folder, "Tied")
    assert hidden_layers(agent) == ["features_extractor.a", "q_net.0"]
    shared = "its weights are those of features_extractor.a"
    assert layers_left_out(agent) == {"features_extractor.again": shared, "features_extractor.b": shared}
    changed = []
    for name in ("a", "b", "again"):
        flags = ["--weights", f"features_extractor.{name}.weight[0,1]", "--mode", "add", "--values", "0.5"]
        flags += ["--inputs", "clean_inputs.json", "--control_sets", "0", "--output_prefix", name]
        assert perturb_weights.main([*words, *flags]) == 0
        results = json.loads((folder / "perturbation_results" / f"{name}.json").read_text())["results"]
        changed.append([{**row, "target": "", "layer_name": ""} for row in results])
    assert changed[0] == changed[1] == changed[2]


@pytest.mark.parametrize("extractor", ["FunctionalCnn", "NormedMlp", "Tied"])
def test_from_the_sweep_over_the_metrics_to_the_weights(extractor: str, tmp_path: Path, capsys: Any) -> None:
    folder, words = agent_with(tmp_path / "agent", extractor)
    assert run_experiments.main([*words, "--json"]) == 0
    reported = json.loads(capsys.readouterr().out)
    assert (
        reported["experiments"] == {"FunctionalCnn": 16 + 32 + 24 + 9, "NormedMlp": 7 + 5 + 9, "Tied": 4 + 9}[extractor]
    )
    assert reported["contrast_pairs"] > 0
    quick = ["--resamples", "99", "--max_neurons", "100"]
    assert analyze_metrics.main(["--agent_path", str(folder), *quick]) == 0
    assert initial_test.main([*words, "--format", "npz"]) == 0
    candidates = json.loads((folder / "gradient_analysis" / "candidate_weights.json").read_text())
    layers = {target["layer_name"] for target in candidates["weight_targets"]}
    assert layers >= {f"features_extractor.{name}.weight" for name in SWEPT[extractor]}


def test_a_relu_that_reads_a_sum_does_not_make_a_neuron_dead(tmp_path: Path) -> None:
    """Both values of the second Linear are below zero; what is added to them is not."""
    folder, _ = agent_with(tmp_path / "agent", "Residual")
    experiment = open_agent(folder, trust=TRUSTED + "Residual")
    plan = plan_sweep(experiment, definitions=[{"features_extractor.second": [n]} for n in range(6)])
    path = tmp_path / "sweep.npz"
    write_sweep(path, experiment, plan, metadata=experiment.metadata(plan.decisive, command={}))
    layer = "features_extractor.second"
    own, given = (experiment.activations(f"{run}_inputs.json", layers=[layer]) for run in ("corrupted", "clean"))
    with opened_sweep(path) as stored, np.load(path) as arrays:
        found = arrays[f"denoising_{layer}"]
        assert stored.flags("denoising") == [""] * 6
    below = 0
    for number, patch in enumerate(plan.patches):
        below += int(((own[layer][:, number] <= 0) & (given[layer][:, number] <= 0)).sum())
        expected, _ = patched(experiment.network, plan.inputs["corrupted"].observations, given, patch)
        assert found[:, number] == pytest.approx(expected, rel=1e-12)
    assert below > 10


def test_a_relu_in_line_behind_a_custom_layer_still_identifies_dead_neurons(tmp_path: Path) -> None:
    space = spaces.Box(-1, 1, (3, 7, 7), np.float32)
    model = new_dqn(
        space, features_extractor_class=MinigridFeaturesExtractor, net_arch=[4], normalize_images=False
    )  # fmt: skip
    linear = model.policy.q_net.features_extractor.linear[0]
    linear.bias.data[3] = -1e3
    trust = "tests.extractors.MinigridFeaturesExtractor"
    experiment = open_agent(save_dqn(tmp_path / "agent", model), trust=trust)
    clean, corrupted = np.random.default_rng(0).uniform(-1, 1, (2, 5, 3, 7, 7)).astype(np.float32)
    definitions = [{"features_extractor.linear.0": [3]}]
    plan = plan_sweep(experiment, clean=clean, corrupted=corrupted, definitions=definitions)
    path = tmp_path / "sweep.npz"
    write_sweep(path, experiment, plan, metadata=experiment.metadata(plan.decisive, command={}))
    with opened_sweep(path) as stored:
        assert stored.flags("denoising") == ["dead"]
