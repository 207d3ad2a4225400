"""What is measured on: the example agent, a published one, random MLPs; each with pairs of inputs."""

from __future__ import annotations

import os
import tempfile
import warnings
from dataclasses import dataclass
from pathlib import Path

import gymnasium as gym
import numpy as np
import torch
from gymnasium import spaces
from stable_baselines3 import DQN
from torch import nn

from Neuron_Selection.PatchingTooling import PatchingExperiment
from Neuron_Selection.PatchingTooling.agent.interventions import Intervention, replacing
from Neuron_Selection.PatchingTooling.numpy_network.network import NumpyNetwork

ROOT = Path(__file__).resolve().parents[1]


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Case:
    """An agent in both engines, and pairs of inputs.

    ``source``: the other run's outputs of the hidden layers, float64; ``tensors`` holds them in float32.
    """

    name: str
    network: NumpyNetwork
    q_net: nn.Module
    target: np.ndarray
    other: np.ndarray
    source: dict[str, np.ndarray]
    tensors: dict[str, torch.Tensor]

    @property
    def inputs(self) -> torch.Tensor:
        """The target inputs as ``q_net`` takes them."""
        return torch.from_numpy(self.target)

    @property
    def activations(self) -> list[str]:
        """The hidden activation layers."""
        return [linear.activation for linear in self.network.linears[:-1]]

    @property
    def every_neuron(self) -> list[Intervention]:
        """Each neuron of the hidden activation layers patched alone."""
        widths = self.network.layers.widths
        return [replacing({name: (n,)}, self.source) for name in self.activations for n in range(widths[name])]

    def with_pairs(self, count: int) -> Case:
        """The same with so many pairs; where there are too few they are repeated with a little noise."""
        random = np.random.default_rng(0)
        rows = np.arange(count) % len(self.target)
        noise = 0.01 * (np.arange(count) >= len(self.target))[:, None]
        target, other = (
            (batch[rows] + noise * random.normal(size=(count, batch.shape[1]))).astype(np.float32)
            for batch in (self.target, self.other)
        )
        return _case(self.name, self.network, self.q_net, target, other)


def example_case() -> Case:
    """The agent that comes along, with its own pairs."""
    experiment = PatchingExperiment(ROOT / "examples" / "lava_crossing" / "agent")
    target, other = (experiment.inputs(f"{kind}_inputs.json").observations for kind in ("corrupted", "clean"))
    assert isinstance(target, np.ndarray)
    assert isinstance(other, np.ndarray)
    return _of(experiment, "the example agent", target, other)


def published_case(pairs: int) -> Case | None:
    """CartPole-v1 of the rl-zoo, two hidden layers of 256, where SUITE_AGENTS names a folder that holds it."""
    if "SUITE_AGENTS" not in os.environ:
        return None
    experiment = PatchingExperiment(Path(os.environ["SUITE_AGENTS"]) / "CartPole-v1")
    random = np.random.default_rng(0)
    target, other = (random.uniform(-0.2, 0.2, size=(pairs, 4)).astype(np.float32) for _ in range(2))
    return _of(experiment, "the published CartPole-v1", target, other)


def random_case(widths: list[int], pairs: int) -> Case:
    """An untrained ReLU network of 106 inputs and 7 actions."""
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = DQN("MlpPolicy", _Blank(), buffer_size=1, seed=0, policy_kwargs={"net_arch": widths}, device="cpu")
        model.save(Path(folder) / "agent.zip")
        experiment = PatchingExperiment(folder)
        _ = experiment.torch_network
    random = np.random.default_rng(0)
    target, other = (random.normal(size=(pairs, 106)).astype(np.float32) for _ in range(2))
    return _of(experiment, f"a random {'-'.join(map(str, widths))}", target, other)


class _Blank(gym.Env[np.ndarray, int]):
    observation_space = spaces.Box(-10.0, 10.0, (106,), np.float32)
    action_space = spaces.Discrete(7)  # type: ignore[assignment]


def _of(experiment: PatchingExperiment, name: str, target: np.ndarray, other: np.ndarray) -> Case:
    network, q_net = experiment.numpy_network, experiment.torch_network.module
    return _case(name, network, q_net, target.reshape(len(target), -1), other.reshape(len(other), -1))


def _case(name: str, network: NumpyNetwork, q_net: nn.Module, target: np.ndarray, other: np.ndarray) -> Case:
    source = network.activations(other, list(network.sites)[1:-1])
    tensors = {layer: torch.from_numpy(array.astype(np.float32)) for layer, array in source.items()}
    return Case(
        name=name, network=network, q_net=q_net, target=target, other=other, source=source, tensors=tensors
    )  # fmt: skip
