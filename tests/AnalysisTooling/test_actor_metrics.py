"""Metrics of an actor: logits, whose softmax is the policy; what only Q-values have is empty."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest

from Neuron_Selection.AnalysisTooling import analyze
from Neuron_Selection.AnalysisTooling.experiment_metrics import SELECTION_METRICS, chosen_metrics, default_metrics
from Neuron_Selection.AnalysisTooling.measures.metrics import OF_ITSELF, OF_Q_VALUES, OF_THE_PAIR
from Neuron_Selection.AnalysisTooling.measures.probabilities import probability_shift, softmax
from Neuron_Selection.AnalysisTooling.ranked_table import ranked_lines
from Neuron_Selection.errors import UsageError
from Neuron_Selection.ExperimentTooling.sweeps import run_sweep
from Neuron_Selection.FileFormats.scores import LOGITS
from Neuron_Selection.PatchingTooling import PatchingExperiment, compare_runs, extract_activations
from tests.made_actors import new_agent, samples, save_agent
from tests.raised import raises

OF_PROBABILITIES = ["kl_divergence", "reverse_kl_divergence", "probability_shift"]


@pytest.fixture
def actor(tmp_path: Path) -> Path:
    """A PPO with three clean and three corrupted inputs."""
    model = new_agent("PPO, ReLU")
    folder = save_agent(tmp_path / "agent", model)
    (folder / "activation_inputs").mkdir()
    for name, seed in (("clean", 1), ("corrupted", 2)):
        inputs = samples(model.observation_space, count=3, seed=seed)
        document = {input_id: {"input": observation.tolist()} for input_id, observation in inputs.items()}
        (folder / "activation_inputs" / f"{name}_inputs.json").write_text(json.dumps(document))
    return folder


def test_the_probability_of_the_greedy_action_shifts_by_a_sigmoid() -> None:
    baseline, patched = np.array([[0.0, np.log(3)], [1.0, 1.0]]), np.array([[0.0, 0.0], [1.0 + np.log(4), 1.0]])
    assert np.allclose(probability_shift(baseline, patched), [0.5 - 0.75, 0.8 - 0.5], atol=1e-15)
    assert np.allclose(softmax(np.array([[1e4, 0.0]])), [[1.0, 0.0]])


def test_a_constant_added_to_all_logits_changes_nothing() -> None:
    rng = np.random.default_rng(0)
    runs, constants = rng.normal(size=(3, 20, 4)), rng.normal(size=(3, 20, 1)) * 5
    of_two = {**OF_ITSELF, **{name: SELECTION_METRICS[name] for name in OF_PROBABILITIES}}
    for name, metric in of_two.items():
        if name not in OF_Q_VALUES:
            assert np.allclose(metric(*runs[:2]), metric(*(runs + constants)[:2]), atol=1e-12), name
    for name in ("matches_source", "margin_effect"):
        assert np.allclose(
            OF_THE_PAIR[name](*runs), OF_THE_PAIR[name](*(runs + constants)), atol=1e-9, equal_nan=True
        ), name


def test_an_actor_has_metrics_of_probabilities_and_none_in_units_of_return() -> None:
    assert set(default_metrics()) ^ set(default_metrics(LOGITS)) == {*OF_Q_VALUES, *OF_PROBABILITIES}
    with raises(UsageError, field="metric self_regret", names=["logits"]):
        chosen_metrics(["self_regret"], LOGITS)
    with raises(UsageError, field="metric probability_shift", names=["Q-values"]):
        chosen_metrics(["probability_shift"])


def test_a_sweep_of_an_actor_is_analysed_in_logits(actor: Path) -> None:
    run_sweep(PatchingExperiment(actor))
    done = analyze(actor)
    assert done.analysis is not None
    with done.table.open() as file:
        rows = list(csv.DictReader(file))
    assert {row[name] for row in rows for name in OF_Q_VALUES} == {""}
    assert all(float(row["kl_divergence"]) >= 0 for row in rows)
    assert any(float(row["probability_shift"]) for row in rows)
    assert {row["patch"].partition(":")[0] for row in rows} == {
        "mlp_extractor.policy_net.0",
        "mlp_extractor.policy_net.2",
    }
    summary = json.loads(done.summary.read_text())
    assert summary["methodology"]["scores"] == "logits"
    assert list(summary["metrics_info"])[-3:] == OF_PROBABILITIES
    assert analyze(actor).analysis is None  # up to date
    lines = ranked_lines(done.analysis)
    (head,) = (line for line in lines if line.startswith("rank"))
    rows_shown = [line for line in lines if "policy_net" in line]
    assert rows_shown
    assert {line.index(" [") > head.index("margin_recovery") for line in rows_shown} == {True}
    assert {line[head.index("margin_recovery") - 1] for line in rows_shown} == {" "}  # longer names move the columns


def test_a_suggested_patch_has_hidden_layers_of_the_actor_only(actor: Path) -> None:
    agent = PatchingExperiment(actor)
    extract_activations(agent)
    files = (f"{run}_activations.npz" for run in ("clean", "corrupted"))
    suggested = compare_runs(agent, *files, layers=None, input_ids=None, top=3)["patch"]
    assert list(suggested) == ["mlp_extractor.policy_net.0", "mlp_extractor.policy_net.2"]


def test_records_by_input_hold_the_same_metrics_and_the_run_says_logits(actor: Path) -> None:
    experiment, layer = PatchingExperiment(actor), "mlp_extractor.policy_net.1"
    clean = experiment.inputs("clean_inputs.json").observations
    results = experiment.run_patching_experiment(
        "corrupted_inputs.json", experiment.activations(clean, layers=[layer]), {layer: [0, 1, 2]}
    )
    assert results.metadata["run"]["scores"] == "logits"
    for experiments in results.by_input().values():
        (experiment,) = experiments.values()
        analysis, record = experiment["patch_analysis"], experiment["results"]
        assert [analysis[name] for name in OF_Q_VALUES] == [None, None]
        before, after = (softmax(np.array(record[f"{run}_output"])) for run in ("baseline", "patched"))
        action = record["baseline_action"]
        assert analysis["probability_shift"] == pytest.approx(after[0, action] - before[0, action], abs=1e-12)


def test_the_metadata_of_a_dqn_are_as_before(tmp_path: Path) -> None:
    folder = save_agent(tmp_path / "agent", new_agent("QR-DQN"))
    assert "scores" not in PatchingExperiment(folder).metadata({}, command={})["run"]
