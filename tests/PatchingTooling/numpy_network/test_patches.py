"""Patches in numpy: against hooks on hundreds of random networks, the slow reference, laws, known answers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from Neuron_Selection.AnalysisTooling.measures.decisions import greedy_actions, near_ties
from Neuron_Selection.PatchingTooling import PatchingExperiment
from Neuron_Selection.PatchingTooling.agent.architecture import ACTIVATIONS
from Neuron_Selection.PatchingTooling.numpy_network.mlp import FastMlp, compute_q_values, fast_mlp, record_activations
from Neuron_Selection.PatchingTooling.numpy_network.patches import (
    compute_patched_q_values,
    compute_q_values_of_patches,
    sweep_neurons,
)
from Neuron_Selection.PatchingTooling.torch_network import q_values
from tests import slow_reference
from tests.made_agents import mlp_agent, planted_agent


def read(folder: Path, dtype: str = "float64") -> tuple[PatchingExperiment, FastMlp]:
    experiment = PatchingExperiment(folder, dtype=dtype)
    return experiment, fast_mlp(experiment.agent_zip, experiment.architecture)


def rows(count: int, width: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(count, width)).astype(np.float32)


def random_patch(network: FastMlp, random: np.random.Generator) -> dict[str, Any]:
    """Some layers; of each all, one, a few or many neurons."""
    n_layers = int(random.integers(1, min(4, len(network.names)) + 1))
    patch: dict[str, Any] = {}
    for name in random.choice(network.names, n_layers, replace=False):
        width = network.layers.widths[str(name)]
        many = int(random.choice([1, 2, max(1, width // 3), width]))
        chosen = tuple(int(neuron) for neuron in random.permutation(width)[:many])
        patch[str(name)] = "all" if random.random() < 0.15 else chosen
    return patch


def largest(arrays: Any) -> float:
    return max(float(np.abs(array).max()) for array in arrays)


@settings(max_examples=250, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    seed=st.integers(0, 2**31),
    n_inputs=st.integers(1, 60),
    widths=st.lists(st.integers(1, 300), max_size=3),
    activation=st.sampled_from(sorted(ACTIVATIONS)),
    count=st.sampled_from([1, 2, 9, 65]),
)
def test_patched_q_values_are_those_of_hooks_on_random_networks(
    seed: int, n_inputs: int, widths: list[int], activation: str, count: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = mlp_agent(
        tmp_path_factory.mktemp("net"), width=n_inputs, net_arch=widths, seed=seed,
        activation_fn=getattr(torch.nn, activation), n_actions=2 + seed % 6,
    )  # fmt: skip
    random = np.random.default_rng(seed)
    double, network = read(folder)
    single, _ = read(folder, "float32")
    target, other = (random.normal(size=(count, n_inputs)).astype(np.float32) for _ in range(2))
    patches = [random_patch(network, random) for _ in range(3)]
    together = None
    for experiment, accuracy in ((double, 1e-12), (single, 1e-6)):
        recorded = [q_values.record_activations(experiment.agent, batch, network.names) for batch in (target, other)]
        scale = largest([*recorded[0].values(), *recorded[1].values()])
        for name, array in record_activations(network, target, network.names).items():
            assert np.abs(array - recorded[0][name]).max() <= accuracy * largest(recorded[0].values()), name
        together = compute_q_values_of_patches(network, target, recorded[1], patches)
        for patch, q_values_of_patch in zip(patches, together, strict=True):
            expected, _ = q_values.compute_patched_q_values(experiment.agent, target, recorded[1], patch)
            found, _ = compute_patched_q_values(network, target, recorded[1], patch)
            assert np.abs(found - expected).max() <= accuracy * scale, patch
            assert np.abs(q_values_of_patch - found).max() <= 1e-14 * scale, patch
            differ = greedy_actions(found) != greedy_actions(expected)
            assert not (differ & ~near_ties(found)).any()


@pytest.fixture(scope="module")
def mlp(tmp_path_factory: pytest.TempPathFactory) -> tuple[PatchingExperiment, FastMlp]:
    return read(mlp_agent(tmp_path_factory.mktemp("mlp"), net_arch=[20, 12]))


def test_patched_q_values_equal_the_slow_reference(mlp: tuple[PatchingExperiment, FastMlp]) -> None:
    experiment, network = mlp
    weights = slow_reference.mlp_weights(experiment.agent_zip.tensors)
    target, source = rows(3, 4, 1), record_activations(network, rows(3, 4, 2), network.names)
    random = np.random.default_rng(5)
    for _ in range(30):
        patch = random_patch(network, random)
        if network.names[0] in patch:
            continue
        found, _ = compute_patched_q_values(network, target, source, patch)
        for row in range(3):
            held = {
                layer: {n: float(source[layer][row, n]) for n in range(network.layers.widths[layer])
                        if neurons == "all" or n in neurons}
                for layer, neurons in patch.items()
            }  # fmt: skip
            assert np.abs(found[row] - slow_reference.run_one(weights, target[row], held)["q_net.4"]).max() <= 1e-14


def test_the_values_that_really_changed_are_counted_as_hooks_count_them(
    mlp: tuple[PatchingExperiment, FastMlp],
) -> None:
    experiment, network = mlp
    target, other = rows(9, 4, 1), rows(9, 4, 2)
    other[::3] = target[::3]  # there is nothing to change in these
    other[1, 2:] = target[1, 2:]
    fast, hooks = record_activations(network, other, network.names), q_values.record_activations(
        experiment.agent, other, network.names
    )  # fmt: skip
    random, counted = np.random.default_rng(3), 0
    for patch in [random_patch(network, random) for _ in range(60)]:
        _, found = compute_patched_q_values(network, target, fast, patch)
        _, expected = q_values.compute_patched_q_values(experiment.agent, target, hooks, patch)
        assert found.keys() == expected.keys()
        for layer, counts in expected.items():
            assert np.array_equal(found[layer], counts), patch
            counted += int(counts.sum())
    assert counted > 0


def test_nothing_is_left_to_change_behind_a_patch_that_already_made_the_run_the_source(
    mlp: tuple[PatchingExperiment, FastMlp],
) -> None:
    _, network = mlp
    target = rows(40, 4, 1)
    other = target.copy()
    other[:, :2] += 1.0
    source = record_activations(network, other, network.names)
    _, changed = compute_patched_q_values(network, target, source, {network.names[0]: (0, 1), "q_net.2": "all"})
    assert changed[network.names[0]].tolist() == [2] * 40
    assert changed["q_net.2"].tolist() == [0] * 40


def test_patching_a_network_with_its_own_activations_changes_nothing(mlp: tuple[PatchingExperiment, FastMlp]) -> None:
    _, network = mlp
    target = rows(70, 4)
    own, baseline = record_activations(network, target, network.names), compute_q_values(network, target)
    random = np.random.default_rng(0)
    patches = [dict.fromkeys(network.names, "all"), *(random_patch(network, random) for _ in range(40))]
    for patch in patches:
        patched, changed = compute_patched_q_values(network, target, own, patch)
        assert np.array_equal(patched, baseline)
        assert not any(counts.any() for counts in changed.values())
    assert np.array_equal(
        compute_q_values_of_patches(network, target, own, patches), np.repeat(baseline[None], len(patches), axis=0)
    )
    for swept in sweep_neurons(network, target, own, network.names).values():
        assert (swept == baseline).all()


def test_a_whole_layer_patch_gives_the_sources_q_values_bit_for_bit(mlp: tuple[PatchingExperiment, FastMlp]) -> None:
    _, network = mlp
    target, other = rows(9, 4, 1), rows(9, 4, 2)
    source, expected = record_activations(network, other, network.names), compute_q_values(network, other)
    for layer in network.names:
        every = tuple(range(network.layers.widths[layer]))
        for neurons in ("all", every, every[::-1]):
            assert np.array_equal(compute_patched_q_values(network, target, source, {layer: neurons})[0], expected)


def test_a_layer_patched_as_a_whole_hides_every_patch_before_it(mlp: tuple[PatchingExperiment, FastMlp]) -> None:
    _, network = mlp
    target, source = rows(9, 4, 1), record_activations(network, rows(9, 4, 2), network.names)
    for position, layer in enumerate(network.names[1:], start=1):
        alone, _ = compute_patched_q_values(network, target, source, {layer: "all"})
        for before in network.names[:position]:
            patches = [{before: (1, 3), layer: "all"}]
            both = compute_q_values_of_patches(network, target, source, patches)
            assert np.array_equal(both[0], alone)


def test_single_effects_add_up_at_the_last_hidden_layer(mlp: tuple[PatchingExperiment, FastMlp]) -> None:
    _, network = mlp
    target, source = rows(9, 4, 1), record_activations(network, rows(9, 4, 2), network.names)
    baseline = compute_q_values(network, target)
    for layer in ("q_net.2", "q_net.3"):
        effects = sweep_neurons(network, target, source, [layer])[layer] - baseline
        whole, _ = compute_patched_q_values(network, target, source, {layer: "all"})
        assert np.abs(effects.sum(axis=0) - (whole - baseline)).max() <= 1e-14
    effects = sweep_neurons(network, target, source, ["q_net.0"])["q_net.0"] - baseline
    whole, _ = compute_patched_q_values(network, target, source, {"q_net.0": "all"})
    assert np.abs(effects.sum(axis=0) - (whole - baseline)).max() > 1e-3


@pytest.mark.parametrize("activation", [torch.nn.ReLU, torch.nn.Tanh])
@pytest.mark.parametrize("count", [1, 7, 2100])
def test_a_sweep_is_every_neuron_patched_alone(activation: type, count: int, tmp_path: Path) -> None:
    _, network = read(mlp_agent(tmp_path / "agent", net_arch=[40, 30, 1], activation_fn=activation))
    target, source = rows(count, 4, 1), record_activations(network, rows(count, 4, 2), network.names)
    swept = sweep_neurons(network, target, source, network.names)
    for layer, found in swept.items():
        width = network.layers.widths[layer]
        assert found.shape == (width, count, 3)
        for neuron in {0, width // 2, width - 1}:
            expected, _ = compute_patched_q_values(network, target, source, {layer: (neuron,)})
            assert np.array_equal(found[neuron], expected)


def test_neither_order_nor_company_nor_grouping_changes_a_bit(tmp_path: Path) -> None:
    _, network = read(mlp_agent(tmp_path / "agent", net_arch=[51, 43]))
    count = network.buffer_rows + 13
    target, source = rows(count, 4, 1), record_activations(network, rows(count, 4, 2), network.names)
    random = np.random.default_rng(0)
    patches = [random_patch(network, random) for _ in range(25)] + [{"q_net.1": (n,)} for n in range(51)]
    together = compute_q_values_of_patches(network, target, source, patches)
    backwards = compute_q_values_of_patches(network, target, source, patches[::-1])[::-1]
    assert np.array_equal(together, backwards)
    for taken in (np.array([5]), random.permutation(count)[:50], np.arange(count)[::-1]):
        part = {layer: array[taken] for layer, array in source.items()}
        assert np.array_equal(compute_q_values_of_patches(network, target[taken], part, patches), together[:, taken])


def test_sparse_and_full_changes_are_one_computation(tmp_path: Path) -> None:
    _, network = read(mlp_agent(tmp_path / "agent", net_arch=[40, 30]))
    target, source = rows(90, 4, 1), record_activations(network, rows(90, 4, 2), network.names)
    patches = [{"q_net.1": (neuron, neuron + 1)} for neuron in range(39)]
    full = compute_q_values_of_patches(network, target, source, patches)
    own = record_activations(network, target, ["q_net.1"])["q_net.1"]
    keep = np.arange(90) % 5 > 0
    mostly_own = {"q_net.1": np.where(keep[:, None], own, source["q_net.1"])}
    sparse = compute_q_values_of_patches(network, target, mostly_own, patches)
    assert np.array_equal(sparse[:, ~keep], full[:, ~keep])
    assert (sparse[:, keep] == compute_q_values(network, target)[keep]).all()


def test_an_and_gate_needs_both_of_its_inputs(tmp_path: Path) -> None:
    _, network = read(planted_agent(tmp_path / "and", [
        (np.eye(2), np.zeros(2)), ([[2.0, 2.0]], [-3.0]), ([[1.0], [0.0]], [0.0, 0.5]),
    ]))  # fmt: skip
    corrupted, clean = np.zeros((1, 2), np.float32), np.ones((1, 2), np.float32)
    source = record_activations(network, clean, network.names)
    patches: list[Any] = [{"q_net.1": (0,)}, {"q_net.1": (1,)}, {"q_net.1": (0, 1)}]
    margins = compute_q_values_of_patches(network, corrupted, source, patches)[:, 0, 0]
    assert margins.tolist() == [0.0, 0.0, 1.0]
    into_clean = record_activations(network, corrupted, network.names)
    assert compute_q_values_of_patches(network, clean, into_clean, patches)[:, 0, 0].tolist() == [0.0, 0.0, 0.0]


def test_a_patch_of_no_neuron_changes_nothing(mlp: tuple[PatchingExperiment, FastMlp]) -> None:
    _, network = mlp
    target, source = rows(3, 4, 1), record_activations(network, rows(3, 4, 2), network.names)
    patched, changed = compute_patched_q_values(network, target, source, {"q_net.1": ()})
    assert np.array_equal(patched, compute_q_values(network, target))
    assert changed["q_net.1"].tolist() == [0, 0, 0]


def test_patching_writes_into_no_array_that_others_hold(mlp: tuple[PatchingExperiment, FastMlp]) -> None:
    _, network = mlp
    target, source = rows(9, 4, 1), record_activations(network, rows(9, 4, 2), network.names)
    kept = {layer: array.copy() for layer, array in source.items()}
    weights = [array.copy() for array in (*network.columns, *network.biases)]
    compute_q_values_of_patches(network, target, source, [{"q_net.0": (1,), "q_net.3": "all"}, {"q_net.1": "all"}])
    sweep_neurons(network, target, source, network.names)
    assert all(np.array_equal(source[layer], array) for layer, array in kept.items())
    assert all(map(np.array_equal, (*network.columns, *network.biases), weights))
