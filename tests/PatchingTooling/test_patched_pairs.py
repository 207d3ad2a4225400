"""Pairs of an intervention and an observation: as one intervention after the other gives, in numpy and in torch."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from gymnasium import spaces

from Neuron_Selection.PatchingTooling import open_agent
from Neuron_Selection.PatchingTooling.agent.interventions import Edit, Intervention, adding, clamping, replacing
from Neuron_Selection.PatchingTooling.agent.network import Network
from tests.made_actors import new_agent, save_agent
from tests.made_agents import mlp_agent, new_dqn, save_dqn

N = 70


def interventions_on(network: Network, layers: list[str], observations: Any, random: np.random.Generator) -> list[Any]:
    """Of all kinds: nothing, single neurons, several layers, whole layers, values for each input and for all alike."""
    table, own = network.layers.layers, network.activations(observations, layers)
    drawn = {name: array + random.normal(size=array.shape) for name, array in own.items()}
    means = {name: array.mean(axis=0, keepdims=True) for name, array in own.items()}
    chosen: list[Intervention] = [{}]
    for name in layers:
        width = table[name].width
        chosen += [replacing({name: (neuron,)}, means) for neuron in range(min(width, 5))]
        chosen += [replacing({name: tuple(range(0, width, 3))}, drawn), adding({name: (width - 1,)}, drawn)]
        chosen += [clamping({name: "all"}, -0.1, 0.1), replacing({name: "all"}, drawn)]
    first, last = layers[0], layers[-1]
    chosen += [replacing({first: (0,), last: (1,)}, drawn), replacing({first: "all", last: (0, 1)}, means)]
    return chosen


def check_pairs(network: Network, layers: list[str], observations: Any, *, accuracy: float) -> None:
    random = np.random.default_rng(0)
    interventions = interventions_on(network, layers, observations, random)
    which = random.integers(0, len(interventions), 500)
    rows = random.integers(0, N, 500)
    found = network.patched_pairs(observations, interventions, which, rows)
    expected = [
        network.patched(observations, one).scores if one else network.scores(observations) for one in interventions
    ]
    assert np.abs(found - np.stack(expected)[which, rows]).max() <= accuracy
    some = random.permutation(500)[:7]
    assert np.array_equal(network.patched_pairs(observations, interventions, which[some], rows[some]), found[some])
    unchanged = interventions.index({})
    every = np.arange(N)
    same = network.patched_pairs(observations, interventions, np.full(N, unchanged), every)
    assert np.array_equal(same, network.scores(observations))


@pytest.mark.parametrize("engine", ["numpy", "torch"])
@pytest.mark.parametrize("net_arch", [[20, 12], [300], [9, 8, 7]])
def test_pairs_are_those_of_one_intervention_after_the_other(tmp_path: Path, engine: str, net_arch: list[int]) -> None:
    network = open_agent(mlp_agent(tmp_path, net_arch=net_arch), engine=engine).network
    layers = [name for name in network.layers.layers if name.startswith("q_net.")]
    check_pairs(network, layers, np.random.default_rng(1).normal(size=(N, 4)).astype(np.float32), accuracy=1e-12)


@pytest.mark.parametrize("engine", ["numpy", "torch"])
def test_pairs_of_an_actor_leave_its_scores_alone_where_only_the_critic_is_edited(tmp_path: Path, engine: str) -> None:
    network = open_agent(save_agent(tmp_path, new_agent("PPO")), engine=engine).network
    layers = [name for name, layer in network.layers.layers.items() if name.startswith("mlp_extractor.policy_net")]
    observations = np.random.default_rng(1).normal(size=(N, 5)).astype(np.float32)
    check_pairs(network, layers, observations, accuracy=1e-12)
    critic = next(name for name, layer in network.layers.layers.items() if layer.role == "critic" and "net" in name)
    edit = Edit(neurons=(0,), operation="replace", values=(np.ones((1, network.layers.widths[critic])),))
    rows = np.arange(N)
    found = network.patched_pairs(observations, [{critic: edit}], np.zeros(N, np.intp), rows)
    assert np.array_equal(found, network.scores(observations))


def test_pairs_of_channels(tmp_path: Path) -> None:
    space = spaces.Box(0, 255, (1, 36, 36), np.uint8)
    agent = open_agent(save_dqn(tmp_path, new_dqn(space, policy="CnnPolicy")))
    observations = np.random.default_rng(1).integers(0, 256, (N, 1, 36, 36)).astype(np.uint8)
    layers = ["features_extractor.cnn.0", "features_extractor.cnn.4", "features_extractor.cnn.5"]
    random = np.random.default_rng(0)
    own = agent.network.activations(observations, layers)
    zeros = {name: np.zeros_like(array[:1]) for name, array in own.items()}
    interventions = [{}, *(replacing({name: (neuron,)}, zeros) for name in layers for neuron in (0, 3, 9))]
    which, rows = random.integers(0, len(interventions), 150), random.integers(0, N, 150)
    found = agent.network.patched_pairs(observations, interventions, which, rows)
    dense = [agent.network.patched(observations, one).scores for one in interventions[1:]]
    expected = np.stack([agent.network.scores(observations), *dense])[which, rows]
    assert np.abs(found - expected).max() <= 1e-12


def test_no_pairs_give_no_scores(tmp_path: Path) -> None:
    for engine in ("numpy", "torch"):
        network = open_agent(mlp_agent(tmp_path), engine=engine).network
        none = np.zeros(0, np.intp)
        assert network.patched_pairs(np.zeros((2, 4), np.float32), [{}], none, none).shape == (0, 3)
