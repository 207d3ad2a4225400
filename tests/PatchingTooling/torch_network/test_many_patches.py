"""Many patches by torch: every shortcut gives the results of hooks on the whole network, for every grouping."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from gymnasium import spaces

from Neuron_Selection.FileFormats.observations import Observations, rows_of
from Neuron_Selection.PatchingTooling import PatchingExperiment
from Neuron_Selection.PatchingTooling.agent.interventions import replacing
from Neuron_Selection.PatchingTooling.torch_network.many_patches import (
    Batch,
    batch_of,
    chain_of,
    hooked_pass,
    is_in_chain,
    is_of_single_channels,
)
from Neuron_Selection.PatchingTooling.torch_network.network import TorchNetwork
from tests import extractors
from tests.interventions import patched_many
from tests.made_agents import new_dqn, save_dqn, vector_space

IMAGES = spaces.Box(0, 255, (2, 40, 44), np.uint8)
TOLERANCE = {"float32": 1e-6, "float64": 1e-12}
N_INPUTS = 9


def chain(experiment: PatchingExperiment) -> list[str]:
    network = experiment.torch_network
    return list(chain_of(network.module, network.head))


def patch_batch(network: TorchNetwork, target: Observations, source: Any, patches: Any) -> Batch:
    return batch_of(network, target, [replacing(patch, source) for patch in patches])


def by_hooks(network: TorchNetwork, target: Observations, source: Any, patches: Any) -> np.ndarray:
    batch = patch_batch(network, target, source, patches)
    run = hooked_pass(batch)
    with torch.no_grad():
        found = [run(which, row)[:count].numpy() for which, row, count in batch.passes(one_each=False)]
    return np.concatenate(found).reshape(len(patches), N_INPUTS, -1)


def case(folder: Path, space: spaces.Space, dtype: str, **more: Any) -> tuple[PatchingExperiment, list[Observations]]:
    """An agent, and the inputs of a target and a source run; weights are larger than fresh ones, so that all act."""
    model = new_dqn(space, n_actions=5, **more)
    with torch.no_grad():
        for parameter in model.policy.parameters():
            parameter.mul_(3)
    experiment = PatchingExperiment(save_dqn(folder, model), dtype=dtype, trust=trusted(more))
    random = np.random.default_rng(1)

    def drawn(part: spaces.Space) -> Any:
        if isinstance(part, spaces.Dict):
            return {key: drawn(inner) for key, inner in part.spaces.items()}
        drawn_values = random.uniform(0, 255 if part.dtype == np.uint8 else 1, (N_INPUTS, *(part.shape or ())))
        return drawn_values.astype(part.dtype)

    return experiment, [drawn(space) for _ in range(2)]


def trusted(more: Any) -> str | None:
    return "tests.extractors.MinigridFeaturesExtractor" if "features_extractor_class" in more else None


@pytest.fixture(scope="module", params=["float32", "float64"])
def cnn(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Any:
    return case(tmp_path_factory.mktemp("cnn"), IMAGES, request.param, policy="CnnPolicy", net_arch=[12])


@pytest.mark.parametrize("layer", [f"features_extractor.cnn.{place}" for place in range(6)])
def test_one_channel_moves_the_next_layer_as_hooks_say(layer: str, cnn: Any) -> None:
    experiment, (target, other) = cnn
    source = experiment.network.activations(other, [layer])
    patches = [{layer: (channel,)} for channel in (0, 31, 7, 12)]
    assert is_of_single_channels(patch_batch(experiment.torch_network, target, source, patches))
    expected = by_hooks(experiment.torch_network, target, source, patches)
    assert np.abs(expected - experiment.network.scores(target)).max() > 1e-4  # the patches do something
    own = experiment.network.reusable_activations(target, [layer])
    assert len(own) == 2
    for known in (None, own):
        found = patched_many(experiment.network, target, source, patches, target_run=known)
        assert np.abs(found - expected).max() <= TOLERANCE[experiment.dtype] * np.abs(expected).max()


@pytest.mark.parametrize("names", [["cnn.0"], ["cnn.3", "cnn.4"], ["cnn.1", "linear.0"], ["cnn.6"], ["linear.1"]])
def test_a_run_from_the_first_patched_layer_gives_what_hooks_give(names: list[str], cnn: Any) -> None:
    experiment, (target, other) = cnn
    layers = [f"features_extractor.{name}" for name in names]
    source = experiment.network.activations(other, [*layers, "q_net.1"])
    patches: list[Any] = [
        {**dict.fromkeys(layers, (1, 5)), "q_net.1": (0, 3)},
        {**dict.fromkeys(layers, "all"), "q_net.1": (2,)},
    ]
    batch = patch_batch(experiment.torch_network, target, source, patches)
    assert not is_of_single_channels(batch)
    assert is_in_chain(batch)
    expected = by_hooks(experiment.torch_network, target, source, patches)
    found = patched_many(experiment.network, target, source, patches)
    assert np.abs(found - expected).max() <= TOLERANCE[experiment.dtype] * np.abs(expected).max()


def test_a_pair_gives_the_same_bits_in_every_company(cnn: Any) -> None:
    experiment, (target, other) = cnn
    for layer in ("features_extractor.cnn.0", "features_extractor.cnn.4", "features_extractor.linear.0"):
        source = experiment.network.activations(other, [layer])
        patches = [{layer: (channel,)} for channel in range(16)]
        together = patched_many(experiment.network, target, source, patches)
        for rows in ([4], [0, 1, 2, 3, 4, 5, 6], [8, 3, 5, 0]):
            part = {layer: source[layer][rows]}
            some = patched_many(experiment.network, rows_of(target, np.array(rows)), part, patches[::-3])
            assert np.array_equal(some, together[::-3][:, rows])


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_q_values_from_a_layers_own_output_are_the_q_values(dtype: str, tmp_path: Path) -> None:
    experiment, (target, _) = case(tmp_path, vector_space(7), dtype, net_arch=[12, 8], activation_fn=torch.nn.PReLU)
    expected = experiment.network.scores(target)
    assert chain(experiment) == [f"q_net.{place}" for place in range(5)]
    for layer in chain(experiment):
        outputs = experiment.network.activations(target, [layer])[layer]
        assert np.array_equal(experiment.network.run_on(layer, outputs, target), expected), layer


def test_behind_a_dict_or_a_custom_extractor_only_the_head_is_a_chain(tmp_path: Path) -> None:
    agents = {
        "dict": (spaces.Dict({"map": IMAGES, "pose": vector_space(3)}), {"policy": "MultiInputPolicy"}),
        "custom": (IMAGES, {"policy": "CnnPolicy", "features_extractor_class": extractors.MinigridFeaturesExtractor}),
    }
    for name, (space, more) in agents.items():
        experiment, (target, other) = case(tmp_path / name, space, "float64", net_arch=[12], **more)
        assert chain(experiment) == [
            "q_net.0",
            "q_net.1",
            "q_net.2",
        ]
        for layer in experiment.layers():
            source = experiment.network.activations(other, [layer])
            batch = patch_batch(experiment.torch_network, target, source, [{layer: (0,)}])
            assert is_in_chain(batch) == layer.startswith("q_net."), layer
            assert not is_of_single_channels(batch)
            expected = by_hooks(experiment.torch_network, target, source, [{layer: (0,)}])
            found = patched_many(experiment.network, target, source, [{layer: (0,)}])
            assert np.abs(found - expected).max() <= 1e-12 * np.abs(expected).max()
