"""Patching experiments: against a slow reference, invariants, networks with known answers, failures."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from gymnasium import spaces
from hypothesis import given, settings
from hypothesis import strategies as st

from Neuron_Selection.errors import InputError, SuiteError, SuiteWarning, UsageError
from Neuron_Selection.FileFormats.provenance import CHUNK_ROWS
from Neuron_Selection.PatchingTooling import PatchingExperiment
from tests import slow_reference
from tests.gates import GATES
from tests.made_agents import mlp_agent, new_dqn, planted_agent, save_dqn
from tests.raised import DIFFERENT_RUN, raises

LAYERS = [f"q_net.{number}" for number in range(5)]


@pytest.fixture(scope="module")
def mlp(tmp_path_factory: pytest.TempPathFactory) -> PatchingExperiment:
    return PatchingExperiment(mlp_agent(tmp_path_factory.mktemp("mlp")))


def rows(count: int, width: int = 4, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(count, width)).astype(np.float32)


def close(found: Any, expected: Any) -> bool:
    scale = max(float(np.abs(expected).max()), 1e-6)
    return bool(np.abs(np.asarray(found) - expected).max() <= 1e-6 * scale)


# --- against the slow reference


def test_activations_equal_the_slow_reference(mlp: PatchingExperiment) -> None:
    observations = rows(11)
    recorded = mlp.activations(observations)
    weights = slow_reference.mlp_weights(mlp.agent_zip.tensors)
    expected = [slow_reference.run_one(weights, row, {}) for row in observations]
    assert list(recorded) == LAYERS
    for layer in LAYERS:
        assert close(recorded[layer], np.array([outputs[layer] for outputs in expected])), layer


@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_patched_q_values_equal_the_slow_reference(data: st.DataObject, mlp: PatchingExperiment) -> None:
    table = mlp.layer_table
    chosen = data.draw(st.lists(st.sampled_from(LAYERS), min_size=1, max_size=3, unique=True))
    patch: dict[str, Any] = {
        layer: data.draw(st.lists(st.integers(0, table.widths[layer] - 1), min_size=1, unique=True)) for layer in chosen
    }
    target, source = rows(3, seed=1), rows(3, seed=2)
    activations = mlp.activations(source)
    results = mlp.run_patching_experiment(target, activations, patch)
    weights = slow_reference.mlp_weights(mlp.agent_zip.tensors)
    for row in range(3):
        held = {layer: {n: float(activations[layer][row, n]) for n in neurons} for layer, neurons in patch.items()}
        expected = slow_reference.run_one(weights, target[row], held)["q_net.4"]
        assert close(results[str(row)]["patched_output"][0], expected)


# --- invariants


def test_patching_a_network_with_its_own_activations_changes_nothing(mlp: PatchingExperiment) -> None:
    target = rows(70)
    results = mlp.run_patching_experiment(target, mlp.activations(target), dict.fromkeys(LAYERS, "all"))
    for record in results.values():
        assert record["patched_output"] == record["baseline_output"]
        assert not record["action_changed"]
        assert all(site["values_changed"] == 0 for site in record["applied"].values())


@pytest.mark.parametrize("layer", ["features_extractor.flatten", *LAYERS])
def test_a_whole_layer_patch_gives_the_sources_output_bit_for_bit(layer: str, mlp: PatchingExperiment) -> None:
    target, source = rows(9, seed=1), rows(9, seed=2)
    activations = mlp.activations(source, layers=[layer])
    results = mlp.run_patching_experiment(target, activations, f"{layer}:all")
    expected = mlp.q_values(source)
    for row, record in enumerate(results.values()):
        assert record["patched_output"] == [expected[row].tolist()]
        assert record["source_output"] == record["patched_output"]
        assert record["matches_source"]


def test_all_is_every_index_listed_in_any_order(mlp: PatchingExperiment) -> None:
    target, activations = rows(5, seed=1), mlp.activations(rows(5, seed=2))
    named = mlp.run_patching_experiment(target, activations, "q_net.2:all")
    listed = mlp.run_patching_experiment(target, activations, {"q_net.2": [5, 0, 3, 1, 2, 4]})
    assert [r["patched_output"] for r in named.values()] == [r["patched_output"] for r in listed.values()]


def test_alone_in_sevens_shuffled_or_all_together_give_the_same_bits(mlp: PatchingExperiment) -> None:
    count = 2 * CHUNK_ROWS + 5
    target, activations = rows(count, seed=1), mlp.activations(rows(count, seed=2))
    spec = "q_net.0:1,2;q_net.2:0"

    def patched(order: np.ndarray, size: int) -> np.ndarray:
        outputs = np.empty((count, 3))
        for start in range(0, count, size):
            taken = order[start : start + size]
            part = {layer: array[taken] for layer, array in activations.items()}
            results = mlp.run_patching_experiment(target[taken], part, spec)
            outputs[taken] = [record["patched_output"][0] for record in results.values()]
        return outputs

    order = np.arange(count)
    together = patched(order, count)
    assert np.array_equal(together, patched(order, 7))
    assert np.array_equal(together, patched(np.random.default_rng(0).permutation(count), 50))
    alone = [mlp.q_values(target[row : row + 1])[0] for row in range(12)]
    assert np.array_equal(np.array(alone), mlp.q_values(target)[:12])


def test_complement_identity_within_one_layer(mlp: PatchingExperiment) -> None:
    """Corrupted values of C into the clean run is the same run as clean values of the rest into the corrupted one."""
    clean, corrupted = rows(6, seed=1), rows(6, seed=2)
    acts_clean, acts_corrupted = mlp.activations(clean), mlp.activations(corrupted)
    noising = mlp.run_patching_experiment(clean, acts_corrupted, {"q_net.2": [1, 4]})
    denoising = mlp.run_patching_experiment(corrupted, acts_clean, {"q_net.2": [0, 2, 3, 5]})
    for one, other in zip(noising.values(), denoising.values(), strict=True):
        assert one["patched_output"] == other["patched_output"]


def test_a_cnns_channels_patched_one_by_one_and_all(tmp_path: Path) -> None:
    space = spaces.Box(0, 255, (3, 36, 36), np.uint8)
    experiment = PatchingExperiment(save_dqn(tmp_path, new_dqn(space, policy="CnnPolicy")))
    random = np.random.default_rng(0)
    target, source = random.integers(0, 256, (2, 2, 3, 36, 36), dtype=np.uint8)
    activations = experiment.activations(source)
    layer = "features_extractor.cnn.2"
    whole = experiment.run_patching_experiment(target, activations, f"{layer}:all")
    assert [r["patched_output"][0] for r in whole.values()] == experiment.q_values(source).tolist()
    one = experiment.run_patching_experiment(target, activations, f"{layer}:5")
    assert one["0"]["applied"][layer]["sites"] == 1
    assert 0 < one["0"]["applied"][layer]["values_changed"] <= activations[layer][0, 5].size
    by_hand = experiment.activations(target)[layer].copy()
    by_hand[:, 5] = activations[layer][:, 5]
    assert [r["patched_output"] for r in one.values()] == [
        r["patched_output"]
        for r in experiment.run_patching_experiment(target, {layer: by_hand}, f"{layer}:all").values()
    ]


def test_dict_observations_are_patched_too(tmp_path: Path) -> None:
    space = spaces.Dict({"a": spaces.Box(-5, 5, (3,), np.float32), "b": spaces.Discrete(4)})
    experiment = PatchingExperiment(save_dqn(tmp_path, new_dqn(space, policy="MultiInputPolicy", net_arch=[8])))
    target = {"x": {"a": [0.0, 1.0, 2.0], "b": 3}, "y": {"a": [1.0, 1.0, 1.0], "b": 0}}
    source = {"x": {"a": [2.0, 1.0, 0.0], "b": 1}, "y": {"a": [0.0, 0.0, 1.0], "b": 2}}
    results = experiment.run_patching_experiment(target, experiment.activations(source), "q_net.0:all")
    assert list(results) == ["x", "y"]
    assert [r["patched_output"][0] for r in results.values()] == experiment.q_values(source).tolist()


# --- networks with known answers: hidden h is (0, ...) corrupted and (1, ...) clean, Q = (margin, 0.5)


def gate(
    folder: Path, inner: list[tuple[list[float], float]], outer: list[float], shift: float = 0.0
) -> PatchingExperiment:
    """Q[0] = shift + sum of outer * relu(inner), Q[1] = 0.5; q_net.1 is the hidden layer h."""
    width = len(inner[0][0])
    layers = [
        (np.eye(width), np.zeros(width)),
        ([weights for weights, _ in inner], [bias for _, bias in inner]),
        ([outer, [0.0] * len(outer)], [shift, 0.5]),
    ]
    return PatchingExperiment(planted_agent(folder, layers))


DENOISED = {
    "AND2": {(0,): 0, (1,): 0, (0, 1): 1},
    "OR2": {(0,): 1, (1,): 1, (0, 1): 1},
    "SUM3": {(0,): 0.5, (1,): 0.3, (2,): 0.2, (0, 1): 0.8, (0, 2): 0.7, (1, 2): 0.5, (0, 1, 2): 1},
    "INHIBIT": {(0,): 1, (1,): -1, (2,): 1, (0, 1): 0, (0, 2): 2, (1, 2): 0, (0, 1, 2): 1},
    "MAJ3": {(0,): 0, (1,): 0, (2,): 0, (0, 1): 1, (0, 2): 1, (1, 2): 1, (0, 1, 2): 1},
}


@pytest.mark.parametrize("name", GATES)
def test_planted_gates_give_their_known_answers_in_both_directions(name: str, tmp_path: Path) -> None:
    inner, outer, shift = GATES[name]
    experiment = gate(tmp_path, inner, outer, shift)
    width = len(inner[0][0])
    clean, corrupted = {"pair": np.ones(width)}, {"pair": np.zeros(width)}
    acts_clean, acts_corrupted = experiment.activations(clean), experiment.activations(corrupted)
    for neurons, recovered in DENOISED[name].items():
        spec = {"q_net.1": list(neurons)}
        denoised = experiment.run_patching_experiment(corrupted, acts_clean, spec)["pair"]
        assert denoised["patched_output"][0][0] == pytest.approx(recovered, abs=1e-6)
        if recovered != 0.5:  # as much as the other action's Q-value: a tie
            assert denoised["action_changed"] == denoised["matches_source"] == (recovered > 0.5)
        rest = tuple(n for n in range(width) if n not in neurons)
        noised = experiment.run_patching_experiment(clean, acts_corrupted, spec)["pair"]
        expected = DENOISED[name][rest] if rest else 0.0
        assert noised["patched_output"][0][0] == pytest.approx(expected, abs=1e-6)


def test_a_tie_is_a_near_tie_and_a_clear_decision_is_not(tmp_path: Path) -> None:
    experiment = PatchingExperiment(planted_agent(tmp_path, [([[1.0, 0.0], [0.0, 1.0]], [0.0, 0.0])]))
    target = {"tie": [1.0, 1.00003], "clear": [1.0, 1.01], "scaled": [9.0, 9.0003]}
    results = experiment.run_patching_experiment(
        target,
        {"features_extractor.flatten": np.array(list(target.values()), np.float32)},
        "features_extractor.flatten:0",
    )
    assert {key: record["near_tie"] for key, record in results.items()} == {"tie": True, "clear": False, "scaled": True}


# --- results


def test_source_output_comes_from_the_output_layer_else_from_a_cut_else_is_null(mlp: PatchingExperiment) -> None:
    target, source = rows(3, seed=1), rows(3, seed=2)
    expected = [[row] for row in mlp.q_values(source).tolist()]
    activations = mlp.activations(source)
    for held in (["q_net.4", "q_net.0"], ["q_net.1", "q_net.0"], ["q_net.0"]):
        results = mlp.run_patching_experiment(target, {name: activations[name] for name in held}, "q_net.0:1")
        assert [record["source_output"] for record in results.values()] == expected


def test_without_a_cut_the_source_is_null_and_so_is_the_match(tmp_path: Path) -> None:
    space = spaces.Dict({"a": spaces.Box(-5, 5, (3,), np.float32), "b": spaces.Box(-5, 5, (2,), np.float32)})
    experiment = PatchingExperiment(save_dqn(tmp_path, new_dqn(space, policy="MultiInputPolicy")))
    layer = "features_extractor.extractors.a"
    target = {"a": rows(2, 3), "b": rows(2, 2)}
    results = experiment.run_patching_experiment(target, {layer: rows(2, 3, seed=5)}, f"{layer}:all")
    assert results["0"]["source_output"] is None
    assert results["0"]["matches_source"] is None
    assert results.metadata["summary"][0]["contrast_pairs"] is None


def test_results_are_plain_json_under_their_input_ids(mlp: PatchingExperiment) -> None:
    target = {"MiniGrid-LavaCrossingS11N5-v0-81110-6,4,0-0763": rows(1)[0], "other;id:_/": rows(1, seed=3)[0]}
    results = mlp.run_patching_experiment(target, mlp.activations(rows(2, seed=4)), "q_net.0:5,6,7")
    assert json.loads(json.dumps(results)) == results
    assert list(results) == list(target)
    record = results["other;id:_/"]
    assert record["patched_layers"] == ["q_net.0"]
    assert record["patch_configuration"] == {"q_net.0": [5, 6, 7]}
    assert record["applied"] == {"q_net.0": {"sites": 3, "values_changed": 3}}


def test_some_ids_only_in_the_order_asked_for(mlp: PatchingExperiment) -> None:
    target = dict(zip("abcd", rows(4), strict=True))
    source = mlp.activations(rows(4, seed=2))
    everything = mlp.run_patching_experiment(target, source, "q_net.0:1")
    some = mlp.run_patching_experiment(target, source, "q_net.0:1", input_ids=["d", "b"])
    assert list(some) == ["d", "b"]
    assert dict(some) == {"d": everything["d"], "b": everything["b"]}
    with raises(InputError, file="arrays", names=["'e'"]):
        mlp.run_patching_experiment(target, source, "q_net.0:1", input_ids=["e"])
    with raises(UsageError, names=["'a'"]):
        mlp.run_patching_experiment(target, source, "q_net.0:1", input_ids=["a", "a"])


def test_saved_results_are_left_alone_without_overwrite(tmp_path: Path) -> None:
    experiment = PatchingExperiment(mlp_agent(tmp_path))
    target, source = rows(2), experiment.activations(rows(2, seed=1))
    results = experiment.run_patching_experiment(target, source, "q_net.0:1")
    path = experiment.save_results(results, "mine")
    assert path == tmp_path / "patching_results" / "mine.json"
    before = (path.read_bytes(), path.with_name("mine.meta.json").read_bytes())
    assert experiment.save_results(results, "mine") == path
    other = experiment.run_patching_experiment(target, source, "q_net.0:2")
    with raises(InputError, file="mine.json", problem=DIFFERENT_RUN):
        experiment.save_results(other, "mine")
    assert (path.read_bytes(), path.with_name("mine.meta.json").read_bytes()) == before
    experiment.save_results(other, "mine", overwrite=True)
    assert json.loads(path.read_text()) == dict(other)
    with raises(UsageError, field="results", found="none", expected="what run_patching_experiment returned"):
        experiment.save_results({}, "mine")


# --- failures


def state_of(experiment: PatchingExperiment) -> tuple[Any, ...]:
    net = experiment.torch_network.module
    weights = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    hooks = [tuple(module._forward_hooks) for module in net.modules()]
    flags = [(p.requires_grad, p.grad is None) for p in net.parameters()]
    return weights, hooks, flags, [module.training for module in net.modules()]


def test_the_model_is_as_before_after_every_kind_of_run_and_error(mlp: PatchingExperiment) -> None:
    mlp.torch_network.module.q_net[0].register_forward_hook(lambda *_: None)
    before = state_of(mlp)
    target, source = rows(3), mlp.activations(rows(3, seed=1))
    mlp.run_patching_experiment(target, source, "q_net.0:all")
    with pytest.raises(SuiteError):
        mlp.run_patching_experiment(target, source, "q_net.0:99")
    boom = mlp.torch_network.module.q_net[4].register_forward_hook(lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        mlp.run_patching_experiment(target, source, "q_net.0:all")
    boom.remove()
    after = state_of(mlp)
    assert all(torch.equal(before[0][name], tensor) for name, tensor in after[0].items())
    assert after[1:] == before[1:]


def test_q_values_that_are_not_finite_are_an_error_and_no_action(tmp_path: Path) -> None:
    experiment = PatchingExperiment(planted_agent(tmp_path, [([[3e38], [1.0]], [0.0, 0.0])]))
    with raises(SuiteError, field="scores of the network", found="NaN or infinity", expected="finite numbers"):
        experiment.q_values({"large": [9.0]})


def test_a_source_with_other_rows_widths_or_layers_is_refused(mlp: PatchingExperiment) -> None:
    target, source = rows(3), mlp.activations(rows(3, seed=1))
    with raises(
        UsageError,
        field="source activations: 'q_net.0'",
        found="float32 of shape (2, 8)",
        expected="finite floats with 3 rows",
    ):
        mlp.run_patching_experiment(target, {"q_net.0": source["q_net.0"][:2]}, "q_net.0:1")
    with raises(InputError, file="arrays", field="q_net.0", found="outputs of shape (6,)", expected="(8,)"):
        mlp.run_patching_experiment(target, {"q_net.0": source["q_net.2"]}, "q_net.0:1")
    with raises(InputError, file="arrays", field="q_net.2", names=["the file has q_net.0"]):
        mlp.run_patching_experiment(target, {"q_net.0": source["q_net.0"]}, "q_net.2:1")
    with raises(
        UsageError,
        field="source activations: 'q_net.0'",
        found="float64 of shape (3, 8)",
        expected="finite floats with 3 rows",
    ):
        mlp.run_patching_experiment(target, {"q_net.0": np.full((3, 8), np.nan)}, "q_net.0:1")
    with pytest.warns(SuiteWarning, match="float64 values, rounded to float32"):
        mlp.run_patching_experiment(target, {"q_net.0": source["q_net.0"].astype(np.float64) + 1e-12}, "q_net.0:1")


def test_activations_of_another_agent_are_refused_without_allow_mismatch(tmp_path: Path) -> None:
    from activation_extraction import main as extract

    one, other = mlp_agent(tmp_path / "one"), mlp_agent(tmp_path / "other", seed=1)
    (one / "activation_inputs").mkdir()
    (one / "activation_inputs" / "clean_inputs.json").write_text(json.dumps({"a": [1, 2, 3, 4]}))
    assert extract(["--agent_path", str(one), "--quiet"]) == 0
    source = one / "activation_logging" / "clean_activations.npz"
    fingerprints = [PatchingExperiment(folder).agent_zip.weights_sha256[:12] for folder in (one, other)]
    found, expected = f"activations of agent {fingerprints[0]}", f"this agent, {fingerprints[1]}"
    with raises(
        InputError,
        file="clean_activations.npz",
        field="weights_sha256",
        found=found,
        expected=expected,
        hint=re.compile("--allow_mismatch .*"),
    ):
        PatchingExperiment(other).run_patching_experiment({"a": [0, 0, 0, 0]}, source, "q_net.0:1")
    results = PatchingExperiment(other).run_patching_experiment(
        {"a": [0, 0, 0, 0]}, source, "q_net.0:1", allow_mismatch=True
    )
    assert results.metadata["run"]["source"]["weights_match"] is False


def test_results_of_other_arrays_under_the_same_prefix_are_refused(tmp_path: Path) -> None:
    experiment = PatchingExperiment(mlp_agent(tmp_path))
    first, second = np.random.default_rng(0).normal(size=(2, 5, 4)).astype(np.float32)
    results = experiment.run_ablation_experiment(first, "q_net.0:1")
    path = experiment.save_results(results)
    assert experiment.save_results(experiment.run_ablation_experiment(first, "q_net.0:1")) == path
    with raises(InputError, file="patching.json", problem=DIFFERENT_RUN):
        experiment.save_results(experiment.run_ablation_experiment(second, "q_net.0:1"))


def test_a_dict_of_ones_own_is_saved_once_and_another_is_refused(tmp_path: Path) -> None:
    experiment = PatchingExperiment(mlp_agent(tmp_path))
    path = experiment.save_results({"a": {"x": 1}}, "own")
    assert experiment.save_results({"a": {"x": 1}}, "own") == path
    with raises(InputError, file="own.json", problem=DIFFERENT_RUN):
        experiment.save_results({"a": {"x": 2}}, "own")
