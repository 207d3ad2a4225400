"""Networks of other shapes and outputs than those of Stable-Baselines3: the same invariants hold."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from gymnasium import spaces

from Neuron_Selection.errors import InputError, SuiteWarning
from Neuron_Selection.FileFormats.activations import Activations
from Neuron_Selection.PatchingTooling import PatchingExperiment
from Neuron_Selection.PatchingTooling.patching_plan import plan_patching
from Neuron_Selection.PatchingTooling.patching_records import run_plan
from Neuron_Selection.PatchingTooling.sources import RecordedSource
from tests import extractors
from tests.made_agents import new_dqn, save_dqn, vector_space
from tests.raised import raises

IMAGES = spaces.Box(0, 255, (36, 36, 3), np.uint8)
DUELLING = "tests.extractors.DuellingPolicy"


def pairs(space: spaces.Box, count: int = 3) -> list[np.ndarray]:
    random = np.random.default_rng(0)
    high = 256 if space.dtype == np.uint8 else 1
    return [random.uniform(0, high, (count, *space.shape)).astype(space.dtype) for _ in range(2)]


@pytest.mark.parametrize("layer", ["cnn.0", "cnn.2", "linear.0"])
def test_images_with_channels_last_are_patched_as_those_with_channels_first(layer: str, tmp_path: Path) -> None:
    folder = save_dqn(tmp_path, new_dqn(IMAGES, policy="CnnPolicy", net_arch=[8]))
    experiment, spec = PatchingExperiment(folder), {f"features_extractor.{layer}": [0, 3]}
    found = []
    for turned in (lambda batch: batch, lambda batch: batch.transpose(0, 3, 1, 2)):
        target, other = (turned(batch) for batch in pairs(IMAGES))
        if target.shape[-1] == 3:
            with pytest.warns(SuiteWarning, match="channels last"):
                source = experiment.activations(other, layers=list(spec))
            with pytest.warns(SuiteWarning, match="channels last"):
                results = experiment.run_patching_experiment(target, source, spec)
        else:
            results = experiment.run_patching_experiment(target, experiment.activations(other, layers=list(spec)), spec)
        assert results.metadata["self_checks"]["self_patch"] == "passed"
        found.append({input_id: record["patched_output"] for input_id, record in results.items()})
    assert found[0] == found[1]


def test_a_network_that_computes_with_channels_last_is_patched(tmp_path: Path) -> None:
    space = spaces.Box(0, 255, (3, 36, 36), np.uint8)
    model = new_dqn(space, policy="CnnPolicy", net_arch=[8], features_extractor_class=extractors.ChannelsLast)
    experiment = PatchingExperiment(save_dqn(tmp_path, model), trust="tests.extractors.ChannelsLast")
    target, other = pairs(space)
    for layer in ("features_extractor.cnn.0", "features_extractor.cnn.1", "features_extractor.cnn.2"):
        source = experiment.activations(other, layers=[layer])
        results = experiment.run_patching_experiment(target, source, {layer: [0, 5]})
        assert results.metadata["self_checks"]["self_patch"] == "passed"


def test_a_duelling_network_has_no_cut_and_its_q_values_are_its_own(tmp_path: Path) -> None:
    space = vector_space(4)
    folder = save_dqn(tmp_path, new_dqn(space, policy=extractors.DuellingPolicy))
    experiment = PatchingExperiment(folder, trust=DUELLING)
    layers = experiment.layers()
    assert [name for name in layers if name.startswith("q_net.")] == [
        f"q_net.{part}.{place}" for part in ("advantage", "value") for place in range(3)
    ]
    assert not any(layer.is_cut for layer in layers.values())
    assert not any(layer.role == "output" for layer in layers.values())
    target, other = pairs(space)
    plan = plan_patching(
        experiment,
        target,
        ["q_net.value.0:1", "q_net.advantage.2:0"],
        source=RecordedSource(inputs=experiment.inputs(other)),
    )
    results = run_plan(experiment, plan, command={})
    own, donated = experiment.q_values(target), experiment.q_values(other)
    for reported in results.values():
        for row, record in enumerate(reported["results"].values()):
            assert record["baseline_output"] == [own[row].tolist()]
            assert record["source_output"] == [donated[row].tolist()]
            assert record["source_action"] == int(donated[row].argmax())
    stored = experiment.run_patching_experiment(target, experiment.activations(other), "q_net.advantage.2:0")
    assert {record["source_output"] for record in stored.values()} == {None}
    assert results.metadata["self_checks"]["whole_layer"].startswith("not applicable")


def test_final_q_values_of_another_width_are_refused(tmp_path: Path) -> None:
    space = vector_space(4)
    experiment = PatchingExperiment(save_dqn(tmp_path, new_dqn(space, net_arch=[5])))
    target, other = pairs(space)
    source = experiment.activations(other, layers=["q_net.0"])
    stored = Activations(
        where="foreign.npz", sha256="", ids=("0", "1", "2"), metadata={},
        values={**source, "final_q_values": np.zeros((3, 99), np.float32)},
    )  # fmt: skip
    with (
        pytest.warns(SuiteWarning, match="does not record which agent"),
        raises(InputError, file="foreign.npz", field="final_q_values", found="outputs of shape (99,)", expected="(3,)"),
    ):
        experiment.run_patching_experiment(target, stored, "q_net.0:1")


def test_stored_final_q_values_are_the_sources_output(tmp_path: Path) -> None:
    space = vector_space(4)
    experiment = PatchingExperiment(save_dqn(tmp_path, new_dqn(space, net_arch=[5])))
    target, other = pairs(space)
    source = experiment.activations(other, layers=["q_net.0"])
    reported = np.array([[0.0, 1.0, 2.0], [5.0, 4.0, 3.0], [6.0, 8.0, 7.0]], np.float32)  # not what q_net.0 leads to
    stored = Activations(
        where="foreign.npz", sha256="", ids=("0", "1", "2"), metadata={}, values={**source, "final_q_values": reported}
    )
    with pytest.warns(SuiteWarning, match="does not record which agent"):
        results = experiment.run_patching_experiment(target, stored, "q_net.0:1")
    assert [record["source_output"] for record in results.values()] == [[row] for row in reported.tolist()]
    assert [record["source_action"] for record in results.values()] == [2, 0, 1]
