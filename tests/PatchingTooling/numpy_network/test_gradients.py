"""Gradients in numpy: against autograd, finite differences, invariants."""

from __future__ import annotations

import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from Neuron_Selection.errors import UsageError
from Neuron_Selection.PatchingTooling import PatchingExperiment
from Neuron_Selection.PatchingTooling.agent.network import margin_weights
from Neuron_Selection.PatchingTooling.agent.policy_arguments import ACTIVATIONS
from Neuron_Selection.PatchingTooling.numpy_network.gradients import iterate_weight_gradients
from Neuron_Selection.PatchingTooling.numpy_network.network import NumpyNetwork
from tests.interventions import patched
from tests.made_agents import mlp_agent
from tests.raised import raises


def read(folder: Path) -> tuple[PatchingExperiment, NumpyNetwork]:
    experiment = PatchingExperiment(folder, dtype="float64")
    return experiment, experiment.numpy_network


def rows(count: int, width: int = 4, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(count, width)).astype(np.float32)


def autograd(experiment: PatchingExperiment, observation: np.ndarray, q_weights: np.ndarray) -> dict[str, np.ndarray]:
    """Every parameter's gradient for one input, by torch."""
    q_net = experiment.torch_network.module
    tensors, _ = experiment.torch_network.policy.obs_to_tensor(observation[None])
    q_net.zero_grad()
    (q_net(tensors)[0] * torch.from_numpy(q_weights)).sum().backward()
    return {name: parameter.grad.numpy().copy() for name, parameter in q_net.named_parameters()}


def stacked(
    network: NumpyNetwork, observations: np.ndarray, q_weights: np.ndarray, dtype: Any = np.float64
) -> dict[str, np.ndarray]:
    """Every input's gradients at once."""
    parts: dict[str, list[np.ndarray]] = {}
    seen: dict[str, list[int]] = {}
    for which, name, gradients in iterate_weight_gradients(network, observations, q_weights, dtype=np.dtype(dtype)):
        parts.setdefault(name, []).append(gradients.copy())
        seen.setdefault(name, []).extend(range(which.start, which.stop))
    assert all(indices == list(range(len(observations))) for indices in seen.values())
    return {name: np.concatenate(arrays) for name, arrays in parts.items()}


@pytest.mark.parametrize("activation", sorted(ACTIVATIONS - {"PReLU"}))
def test_every_inputs_gradients_are_those_of_autograd(activation: str, tmp_path: Path) -> None:
    activation_fn = getattr(torch.nn, activation)
    experiment, network = read(mlp_agent(tmp_path / "agent", net_arch=[11, 6, 5], activation_fn=activation_fn))
    observations, q_weights = rows(4), np.random.default_rng(1).normal(size=(4, 3))
    found = stacked(network, observations, q_weights)
    accuracy = 1e-6 if activation == "Hardsigmoid" else 1e-12  # torch's own sixth is a float32
    for row in range(4):
        expected = autograd(experiment, observations[row], q_weights[row])
        assert found.keys() == expected.keys()
        for name, array in expected.items():
            assert np.abs(found[name][row] - array).max() <= accuracy * max(np.abs(array).max(), 1e-6), name


@pytest.mark.parametrize("count", [1, 7, 600])
def test_the_mean_magnitude_is_the_mean_of_every_inputs_magnitudes(count: int, tmp_path: Path) -> None:
    _, network = read(mlp_agent(tmp_path / "agent", net_arch=[30, 20]))
    observations = rows(count)
    q_weights = margin_weights(np.arange(count) % 3, (np.arange(count) + 1) % 3, 3)
    means = network.mean_gradients(observations, q_weights, magnitudes=True)
    for name, gradients in stacked(network, observations, q_weights).items():
        assert means[name].shape == gradients.shape[1:]
        assert np.allclose(means[name], np.abs(gradients).mean(axis=0), rtol=1e-12, atol=1e-16)
        assert (means[name] > 0).any()


def test_every_inputs_gradients_sum_to_the_batchs_gradient(tmp_path: Path) -> None:
    experiment, network = read(mlp_agent(tmp_path / "agent", net_arch=[30, 20], activation_fn=torch.nn.Tanh))
    observations, q_weights = rows(150), np.random.default_rng(1).normal(size=(150, 3))
    q_net = experiment.torch_network.module
    q_net.zero_grad()
    tensors, _ = experiment.torch_network.policy.obs_to_tensor(observations)
    (q_net(tensors) * torch.from_numpy(q_weights)).sum().backward()
    for name, gradients in stacked(network, observations, q_weights).items():
        expected = q_net.get_parameter(name).grad.numpy()
        assert np.allclose(gradients.sum(axis=0), expected, rtol=1e-11, atol=1e-13)


def test_layer_gradients_are_finite_differences_of_patches(tmp_path: Path) -> None:
    _, network = read(mlp_agent(tmp_path / "agent", net_arch=[9, 7], activation_fn=torch.nn.SiLU))
    observations, q_weights, step = rows(5), np.random.default_rng(1).normal(size=(5, 3)), 1e-6
    gradients = network.layer_gradients(observations, q_weights, list(network.sites))
    run = network.activations(observations, list(network.sites))
    for layer, array in gradients.items():
        for neuron in range(network.layers.widths[layer]):
            sides = []
            for sign in (1, -1):
                moved = {layer: run[layer].copy()}
                moved[layer][:, neuron] += sign * step
                q_values, _ = patched(network, observations, moved, {layer: (neuron,)})
                sides.append((q_values * q_weights).sum(axis=1))
            assert np.allclose(array[:, neuron], (sides[0] - sides[1]) / (2 * step), rtol=1e-5, atol=1e-8), layer


def test_gradients_of_the_last_activation_tell_every_patch_of_it_exactly(tmp_path: Path) -> None:
    _, network = read(mlp_agent(tmp_path / "agent", net_arch=[9, 7]))
    target, source = rows(6), network.activations(rows(6, seed=1), list(network.sites))
    q_weights = margin_weights(np.zeros(6, np.int64), np.ones(6, np.int64), 3)
    (gradient,) = network.layer_gradients(target, q_weights, ["q_net.3"]).values()
    own = network.activations(target, ["q_net.3"])["q_net.3"]
    found, _ = patched(network, target, source, {"q_net.3": "all"})
    effect = ((found - network.scores(target)) * q_weights).sum(axis=1)
    assert np.allclose(((source["q_net.3"] - own) * gradient).sum(axis=1), effect, rtol=1e-11, atol=1e-14)


def test_gradients_in_single_precision_are_the_double_ones_rounded_twice(tmp_path: Path) -> None:
    _, network = read(mlp_agent(tmp_path / "agent", net_arch=[64, 48]))
    observations, q_weights = rows(300), np.random.default_rng(1).normal(size=(300, 3))
    double = stacked(network, observations, q_weights)
    for name, array in stacked(network, observations, q_weights, dtype=np.float32).items():
        assert array.dtype == np.float32
        assert np.allclose(array, double[name], rtol=3e-7, atol=0)  # 1.2e-7 for both factors and for their product


def test_memory_does_not_grow_with_the_number_of_inputs(tmp_path: Path) -> None:
    _, network = read(mlp_agent(tmp_path / "agent", net_arch=[64, 64]))
    peaks = []
    for count in (2_000, 8_000):
        observations, q_weights = rows(count), np.ones((count, 3))
        tracemalloc.start()
        for _ in iterate_weight_gradients(network, observations, q_weights, dtype=np.dtype("float64")):
            pass
        network.mean_gradients(observations, q_weights, magnitudes=True)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 1.1 * peaks[0] < 32e6


def test_a_margin_is_ahead_less_behind() -> None:
    ahead, behind = np.array([0, 2]), np.array([1, 2])
    assert margin_weights(ahead, None, 3).tolist() == [[1, 0, 0], [0, 0, 1]]
    assert margin_weights(ahead, behind, 3).tolist() == [[1, -1, 0], [0, 0, 0]]


def test_weights_of_another_shape_are_refused(tmp_path: Path) -> None:
    _, network = read(mlp_agent(tmp_path / "agent"))
    wrong = np.ones((5, 2))
    for call in (
        lambda: network.mean_gradients(rows(5), wrong, magnitudes=True),
        lambda: list(network.gradients(rows(5), wrong)),
    ):
        with raises(UsageError, field="score_weights", found="shape (5, 2)", expected="(5, 3)"):
            call()
