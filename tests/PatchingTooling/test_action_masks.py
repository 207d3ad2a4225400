"""Action masks of a MaskablePPO, beside the inputs: every file holds the decisions that sb3_contrib takes with them."""

from __future__ import annotations

import csv
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from Neuron_Selection.AnalysisTooling import analyze
from Neuron_Selection.AnalysisTooling.measures.decisions import allowed_scores, greedy_actions
from Neuron_Selection.errors import InputError, SuiteWarning
from Neuron_Selection.ExperimentTooling.attribution.paths import attribute
from Neuron_Selection.ExperimentTooling.interactions.set_effects import Players, set_effects
from Neuron_Selection.ExperimentTooling.minimal_sets import find_minimal_sets
from Neuron_Selection.ExperimentTooling.minimal_sets.explain import contrast_rows, of_rows, single_effects
from Neuron_Selection.ExperimentTooling.minimal_sets.goals import Goal, requirements
from Neuron_Selection.ExperimentTooling.minimal_sets.mixtures import mixtures_of
from Neuron_Selection.ExperimentTooling.sweeps import run_sweep
from Neuron_Selection.FileFormats.weights.weight_gradients import load_weight_gradients
from Neuron_Selection.PatchingTooling import PatchingExperiment, patch
from Neuron_Selection.PatchingTooling.agent.network import WeightChange
from Parameter_Selection.PerturbationTooling.exact_flips import find_smallest_flips
from Parameter_Selection.PerturbationTooling.exact_flips.smallest_flips import compute_smallest_flips
from Parameter_Selection.PerturbationTooling.perturbations import perturb_weights
from Parameter_Selection.PerturbationTooling.weights.targets import all_weights_of
from SaliencyTooling.gradient_runs import average_gradients, compute_gradients
from SaliencyTooling.weight_ranking import weight_matrices
from tests.made_actors import new_agent, samples, save_agent

COUNT, ACTIONS = 12, 4
LAYER = "mlp_extractor.policy_net.1"


def masks_of(seed: int) -> np.ndarray:
    masks = np.random.default_rng(seed).random((COUNT, ACTIONS)) < 0.6
    masks[np.arange(COUNT), (np.arange(COUNT) + seed) % ACTIONS] = True
    masks[0] = np.arange(ACTIONS) == 1  # one allowed action only
    return masks


def write_inputs(folder: Path, space: Any, name: str, seed: int, masks: np.ndarray | None) -> dict[str, Any]:
    (folder / "activation_inputs").mkdir(exist_ok=True)
    document: dict[str, Any] = {
        input_id: {"input": observation.tolist()}
        for input_id, observation in samples(space, count=COUNT, seed=seed).items()
    }
    for row, entry in enumerate(document.values() if masks is not None else ()):
        entry["action_mask"] = masks[row].astype(int).tolist() if row % 2 else masks[row].tolist()
    (folder / "activation_inputs" / f"{name}_inputs.json").write_text(json.dumps(document))
    return document


def table_in(folder: Path) -> list[dict[str, str]]:
    return list(csv.DictReader((folder / "results.csv").read_text().splitlines()))


@pytest.fixture
def masked(tmp_path: Path) -> tuple[Path, Any]:
    """An agent folder with inputs whose clean and corrupted masks differ, and the model."""
    model = new_agent("MaskablePPO", n_actions=ACTIONS)
    folder = save_agent(tmp_path / "agent", model)
    for seed, name in enumerate(("clean", "corrupted")):
        write_inputs(folder, model.observation_space, name, seed, masks_of(seed))
    return folder, model


def predicted(model: Any, inputs: Any, masks: np.ndarray) -> list[int]:
    actions: list[int] = model.predict(inputs.observations, deterministic=True, action_masks=masks)[0].tolist()
    return actions


@pytest.mark.parametrize("engine", ["numpy", "torch"])
def test_decisions_are_those_of_sb3_contrib_with_the_same_masks(engine: str, masked: tuple[Path, Any]) -> None:
    folder, model = masked
    agent = PatchingExperiment(folder, engine=engine)
    inputs = {name: agent.inputs(f"{name}_inputs.json") for name in ("clean", "corrupted")}
    for file, (target, source) in zip(
        patch(agent, direction="both", patch_spec=[f"{LAYER}:0-4", f"{LAYER}:all"]),
        (("corrupted", "clean"), ("clean", "corrupted")),
        strict=True,
    ):
        results, masks = json.loads(file.path.read_text()), inputs[target].action_masks
        assert masks is not None
        metadata = json.loads(file.path.with_suffix(".meta.json").read_text())
        assert metadata["run"]["target"]["action_masks"] is True
        part, whole = (list(experiment["results"].values()) for experiment in results.values())
        for records in (part, whole):
            assert [record["baseline_action"] for record in records] == predicted(model, inputs[target], masks)
            assert [record["source_action"] for record in records] == predicted(model, inputs[source], masks)
            assert [record["action_mask"] for record in records] == masks.tolist()
            assert all(masks[row, record["patched_action"]] for row, record in enumerate(records))
        assert all(record["matches_source"] for record in whole)
        unmasked = greedy_actions(agent.network.scores(inputs[target].observations)).tolist()
        assert unmasked != predicted(model, inputs[target], masks)
        assert file.summaries is not None
        assert file.summaries[1]["must_match"]


def test_a_sweep_its_analysis_and_its_records_by_input_agree(masked: tuple[Path, Any]) -> None:
    folder, _ = masked
    agent = PatchingExperiment(folder, engine="numpy")
    run = run_sweep(agent, by_input=True)
    assert run.header is not None
    analyze(folder)
    rows = table_in(folder / "patching_results")
    records = [json.loads(path.read_text()) for path in (folder / "patching_results" / "denoising").glob("*.json")]
    assert len(records) == COUNT
    flips = sum(one["results"]["action_changed"] for record in records for one in record.values())
    assert flips == sum(int(row["flips"]) for row in rows if row["direction"] == "denoising") > 0
    shifts = [one["patch_analysis"]["probability_shift"] for record in records for one in record.values()]
    means = [float(row["probability_shift"]) for row in rows if row["direction"] == "denoising"]
    assert np.isclose(np.mean(shifts), np.mean(means), atol=1e-12)
    contrast = [record for by_name in records for record in list(by_name.values())[:1]]
    count = sum(one["results"]["source_action"] != one["results"]["baseline_action"] for one in contrast)
    assert run.header["contrast_pairs"] == count == int(rows[0]["contrast_pairs"])
    analyze(folder, by_input=True, output_dir=str(folder / "again"))
    again = table_in(folder / "again")
    assert len(again) == len(rows)
    for one, other in zip(rows, again, strict=True):
        for key in ("effect", "flips", "matches", "near_ties", "kl_divergence", "probability_shift"):
            assert one[key] == other[key] or np.isclose(float(one[key]), float(other[key])), key


def test_minimal_sets_flip_allowed_decisions(masked: tuple[Path, Any]) -> None:
    folder, _ = masked
    agent = PatchingExperiment(folder, engine="numpy")
    document = find_minimal_sets(agent, layers=[LAYER], goal="flip", budget=2000).document
    source, target = agent.inputs("clean_inputs.json"), agent.inputs("corrupted_inputs.json")
    values = agent.network.activations(source.observations, [LAYER])[LAYER]
    own = agent.network.activations(target.observations, [LAYER])[LAYER]
    before = allowed_scores(agent.network.scores(target.observations), target.action_masks)
    pairs = document["denoising"][LAYER]["pairs"]
    assert pairs
    assert "0" not in pairs  # one action is allowed
    for input_id, pair in pairs.items():
        row, neurons = int(input_id), pair["smallest"]["patch"][LAYER]
        mixed = own[row : row + 1].copy()
        mixed[:, neurons] = values[row, neurons]
        after = agent.network.run_on(
            LAYER, mixed, agent.inputs("corrupted_inputs.json").selected([input_id]).observations
        )
        masks = target.action_masks
        assert masks is not None
        assert greedy_actions(allowed_scores(after, masks[row])) != greedy_actions(before[row : row + 1])


def test_attributions_and_interactions_are_between_allowed_actions(
    masked: tuple[Path, Any],
) -> None:
    folder, _ = masked
    agent = PatchingExperiment(folder, engine="numpy")
    source, target = agent.inputs("clean_inputs.json"), agent.inputs("corrupted_inputs.json")
    mixtures = mixtures_of(agent.network, LAYER, target, source)
    mixtures = of_rows(mixtures, contrast_rows(mixtures))
    found = attribute(mixtures, steps=64)
    assert np.abs(found.residuals).max() < 1e-9
    flipped = np.isfinite(found.strengths)
    assert flipped.all()  # at the end of the path every pair chooses the source's action
    assert mixtures.masks is not None
    assert mixtures.masks[np.arange(len(flipped)), found.actions].all()
    one = Players(mixtures=[mixtures], neurons=[np.arange(mixtures.layer.width)])
    effects, (by_run, _) = set_effects(one), single_effects(mixtures)
    everything = np.eye(mixtures.layer.width, dtype=bool)
    for row in range(len(flipped)):
        changes = effects.changes(row, np.arange(mixtures.layer.width), everything)
        assert np.allclose(changes, by_run[row], atol=1e-12)


def test_a_goal_requires_nothing_of_forbidden_actions() -> None:
    baseline, source = (np.array([row]) for row in ([0.0, 9.0, 2.0, 1.0], [3.0, 9.0, 2.0, 1.0]))
    masks = np.array([[True, False, True, True]])
    scores = [allowed_scores(run, masks)[0] for run in (baseline, source)]
    assert requirements(Goal(kind="matches_source"), *scores).actions.tolist() == [[0, 2], [0, 3]]
    assert requirements(Goal(kind="flip"), *scores).actions.tolist() == [[0, 2], [3, 2]]
    recovery = requirements(Goal(kind="recovery", threshold=0.5), *scores)
    assert (recovery.actions.tolist(), recovery.least.tolist()) == ([[0, 2]], [-0.5])


def test_weights_flip_allowed_decisions(masked: tuple[Path, Any]) -> None:
    folder, model = masked
    agent = PatchingExperiment(folder, engine="numpy")
    inputs = agent.inputs("clean_inputs.json")
    masks = inputs.action_masks
    assert masks is not None
    before = predicted(model, inputs, masks)
    flips = find_smallest_flips(agent, all_weights=["action_net"], largest_change=50.0)
    summary, records = (json.loads(flips.files[0].read_text())[key] for key in ("summary", "results"))
    assert summary["pairs_that_flip"] == summary["verified"] > 0
    assert summary["not_verified"] == 0
    for record in records:
        for row, (change, action) in enumerate(zip(record["changes"], record["actions"], strict=True)):
            assert (row, change) == (row, None) or (masks[row, action] and action != before[row])
        assert record["changes"][0] is None  # one action is allowed
    record = next(record for record in records if any(record["changes"]))
    row = next(row for row, change in enumerate(record["changes"]) if change)
    value = record["weight_before"] + record["changes"][row] * (1 + 1e-5)
    weight = {"row": record["neuron_index"], "column": record["weight_index"]}
    edit = WeightChange(parameter="action_net.weight", value=value, **weight)
    scores = agent.network.scores_of_changes(inputs.observations, [edit])[0]
    assert greedy_actions(allowed_scores(scores, masks))[row] == record["actions"][row]
    other = find_smallest_flips(agent, all_weights=["mlp_extractor.policy_net.0"], output_prefix="hidden")
    assert all(
        change is None or masks[row, record["actions"][row]]
        for record in json.loads(other.files[0].read_text())["results"]
        for row, change in enumerate(record["changes"])
    )
    perturbed = perturb_weights(agent, all_weights=["action_net"], control_sets=0)
    results = json.loads(perturbed.files[0].read_text())["results"]
    scaled = next(record for record in results if record["value"] == -1 and record["flips"])
    weight = {"row": scaled["neuron_index"], "column": scaled["weight_index"]}
    edit = WeightChange(parameter="action_net.weight", value=scaled["weight_after"], **weight)
    after = allowed_scores(agent.network.scores_of_changes(inputs.observations, [edit])[0], masks)
    assert scaled["flipped_ids"] == [str(row) for row in np.flatnonzero(greedy_actions(after) != before)]
    assert "0" not in {input_id for record in results for input_id in record["flipped_ids"]}


@pytest.mark.parametrize("name", ["PPO, ReLU", "MaskablePPO"])
def test_smallest_flips_are_those_of_a_network_without_the_forbidden_action(name: str, tmp_path: Path) -> None:
    """For both ways of the search: along the pieces of a ReLU network, and by brackets."""
    agent = PatchingExperiment(save_agent(tmp_path / "agent", new_agent(name, n_actions=ACTIONS)), engine="numpy")
    network, observations = agent.numpy_network, np.random.default_rng(3).normal(size=(20, 5)).astype(np.float32)
    *before, last = network.linears
    forbidden = np.bincount(greedy_actions(network.scores(observations))).argmax()
    kept, masks = np.delete(np.arange(ACTIONS), forbidden), np.tile(np.arange(ACTIONS) != forbidden, (20, 1))
    columns, bias = np.zeros_like(last.columns), np.zeros_like(last.bias)
    columns[:, :3], bias[:3] = last.columns[:, kept], last.bias[kept]
    smaller = replace(network, linears=(*before, replace(last, columns=columns, bias=bias, n_outputs=3)))
    hidden = ["mlp_extractor.policy_net.0", "mlp_extractor.policy_net.2"]
    targets = all_weights_of(hidden, weight_matrices(agent.online_weights))[::3]
    ranges = {f"{layer}.weight": 4.0 for layer in hidden}
    found = compute_smallest_flips(network, observations, targets, ranges=ranges, masks=masks)
    expected = compute_smallest_flips(smaller, observations, targets, ranges=ranges)
    assert np.allclose(found.changes, expected.changes, rtol=1e-6, equal_nan=True)
    assert np.array_equal(found.verified, expected.verified)
    assert np.array_equal(found.actions[found.verified], kept[expected.actions[found.verified]])
    assert np.array_equal(found.certified, expected.certified)
    unmasked = compute_smallest_flips(network, observations, targets, ranges=ranges)
    assert not np.array_equal(found.verified, unmasked.verified)


def test_gradients_are_those_of_the_greatest_allowed_score(masked: tuple[Path, Any]) -> None:
    folder, model = masked
    agent = PatchingExperiment(folder, engine="numpy")
    inputs = agent.inputs("clean_inputs.json")
    assert inputs.action_masks is not None
    computed = compute_gradients(agent)
    actions = [one.action for one in load_weight_gradients(computed.files[0])]
    assert actions == predicted(model, inputs, inputs.action_masks)
    average_gradients(agent)


def test_masks_that_allow_everything_change_no_decision(masked: tuple[Path, Any], tmp_path: Path) -> None:
    _, model = masked
    summaries = []
    for masks in (None, np.ones((COUNT, ACTIONS), bool)):
        folder = save_agent(tmp_path / ("plain" if masks is None else "all"), model)
        for seed, name in enumerate(("clean", "corrupted")):
            write_inputs(folder, model.observation_space, name, seed, masks)
        agent = PatchingExperiment(folder, engine="numpy")
        if masks is None:
            with pytest.warns(SuiteWarning, match="no action_mask beside the inputs of an agent trained with"):
                agent.inputs("clean_inputs.json")
        run = run_sweep(agent) if masks is not None else _with_warnings(agent)
        summaries.append(run.header)
        analyze(folder)
    plain, everything = summaries
    assert plain["contrast_pairs"] == everything["contrast_pairs"]
    tables = [(tmp_path / name / "patching_results" / "results.csv").read_text() for name in ("plain", "all")]
    assert tables[0] == tables[1]


def _with_warnings(agent: PatchingExperiment) -> Any:
    with pytest.warns(SuiteWarning):
        return run_sweep(agent)


@pytest.mark.parametrize(
    ("mask", "found"),
    [
        ([1, 1, 1], "3 values"),
        ("1111", "'1111'"),
        ([1, 1, 1, 2], "2"),
        ([1, 1, 1, "x"], "'x'"),
        ([1, 0.5, 1, 1], "0.5"),
        ([0, 0, 0, False], "no allowed action"),
    ],
)
def test_a_wrong_mask_is_refused_with_its_field(mask: Any, found: str, masked: tuple[Path, Any]) -> None:
    folder, _ = masked
    path = folder / "activation_inputs" / "clean_inputs.json"
    document = json.loads(path.read_text())
    document["3"]["action_mask"] = mask
    path.write_text(json.dumps(document))
    with pytest.raises(InputError) as caught:
        PatchingExperiment(folder).inputs("clean_inputs.json")
    assert (caught.value.file, caught.value.field, caught.value.found) == (str(path), "'3'.action_mask", found)
    assert caught.value.exit_code == 2


def test_masks_of_some_inputs_only_or_of_another_algorithm_are_refused(masked: tuple[Path, Any]) -> None:
    folder, _ = masked
    path = folder / "activation_inputs" / "clean_inputs.json"
    save_agent(folder.parent / "ppo", new_agent("PPO, ReLU", n_actions=ACTIONS))
    with pytest.raises(InputError) as caught:
        PatchingExperiment(folder.parent / "ppo").inputs(path)
    assert (caught.value.field, caught.value.exit_code) == ("'0'.action_mask", 2)
    document = json.loads(path.read_text())
    del document["5"]["action_mask"]
    path.write_text(json.dumps(document))
    with pytest.raises(InputError) as caught:
        PatchingExperiment(folder).inputs("clean_inputs.json")
    assert caught.value.field == "'5'.action_mask"
