"""An MLP in numpy: against hooks and the slow reference, same bits in any batch, refusals by layer."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from gymnasium import spaces

from Neuron_Selection.errors import EngineError, SuiteError
from Neuron_Selection.PatchingTooling import PatchingExperiment
from Neuron_Selection.PatchingTooling.numpy_network.network import NumpyNetwork
from tests import extractors, slow_reference
from tests.conftest import ROOT
from tests.made_agents import mlp_agent, new_dqn, save_dqn, vector_space
from tests.raised import Parts, parts, raises


def read(folder: Path, **options: Any) -> tuple[PatchingExperiment, NumpyNetwork]:
    experiment = PatchingExperiment(folder, dtype="float64", **options)
    return experiment, experiment.numpy_network


def rows(count: int, width: int = 4, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(count, width)).astype(np.float32)


SPACES = {
    "Box float32": vector_space(5),
    "Box float64": spaces.Box(-1e3, 1e3, (2, 3), np.float64),
    "Box integers": spaces.Box(-100, 100, (4,), np.int32),
    "image": spaces.Box(0, 255, (3, 4, 5), np.uint8),
    "small bytes": spaces.Box(0, 200, (3, 4, 5), np.uint8),
    "Discrete": spaces.Discrete(6),
    "MultiDiscrete": spaces.MultiDiscrete([2, 5, 3]),
    "MultiBinary": spaces.MultiBinary(7),
    "MultiBinary of two axes": spaces.MultiBinary([2, 3]),
    "Dict of one": spaces.Dict({"grid": spaces.Box(-1, 1, (2, 4), np.float32)}),
    "Dict of one Discrete": spaces.Dict({"state": spaces.Discrete(5)}),
}


@pytest.mark.parametrize("normalize_images", [True, False])
@pytest.mark.parametrize("name", SPACES)
def test_every_space_gives_the_values_of_float64_hooks(name: str, tmp_path: Path, *, normalize_images: bool) -> None:
    space, is_dict = SPACES[name], name.startswith("Dict")
    space.seed(3)
    policy = "MultiInputPolicy" if is_dict else "MlpPolicy"
    model = new_dqn(space, policy=policy, net_arch=[9, 7], normalize_images=normalize_images)
    experiment, network = read(save_dqn(tmp_path / "agent", model))
    samples = {str(number): space.sample() for number in range(5)}
    observations = experiment.inputs(samples).observations
    expected = experiment.activations(samples, layers=list(experiment.torch_network.layers.layers))
    found = network.activations(observations, list(network.sites))
    assert list(found) == list(expected)
    for layer, array in expected.items():
        assert np.abs(found[layer] - array).max() <= 1e-12 * max(np.abs(array).max(), 1e-3), layer


@pytest.mark.parametrize("name", ["Box float32", "Dict of one"])
def test_the_table_of_layers_is_the_one_that_running_the_network_finds(name: str, tmp_path: Path) -> None:
    policy = "MultiInputPolicy" if name.startswith("Dict") else "MlpPolicy"
    experiment, network = read(save_dqn(tmp_path / "agent", new_dqn(SPACES[name], policy=policy, net_arch=[9, 7])))
    probed = experiment.torch_network.layers
    assert list(network.layers.layers.items()) == list(probed.layers.items())
    assert network.layers.refused == probed.refused


def test_activations_equal_the_slow_reference(tmp_path: Path) -> None:
    experiment, network = read(mlp_agent(tmp_path / "agent"))
    weights, observations = slow_reference.mlp_weights(experiment.agent_zip.tensors), rows(6)
    found = network.activations(observations, list(network.sites)[1:])
    for row, observation in enumerate(observations):
        for layer, values in slow_reference.run_one(weights, observation, {}).items():
            assert np.abs(found[layer][row] - values).max() <= 1e-14


def test_a_published_agent_gives_the_q_values_of_float64_hooks(published_agents: Path) -> None:
    for name, width in (("CartPole-v1", 4), ("Acrobot-v1", 6)):
        experiment, network = read(published_agents / name)
        observations = np.clip(rows(200, width) * 0.2, -0.4, 0.4)  # within every bound
        expected = experiment.q_values(observations)
        assert np.abs(network.scores(observations) - expected).max() <= 1e-12 * np.abs(expected).max()


@pytest.mark.parametrize("widths", [[64, 64], [37, 301, 5], [1], []])
def test_alone_in_sevens_shuffled_or_all_together_give_the_same_bits(widths: list[int], tmp_path: Path) -> None:
    _, network = read(mlp_agent(tmp_path / "agent", width=19, net_arch=widths, activation_fn=torch.nn.Tanh))
    count = network.buffer_rows + 77
    observations = rows(count, 19)
    together = network.scores(observations)
    order = np.random.default_rng(1).permutation(count)
    shuffled = np.empty_like(together)
    shuffled[order] = network.scores(observations[order])
    assert np.array_equal(together, shuffled)
    sevens = [network.scores(observations[start : start + 7]) for start in range(0, 70, 7)]
    assert np.array_equal(together[:70], np.concatenate(sevens))
    alone = [network.scores(observations[row : row + 1])[0] for row in range(5)]
    assert np.array_equal(together[:5], alone)


THREADS = """
import hashlib, sys
import numpy as np
from pathlib import Path
from Neuron_Selection.FileFormats.agent_zip.agent_zip import read_agent_zip
from Neuron_Selection.PatchingTooling.agent.policy_arguments import architecture_of
from Neuron_Selection.PatchingTooling.agent.custom_classes import CustomClasses
from Neuron_Selection.PatchingTooling.agent.interventions import replacing
from Neuron_Selection.PatchingTooling.agent.network import margin_weights
from Neuron_Selection.PatchingTooling.numpy_network.loading import build_numpy_network
agent = read_agent_zip(Path(sys.argv[1]))
network = build_numpy_network(agent, architecture_of(agent, CustomClasses()))
observations = np.random.default_rng(0).normal(size=(100, 700)).astype(np.float32)
source = network.activations(observations[::-1], list(network.sites))
changes = [{"q_net.1": (3,)}, {"q_net.0": tuple(range(90))}, {"q_net.2": "all", "q_net.3": (1, 2)}]
scores = network.patched_many(observations, [replacing(patch, source) for patch in changes])
weights = margin_weights(np.zeros(100, int), np.ones(100, int), network.n_actions)
means = network.mean_gradients(observations, weights, magnitudes=True)
print(hashlib.sha256(b"".join(array.tobytes() for array in [scores, *means.values()])).hexdigest())
heavy = {"torch", "stable_baselines3", "gymnasium", "scipy"} & set(sys.modules)
assert not heavy, heavy
"""


@pytest.mark.skipif(np.__version__ < "2", reason="the OpenBLAS of numpy 1 gives other last bits with other threads")
def test_threads_change_no_bit_and_nothing_heavy_is_imported(tmp_path: Path) -> None:
    folder = mlp_agent(tmp_path / "agent", width=700, net_arch=[403, 229])
    digests = {
        subprocess.run(
            [sys.executable, "-c", THREADS, str(folder / "agent.zip")],
            env={**os.environ, "OPENBLAS_NUM_THREADS": threads, "OMP_NUM_THREADS": threads},
            cwd=ROOT, capture_output=True, text=True, check=True,
        ).stdout
        for threads in ("1", "2", "3")
    }  # fmt: skip
    assert len(digests) == 1


def test_q_values_that_are_not_finite_are_an_error(tmp_path: Path) -> None:
    model = new_dqn(vector_space(4), net_arch=[8])
    for parameter in model.policy.q_net.q_net.parameters():
        parameter.data.fill_(1e38)
    _, network = read(save_dqn(tmp_path / "agent", model))
    with raises(SuiteError, field="scores of the network", found="NaN or infinity", expected="finite numbers"):
        network.scores(np.full((2, 4), 1e300))


IMAGE = spaces.Box(0, 255, (3, 36, 36), np.uint8)
COMPUTED = "Flatten, Linear and activation functions of torch.nn only"


@pytest.mark.parametrize(
    ("policy", "space", "error"),
    [
        ("CnnPolicy", IMAGE, parts(field="layer features_extractor.cnn.0", found="a convolution")),
        (
            "MultiInputPolicy",
            spaces.Dict({"camera": IMAGE}),
            parts(field="layer features_extractor.extractors.camera.cnn.0", found="a convolution"),
        ),
        (
            "MultiInputPolicy",
            spaces.Dict({"arm": vector_space(2), "leg": vector_space(3)}),
            parts(field="layer features_extractor.extractors.leg", found="a second part of a Dict observation"),
        ),
    ],
)
def test_what_it_cannot_compute_is_refused_by_naming_the_layer(
    policy: str, space: spaces.Space, error: Parts, tmp_path: Path
) -> None:
    with raises(
        EngineError, file="engine numpy", expected=COMPUTED, hint="--engine torch computes every network", **error
    ):
        read(save_dqn(tmp_path / "agent", new_dqn(space, policy=policy)))


@pytest.mark.parametrize(
    ("choice", "name", "layer", "found"),
    [
        ("activation_fn", "Swish", "q_net.1", "the activation function"),
        ("features_extractor_class", "MinigridFeaturesExtractor", "features_extractor", "the custom class"),
    ],
)
def test_custom_classes_are_refused_by_naming_the_layer(
    choice: str, name: str, layer: str, found: str, tmp_path: Path
) -> None:
    space = spaces.Box(0, 255, (3, 7, 7), np.uint8) if name == "MinigridFeaturesExtractor" else vector_space(4)
    model = new_dqn(space, net_arch=[5], normalize_images=False, **{choice: getattr(extractors, name)})
    error = parts(field=f"layer {layer}", found=f"{found} tests.extractors.{name}", expected=COMPUTED)
    with raises(EngineError, file="engine numpy", **error):
        read(save_dqn(tmp_path / "agent", model), trust=f"tests.extractors.{name}")
