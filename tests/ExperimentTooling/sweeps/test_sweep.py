"""Sweeps: known answers of planted gates, invariants of every network, the slow definition, both engines."""

from __future__ import annotations

from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from gymnasium import spaces

from Neuron_Selection.AnalysisTooling.experiment_metrics import gather_metrics
from Neuron_Selection.AnalysisTooling.measures.clusters import clusters_of
from Neuron_Selection.AnalysisTooling.runs.swept_runs import runs_of_sweep
from Neuron_Selection.ExperimentTooling.definition_lists import single_neurons
from Neuron_Selection.ExperimentTooling.hidden_layers import hidden_layers
from Neuron_Selection.ExperimentTooling.sweeps import sweep as sweeps
from Neuron_Selection.ExperimentTooling.sweeps.plan import plan_sweep
from Neuron_Selection.ExperimentTooling.sweeps.sweep import write_sweep
from Neuron_Selection.FileFormats.results.sweep import opened_sweep
from Neuron_Selection.PatchingTooling import open_agent
from Neuron_Selection.PatchingTooling.numpy_network.network import NumpyNetwork
from Neuron_Selection.PatchingTooling.patching_plan import ablated_source
from tests.gates import GATES
from tests.interventions import patched, patched_many
from tests.made_agents import mlp_agent, new_dqn, planted_agent, save_dqn
from tests.slow_reference import mlp_weights, run_one

# denoising and noising, in the order singles, pairs, all
ANSWERS = {
    "AND2": ([0, 0, 1], [1, 1, 1]),
    "OR2": ([1, 1, 1], [0, 0, 1]),
    "SUM3": ([0.5, 0.3, 0.2, 0.8, 0.7, 0.5, 1], [0.5, 0.3, 0.2, 0.8, 0.7, 0.5, 1]),
    "INHIBIT": ([1, -1, 1, 0, 2, 0, 1], [1, -1, 1, 0, 2, 0, 1]),
    "MAJ3": ([0, 0, 0, 1, 1, 1, 1], [0, 0, 0, 1, 1, 1, 1]),
}


def gate_agent(folder: Path, gate: str) -> Path:
    units, weights, constant = GATES[gate]
    n_inputs = len(units[0][0])
    hidden = (np.eye(n_inputs), np.zeros(n_inputs))
    middle = ([weight for weight, _ in units], [bias for _, bias in units])
    output = ([weights, [0.0] * len(weights)], [constant - 0.5, 0.0])  # action 0 where the margin is above a half
    return planted_agent(folder, [hidden, middle, output])


def swept_effects(path: Path) -> dict[str, np.ndarray]:
    """Direction to the effects over the data set, in the order of the experiments."""
    with runs_of_sweep(path) as runs:
        clusters = clusters_of(runs.ids, {}, "input", where=path)
        return {
            direction: gather_metrics(one, clusters.of_input, clusters.count).effects
            for direction, one in runs.directions.items()
        }


def sweep(path: Path, agent: Path, clean: Any, corrupted: Any, engine: str = "auto", **more: Any) -> Path:
    experiment = open_agent(agent, engine=engine)
    plan = plan_sweep(experiment, clean=clean, corrupted=corrupted, **more)
    write_sweep(path, experiment, plan, metadata=experiment.metadata(plan.decisive, command={}))
    return path


def arrays_of(path: Path) -> dict[str, np.ndarray]:
    with np.load(path) as stored:
        return {name: stored[name] for name in stored.files if name != "__metadata__"}


@pytest.mark.parametrize("engine", ["numpy", "torch"])
@pytest.mark.parametrize("gate", GATES)
def test_planted_gates_give_their_known_answers_in_both_directions(gate: str, engine: str, tmp_path: Path) -> None:
    agent = gate_agent(tmp_path / gate, gate)
    n = len(GATES[gate][0][0][0])
    sets = [{"q_net.0": list(chosen)} for size in range(1, n + 1) for chosen in combinations(range(n), size)]
    path = sweep(tmp_path / "s.npz", agent, np.ones((1, n)), np.zeros((1, n)), engine, definitions=sets)
    effects = swept_effects(path)
    assert effects["denoising"] == pytest.approx(ANSWERS[gate][0], abs=1e-6)
    assert effects["noising"] == pytest.approx(ANSWERS[gate][1], abs=1e-6)


@pytest.fixture(scope="module")
def agent(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return mlp_agent(tmp_path_factory.mktemp("sweeps") / "agent", width=5, net_arch=[9, 7], seed=3)


@pytest.fixture(scope="module")
def pairs() -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(0)
    clean, corrupted = random.uniform(-9, 9, (2, 70, 5)).astype(np.float32)
    return clean, corrupted


def test_a_sweep_equals_the_slow_definition(agent: Path, pairs: tuple[np.ndarray, np.ndarray], tmp_path: Path) -> None:
    clean, corrupted = (inputs[:3] for inputs in pairs)
    found = arrays_of(sweep(tmp_path / "s.npz", agent, clean, corrupted))
    experiment = open_agent(agent)
    weights = mlp_weights(experiment.agent_zip.tensors)
    assert found["denoising_q_net.0"].shape == (3, 9, 3)
    for layer in ("q_net.0", "q_net.2"):
        for direction, target, source in (("denoising", corrupted, clean), ("noising", clean, corrupted)):
            for row in range(3):
                values = run_one(weights, source[row], {})[layer]
                for neuron in range(len(values)):
                    expected = run_one(weights, target[row], {layer: {neuron: values[neuron]}})["q_net.4"]
                    assert found[f"{direction}_{layer}"][row, neuron] == pytest.approx(expected, rel=1e-12, abs=1e-12)


def test_the_damage_of_a_set_is_one_less_the_recovery_of_the_rest(
    agent: Path, pairs: tuple[np.ndarray, np.ndarray], tmp_path: Path
) -> None:
    for layer, width in (("q_net.0", 9), ("q_net.1", 9), ("q_net.2", 7), ("q_net.3", 7)):
        some = [[0], [1, 4], [2, 3, 5, 6]]
        rests = [[neuron for neuron in range(width) if neuron not in chosen] for chosen in some]
        definitions = [{layer: chosen} for chosen in [*some, *rests]]
        effects = swept_effects(sweep(tmp_path / f"{layer}.npz", agent, *pairs, definitions=definitions))
        assert effects["noising"][:3] == pytest.approx(1 - effects["denoising"][3:], abs=1e-12)
        assert np.abs(effects["noising"]).max() > 0.01


@pytest.mark.parametrize("layer", ["q_net.2", "q_net.3"])
def test_single_effects_in_the_last_hidden_layer_sum_to_one(
    layer: str, agent: Path, pairs: tuple[np.ndarray, np.ndarray], tmp_path: Path
) -> None:
    definitions = [{layer: [neuron]} for neuron in range(7)]
    for effects in swept_effects(sweep(tmp_path / "s.npz", agent, *pairs, definitions=definitions)).values():
        assert effects.sum() == pytest.approx(1, abs=1e-12)


@pytest.mark.parametrize("engine", ["numpy", "torch"])
def test_a_linear_and_the_relu_behind_it_are_one_place(
    engine: str, agent: Path, pairs: tuple[np.ndarray, np.ndarray], tmp_path: Path
) -> None:
    definitions = [{layer: [neuron]} for layer in ("q_net.0", "q_net.1") for neuron in range(9)]
    found = arrays_of(sweep(tmp_path / "s.npz", agent, *pairs, engine, definitions=definitions))
    for direction in ("denoising", "noising"):
        assert np.array_equal(found[f"{direction}_q_net.0"], found[f"{direction}_q_net.1"])


def test_both_engines_give_the_same_sweep(agent: Path, pairs: tuple[np.ndarray, np.ndarray], tmp_path: Path) -> None:
    definitions = [{"q_net.0": [3]}, {"q_net.2": "all"}, {"q_net.0": [1, 2], "q_net.3": [0]}, {"q_net.0": [0]}]
    fast, hooks = (
        arrays_of(sweep(tmp_path / f"{engine}.npz", agent, *pairs, engine, definitions=definitions))
        for engine in ("numpy", "torch")
    )
    assert fast.keys() == hooks.keys()
    assert "denoising_q_net.0+q_net.3" in fast
    assert fast["noising_q_net.0"].shape == (70, 2, 3)
    for name, array in fast.items():
        assert array == pytest.approx(hooks[name], rel=1e-12, abs=1e-12), name


def test_batched_hooks_equal_one_patch_after_the_other(agent: Path, pairs: tuple[np.ndarray, np.ndarray]) -> None:
    experiment = open_agent(agent, engine="torch")
    clean, corrupted = (experiment.inputs(inputs[:33]).observations for inputs in pairs)
    source = experiment.network.activations(clean, ["q_net.0", "q_net.2"])
    patches: list[Any] = [{"q_net.0": (1, 2), "q_net.2": (0,)}, {"q_net.0": "all", "q_net.2": (3, 1)}]
    batched = patched_many(experiment.network, corrupted, source, patches)
    for patch, found in zip(patches, batched, strict=True):
        alone, _ = patched(experiment.network, corrupted, source, patch)
        assert np.array_equal(alone, found)


def test_channels_of_a_cnn_go_by_hooks_and_the_reason_is_reported(tmp_path: Path) -> None:
    space = spaces.Box(0, 255, (1, 36, 36), np.uint8)
    folder = save_dqn(tmp_path / "cnn", new_dqn(space, policy="CnnPolicy", n_actions=2, net_arch=[4]))
    experiment = open_agent(folder)
    assert experiment.engine == "torch"
    assert experiment.dtype == "float64"
    assert experiment.engine_reason == "layer features_extractor.cnn.0: found a convolution"
    conv = "features_extractor.cnn.4"
    assert conv in hidden_layers(experiment)
    clean, corrupted = np.random.default_rng(0).integers(0, 256, (2, 3, 1, 36, 36), np.uint8)
    definitions = [{conv: [2]}, {conv: [0, 5]}, {conv: "all"}]
    plan = plan_sweep(experiment, clean=clean, corrupted=corrupted, definitions=definitions)
    path = tmp_path / "s.npz"
    write_sweep(path, experiment, plan, metadata=experiment.metadata(plan.decisive, command={}))
    found = arrays_of(path)
    source = experiment.activations(clean, layers=[conv])
    target = experiment.inputs(corrupted).observations
    for number, patch in enumerate(definitions):
        expected, _ = patched(experiment.network, target, source, experiment.layer_table.resolve(patch))
        assert found[f"denoising_{conv}"][:, number] == pytest.approx(expected, rel=1e-12)
    assert found[f"denoising_{conv}"][:, 2] == pytest.approx(found["clean_q_values"], rel=1e-10)


def test_dead_and_constant_neurons_are_flagged_and_move_nothing_at_all(tmp_path: Path) -> None:
    """Neuron 0 copies the input, 1 is below zero always, 2 is constant."""
    layers = [([[1.0], [-1.0], [0.0]], [0.0, -20.0, 2.0]), ([[1.0, 5.0, 3.0], [0.0, 0.0, 0.0]], [0.0, 7.0])]
    agent = planted_agent(tmp_path / "agent", layers)
    for engine in ("numpy", "torch"):
        path = sweep(tmp_path / f"{engine}.npz", agent, np.array([[2.0], [4.0]]), np.array([[-2.0], [0.5]]), engine)
        with opened_sweep(path) as stored:
            assert stored.flags("denoising") == stored.flags("noising") == ["", "dead", "constant"]
            assert stored.header.metadata["cannot_matter"] == {"denoising": 2, "noising": 2}
        found = arrays_of(path)
        for neuron in (1, 2):
            assert np.array_equal(found["noising_q_net.0"][:, neuron], found["clean_q_values"])
        effects = swept_effects(path)
        assert effects["noising"][1:].tolist() == [0.0, 0.0]


def test_the_noise_of_a_forward_pass_does_not_reach_what_cannot_matter(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neuron 0 copies the input, 1 is below zero always, 2 is constant."""
    layers = [([[1.0], [-1.0], [0.0]], [0.0, -20.0, 2.0]), ([[1.0, 5.0, 3.0], [0.0, 0.0, 0.0]], [0.0, 7.0])]
    agent = planted_agent(tmp_path / "agent", layers)
    usual = NumpyNetwork.patched_many
    monkeypatch.setattr(NumpyNetwork, "patched_many", lambda *of, **more: np.add(usual(*of, **more), [1e-9, 0]))
    path = sweep(tmp_path / "s.npz", agent, np.array([[2.0], [4.0]]), np.array([[-2.0], [0.5]]))
    found = arrays_of(path)
    for direction, target in (("denoising", "corrupted"), ("noising", "clean")):
        assert not np.array_equal(found[f"{direction}_q_net.0"][:, 0], found[f"{target}_q_values"])
        for neuron in (1, 2):
            assert np.array_equal(found[f"{direction}_q_net.0"][:, neuron], found[f"{target}_q_values"])
    assert swept_effects(path)["noising"][1:].tolist() == [0.0, 0.0]


@pytest.mark.parametrize("layer", ["q_net.0", "q_net.1"])
def test_dead_is_what_never_passes_its_relu_and_constant_what_passes_it_alike(layer: str, tmp_path: Path) -> None:
    """0 copies, 1 is below zero always and varies, 2 there alike, 3 above alike, 4 above where the runs agree only."""
    hidden = ([[1.0, 0.0], [-1.0, 0.0], [0.0, 0.0], [0.0, 0.0], [0.0, 1.0]], [0.0, -20.0, -3.0, 2.0, 0.0])
    agent = planted_agent(tmp_path / "agent", [hidden, ([[1.0] * 5, [0.0] * 5], [0.0, 5.5])])
    clean, corrupted = np.array([[2.0, 1.0], [4.0, -1.0]]), np.array([[1.0, 1.0], [0.5, -2.0]])
    patches = [{layer: [neuron]} for neuron in range(5)] + [{layer: [1, 2]}, {layer: [2, 3]}]
    for engine in ("numpy", "torch"):
        path = sweep(tmp_path / f"{engine}.npz", agent, clean, corrupted, engine, definitions=patches)
        with opened_sweep(path) as stored:
            assert stored.flags("denoising") == ["", "dead", "dead", "constant", "constant", "dead", "constant"]
            assert stored.flags("noising") == stored.flags("denoising")
        assert swept_effects(path)["noising"][1:].tolist() == [0.0] * 6


@pytest.mark.parametrize("size", [1, 7, 70])
def test_the_bits_do_not_depend_on_how_many_inputs_are_taken_at_once(
    size: int, agent: Path, pairs: tuple[np.ndarray, np.ndarray], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = arrays_of(sweep(tmp_path / "whole.npz", agent, *pairs))
    some = arrays_of(sweep(tmp_path / "some.npz", agent, *(inputs[:size] for inputs in pairs)))
    for name, array in some.items():
        if not name.endswith("_flags"):
            assert np.array_equal(array, whole[name][:size]), name
    monkeypatch.setattr(sweeps, "BLOCK_BYTES", 1)
    in_blocks = sweep(tmp_path / "blocks.npz", agent, *pairs)
    assert in_blocks.read_bytes() == (tmp_path / "whole.npz").read_bytes()


def test_memory_does_not_grow_with_the_pairs(agent: Path, tmp_path: Path) -> None:
    """Only one block of inputs is in memory at a time, besides the inputs and their own Q-values."""
    import tracemalloc

    experiment = open_agent(agent)
    clean, corrupted = np.random.default_rng(0).uniform(-9, 9, (2, 30_000, 5)).astype(np.float32)
    inputs = {"clean": experiment.inputs(clean), "corrupted": experiment.inputs(corrupted)}
    plan = plan_sweep(experiment, **inputs)
    path = tmp_path / "s.npz"
    tracemalloc.start()
    write_sweep(path, experiment, plan, metadata=experiment.metadata(plan.decisive, command={}))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert path.stat().st_size > 20_000_000
    assert peak < 32_000_000


def test_an_ablation_keeps_the_pair_and_takes_the_neurons_out(
    agent: Path, pairs: tuple[np.ndarray, np.ndarray], tmp_path: Path
) -> None:
    experiment = open_agent(agent)
    for ablation in ("zero", "mean", "resample", "noise=2", "constant=1.5"):
        seed = 4 if ablation in ("resample", "noise=2") else None
        plan = plan_sweep(experiment, clean=pairs[0], corrupted=pairs[1], ablate=ablation, seed=seed)
        assert plan.directions == ("noising",)
        assert plan.runs_by_direction["noising"] == {"source": f"ablation {ablation}", "target": "arrays"}
        path = tmp_path / f"{ablation}.npz"
        write_sweep(path, experiment, plan, metadata=experiment.metadata(plan.decisive, command={}))
        found = arrays_of(path)
        for number, patch in enumerate(single_neurons(experiment.layer_table, ["q_net.0", "q_net.2"])):
            if number not in (2, 12):
                continue
            (layer,) = patch
            target = plan.inputs["clean"].observations
            values = ablated_source(experiment, ablation, seed=4).values(experiment.network, target, list(plan.layers))
            expected, _ = patched(experiment.network, target, values, patch)
            assert found[f"noising_{layer}"][:, number % 9] == pytest.approx(expected, rel=1e-12), ablation
