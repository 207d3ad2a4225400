"""Gradients with respect to a layer that is given its outputs: both networks agree, and with the unchanged run's."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from Neuron_Selection.PatchingTooling import OpenedAgent
from tests.made_actors import new_agent, samples, save_agent

NETWORKS = ["PPO", "PPO, ReLU", "A2C, another critic", "QR-DQN", "QR-DQN, CNN", "A2C, Dict", "PPO, CNN"]


def opened(folder: Path, name: str) -> tuple[OpenedAgent, Any, np.ndarray]:
    model = new_agent(name)
    agent = OpenedAgent(save_agent(folder / "agent", model), dtype="float64")
    observations = agent.inputs(samples(model.observation_space)).observations
    return agent, observations, np.random.default_rng(1).normal(size=(5, 3))


@pytest.mark.parametrize("name", NETWORKS)
def test_on_a_runs_own_outputs_they_are_its_layer_gradients(name: str, tmp_path: Path) -> None:
    agent, observations, weights = opened(tmp_path, name)
    for network in (agent.torch_network, *([agent.numpy_network] if "CNN" not in name and "Dict" not in name else [])):
        layers = [layer for layer, one in network.layers.layers.items() if one.role != "critic" and one.is_default]
        run = network.activations(observations, layers)
        for layer, expected in network.layer_gradients(observations, weights, layers).items():
            found = network.gradients_on(layer, run[layer], observations, weights)
            assert found.shape == run[layer].shape
            assert np.allclose(found, expected, rtol=1e-9, atol=1e-12), layer


@pytest.mark.parametrize("name", NETWORKS[:4])
def test_numpy_and_torch_agree_on_outputs_that_no_run_has(name: str, tmp_path: Path) -> None:
    agent, observations, weights = opened(tmp_path, name)
    for layer in agent.numpy_network.sites:
        width = agent.numpy_network.layers.widths[layer]
        outputs = np.random.default_rng(2).normal(size=(5, width))
        ours, theirs = (
            network.gradients_on(layer, outputs, observations, weights)
            for network in (agent.numpy_network, agent.torch_network)
        )
        assert np.allclose(ours, theirs, rtol=1e-9, atol=1e-12), layer


def test_a_layer_without_influence_has_gradients_of_zero(tmp_path: Path) -> None:
    agent, observations, weights = opened(tmp_path, "PPO")
    layer = "mlp_extractor.value_net.0"
    outputs = agent.torch_network.activations(observations, [layer])[layer]
    for network in (agent.torch_network, agent.numpy_network):
        found = network.gradients_on(layer, outputs, observations, weights)
        assert found.shape == outputs.shape
        assert not found.any()
