"""Patches in numpy: against hooks on hundreds of random networks, the slow reference, invariants, known answers."""

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
from Neuron_Selection.PatchingTooling.agent.policy_arguments import ACTIVATIONS
from Neuron_Selection.PatchingTooling.numpy_network.network import NumpyNetwork
from tests import slow_reference
from tests.interventions import patched, patched_many, swept
from tests.made_agents import mlp_agent, planted_agent

Read = tuple[PatchingExperiment, NumpyNetwork]
FEATURES = "features_extractor.flatten"


def read(folder: Path, dtype: str = "float64") -> tuple[PatchingExperiment, NumpyNetwork]:
    experiment = PatchingExperiment(folder, dtype=dtype)
    return experiment, experiment.numpy_network


def rows(count: int, width: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(count, width)).astype(np.float32)


def arrays_of(network: NumpyNetwork) -> list[np.ndarray]:
    return [array for linear in network.linears for array in (linear.columns, linear.bias)]


def random_patch(network: NumpyNetwork, random: np.random.Generator) -> dict[str, Any]:
    """Some layers; of each all, one, a few or many neurons."""
    n_layers = int(random.integers(1, min(4, len(list(network.sites))) + 1))
    patch: dict[str, Any] = {}
    for name in random.choice(list(network.sites), n_layers, replace=False):
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
        recorded = [experiment.torch_network.activations(batch, list(network.sites)) for batch in (target, other)]
        scale = largest([*recorded[0].values(), *recorded[1].values()])
        for name, array in network.activations(target, list(network.sites)).items():
            assert np.abs(array - recorded[0][name]).max() <= accuracy * largest(recorded[0].values()), name
        together = patched_many(network, target, recorded[1], patches)
        for patch, q_values_of_patch in zip(patches, together, strict=True):
            expected, _ = patched(experiment.torch_network, target, recorded[1], patch)
            found, _ = patched(network, target, recorded[1], patch)
            assert np.abs(found - expected).max() <= accuracy * scale, patch
            assert np.abs(q_values_of_patch - found).max() <= 1e-14 * scale, patch
            differ = greedy_actions(found) != greedy_actions(expected)
            assert not (differ & ~near_ties(found)).any()


@pytest.fixture(scope="module")
def mlp(tmp_path_factory: pytest.TempPathFactory) -> tuple[PatchingExperiment, NumpyNetwork]:
    return read(mlp_agent(tmp_path_factory.mktemp("mlp"), net_arch=[20, 12]))


def test_patched_q_values_equal_the_slow_reference(mlp: Read) -> None:
    experiment, network = mlp
    weights = slow_reference.mlp_weights(experiment.agent_zip.tensors)
    target, source = rows(3, 4, 1), network.activations(rows(3, 4, 2), list(network.sites))
    random = np.random.default_rng(5)
    for _ in range(30):
        patch = random_patch(network, random)
        if FEATURES in patch:
            continue
        found, _ = patched(network, target, source, patch)
        for row in range(3):
            held = {
                layer: {n: float(source[layer][row, n]) for n in range(network.layers.widths[layer])
                        if neurons == "all" or n in neurons}
                for layer, neurons in patch.items()
            }  # fmt: skip
            assert np.abs(found[row] - slow_reference.run_one(weights, target[row], held)["q_net.4"]).max() <= 1e-14


def test_the_values_that_really_changed_are_counted_as_hooks_count_them(
    mlp: Read,
) -> None:
    experiment, network = mlp
    target, other = rows(9, 4, 1), rows(9, 4, 2)
    other[::3] = target[::3]  # there is nothing to change in these
    other[1, 2:] = target[1, 2:]
    fast, hooks = (of.activations(other, list(network.sites)) for of in (network, experiment.torch_network))
    random, counted = np.random.default_rng(3), 0
    for patch in [random_patch(network, random) for _ in range(60)]:
        _, found = patched(network, target, fast, patch)
        _, expected = patched(experiment.torch_network, target, hooks, patch)
        assert found.keys() == expected.keys()
        for layer, counts in expected.items():
            assert np.array_equal(found[layer], counts), patch
            counted += int(counts.sum())
    assert counted > 0


def test_nothing_is_left_to_change_behind_a_patch_that_already_made_the_run_the_source(
    mlp: Read,
) -> None:
    _, network = mlp
    target = rows(40, 4, 1)
    other = target.copy()
    other[:, :2] += 1.0
    source = network.activations(other, list(network.sites))
    _, changed = patched(network, target, source, {FEATURES: (0, 1), "q_net.2": "all"})
    assert changed[FEATURES].tolist() == [2] * 40
    assert changed["q_net.2"].tolist() == [0] * 40


def test_patching_a_network_with_its_own_activations_changes_nothing(
    mlp: Read,
) -> None:
    _, network = mlp
    target = rows(70, 4)
    own, baseline = network.activations(target, list(network.sites)), network.scores(target)
    random = np.random.default_rng(0)
    patches = [dict.fromkeys(list(network.sites), "all"), *(random_patch(network, random) for _ in range(40))]
    for patch in patches:
        found, changed = patched(network, target, own, patch)
        assert np.array_equal(found, baseline)
        assert not any(counts.any() for counts in changed.values())
    assert np.array_equal(patched_many(network, target, own, patches), np.repeat(baseline[None], len(patches), axis=0))
    for found in swept(network, target, own, list(network.sites)).values():
        assert (found == baseline).all()


def test_a_whole_layer_patch_gives_the_sources_q_values_bit_for_bit(
    mlp: Read,
) -> None:
    _, network = mlp
    target, other = rows(9, 4, 1), rows(9, 4, 2)
    source, expected = network.activations(other, list(network.sites)), network.scores(other)
    for layer in list(network.sites):
        every = tuple(range(network.layers.widths[layer]))
        for neurons in ("all", every, every[::-1]):
            assert np.array_equal(patched(network, target, source, {layer: neurons})[0], expected)


def test_a_layer_patched_as_a_whole_hides_every_patch_before_it(mlp: Read) -> None:
    _, network = mlp
    target, source = rows(9, 4, 1), network.activations(rows(9, 4, 2), list(network.sites))
    for position, layer in enumerate(list(network.sites)[1:], start=1):
        alone, _ = patched(network, target, source, {layer: "all"})
        for before in list(network.sites)[:position]:
            patches = [{before: (1, 3), layer: "all"}]
            both = patched_many(network, target, source, patches)
            assert np.array_equal(both[0], alone)


def test_single_effects_add_up_at_the_last_hidden_layer(mlp: Read) -> None:
    _, network = mlp
    target, source = rows(9, 4, 1), network.activations(rows(9, 4, 2), list(network.sites))
    baseline = network.scores(target)
    for layer in ("q_net.2", "q_net.3"):
        effects = swept(network, target, source, [layer])[layer] - baseline
        whole, _ = patched(network, target, source, {layer: "all"})
        assert np.abs(effects.sum(axis=0) - (whole - baseline)).max() <= 1e-14
    effects = swept(network, target, source, ["q_net.0"])["q_net.0"] - baseline
    whole, _ = patched(network, target, source, {"q_net.0": "all"})
    assert np.abs(effects.sum(axis=0) - (whole - baseline)).max() > 1e-3


@pytest.mark.parametrize("activation", [torch.nn.ReLU, torch.nn.Tanh])
@pytest.mark.parametrize("count", [1, 7, 2100])
def test_a_sweep_is_every_neuron_patched_alone(activation: type, count: int, tmp_path: Path) -> None:
    _, network = read(mlp_agent(tmp_path / "agent", net_arch=[40, 30, 1], activation_fn=activation))
    target, source = rows(count, 4, 1), network.activations(rows(count, 4, 2), list(network.sites))
    for layer, found in swept(network, target, source, list(network.sites)).items():
        width = network.layers.widths[layer]
        assert found.shape == (width, count, 3)
        for neuron in {0, width // 2, width - 1}:
            expected, _ = patched(network, target, source, {layer: (neuron,)})
            assert np.array_equal(found[neuron], expected)


def test_neither_order_nor_company_nor_grouping_changes_a_bit(tmp_path: Path) -> None:
    _, network = read(mlp_agent(tmp_path / "agent", net_arch=[51, 43]))
    count = network.buffer_rows + 13
    target, source = rows(count, 4, 1), network.activations(rows(count, 4, 2), list(network.sites))
    random = np.random.default_rng(0)
    patches = [random_patch(network, random) for _ in range(25)] + [{"q_net.1": (n,)} for n in range(51)]
    together = patched_many(network, target, source, patches)
    backwards = patched_many(network, target, source, patches[::-1])[::-1]
    assert np.array_equal(together, backwards)
    for taken in (np.array([5]), random.permutation(count)[:50], np.arange(count)[::-1]):
        part = {layer: array[taken] for layer, array in source.items()}
        assert np.array_equal(patched_many(network, target[taken], part, patches), together[:, taken])


def test_sparse_and_full_changes_are_one_computation(tmp_path: Path) -> None:
    _, network = read(mlp_agent(tmp_path / "agent", net_arch=[40, 30]))
    target, source = rows(90, 4, 1), network.activations(rows(90, 4, 2), list(network.sites))
    patches = [{"q_net.1": (neuron, neuron + 1)} for neuron in range(39)]
    full = patched_many(network, target, source, patches)
    own = network.activations(target, ["q_net.1"])["q_net.1"]
    keep = np.arange(90) % 5 > 0
    mostly_own = {"q_net.1": np.where(keep[:, None], own, source["q_net.1"])}
    sparse = patched_many(network, target, mostly_own, patches)
    assert np.array_equal(sparse[:, ~keep], full[:, ~keep])
    assert (sparse[:, keep] == network.scores(target)[keep]).all()


def test_an_and_gate_needs_both_of_its_inputs(tmp_path: Path) -> None:
    _, network = read(planted_agent(tmp_path / "and", [
        (np.eye(2), np.zeros(2)), ([[2.0, 2.0]], [-3.0]), ([[1.0], [0.0]], [0.0, 0.5]),
    ]))  # fmt: skip
    corrupted, clean = np.zeros((1, 2), np.float32), np.ones((1, 2), np.float32)
    source = network.activations(clean, list(network.sites))
    patches: list[Any] = [{"q_net.1": (0,)}, {"q_net.1": (1,)}, {"q_net.1": (0, 1)}]
    margins = patched_many(network, corrupted, source, patches)[:, 0, 0]
    assert margins.tolist() == [0.0, 0.0, 1.0]
    into_clean = network.activations(corrupted, list(network.sites))
    assert patched_many(network, clean, into_clean, patches)[:, 0, 0].tolist() == [0.0, 0.0, 0.0]


def test_a_patch_of_no_neuron_changes_nothing(mlp: Read) -> None:
    _, network = mlp
    target, source = rows(3, 4, 1), network.activations(rows(3, 4, 2), list(network.sites))
    found, changed = patched(network, target, source, {"q_net.1": ()})
    assert np.array_equal(found, network.scores(target))
    assert changed["q_net.1"].tolist() == [0, 0, 0]


def test_patching_writes_into_no_array_that_others_hold(mlp: Read) -> None:
    _, network = mlp
    target, source = rows(9, 4, 1), network.activations(rows(9, 4, 2), list(network.sites))
    kept = {layer: array.copy() for layer, array in source.items()}
    weights = [array.copy() for array in arrays_of(network)]
    patched_many(network, target, source, [{"q_net.0": (1,), "q_net.3": "all"}, {"q_net.1": "all"}])
    swept(network, target, source, list(network.sites))
    assert all(np.array_equal(source[layer], array) for layer, array in kept.items())
    assert all(map(np.array_equal, arrays_of(network), weights))
