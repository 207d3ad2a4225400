"""Loading: policies, spaces, activations, folders, precision, image order, weights that are not finite."""

from __future__ import annotations

import shutil
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from gymnasium import spaces
from torch import nn

from Neuron_Selection.errors import InputError, SuiteError, SuiteWarning, UsageError
from Neuron_Selection.PatchingTooling import PatchingExperiment
from Neuron_Selection.PatchingTooling.agent.policy_arguments import ACTIVATIONS
from tests import slow_reference
from tests.made_agents import mlp_agent, mlp_state, new_dqn, save_dqn, vector_space, write_zip
from tests.PatchingTooling.torch_network.test_sb3_policy import samples, sb3_q_values
from tests.raised import raises

SPACES: dict[str, spaces.Space] = {
    "vector": vector_space(4),
    "one number": vector_space(1),
    "matrix": spaces.Box(-1, 1, (2, 3), np.float32),
    "cube": spaces.Box(-1, 1, (2, 3, 2), np.float32),
    "unbounded": spaces.Box(-np.inf, np.inf, (3,), np.float32),
    "float64": spaces.Box(-1, 1, (3,), np.float64),
    "int8": spaces.Box(-5, 5, (3,), np.int8),
    "uint8 vector": spaces.Box(0, 255, (5,), np.uint8),
    "small image": spaces.Box(0, 255, (3, 5, 5), np.uint8),
    "discrete": spaces.Discrete(5),
    "multi-discrete": spaces.MultiDiscrete([2, 3]),
    "multi-binary": spaces.MultiBinary(4),
    "multi-binary matrix": spaces.MultiBinary([2, 3]),
}
IMAGE = spaces.Box(0, 255, (3, 36, 38), np.uint8)


@pytest.mark.parametrize("net_arch", [[], [5], [6, 4, 3]], ids=str)
@pytest.mark.parametrize("name", SPACES)
def test_every_space_through_an_mlp_equals_sb3_bit_for_bit(name: str, net_arch: list[int], tmp_path: Path) -> None:
    folder = save_dqn(tmp_path, new_dqn(SPACES[name], net_arch=net_arch))
    observations = samples(SPACES[name], 5)
    assert np.array_equal(
        PatchingExperiment(folder).q_values(observations), sb3_q_values(folder / "agent.zip", observations)
    )


@pytest.mark.parametrize("name", sorted(ACTIVATIONS))
def test_every_activation_equals_sb3_bit_for_bit(name: str, tmp_path: Path) -> None:
    folder = save_dqn(tmp_path, new_dqn(vector_space(4), net_arch=[7, 5], activation_fn=getattr(nn, name)))
    observations = samples(vector_space(4), 5)
    experiment = PatchingExperiment(folder)
    assert experiment.layers()["q_net.1"].kind == name
    assert np.array_equal(experiment.q_values(observations), sb3_q_values(folder / "agent.zip", observations))


@pytest.mark.parametrize("policy", ["CnnPolicy", "MlpPolicy"])
def test_images_with_channels_last_are_transposed_as_by_sb3_with_a_warning(policy: str, tmp_path: Path) -> None:
    model = new_dqn(IMAGE, policy=policy, net_arch=[6])
    experiment = PatchingExperiment(save_dqn(tmp_path, model))
    first = samples(IMAGE, 4)
    last = first.transpose(0, 2, 3, 1)
    with pytest.warns(SuiteWarning, match="4 images have their channels last; transposed"):
        q_values = experiment.q_values(last)
    assert np.array_equal(q_values, experiment.q_values(first))
    assert q_values.argmax(axis=1).tolist() == model.predict(last, deterministic=True)[0].tolist()


def test_an_image_inside_of_a_dict_in_both_orders(tmp_path: Path) -> None:
    space = spaces.Dict({"image": IMAGE, "speed": vector_space(2), "gear": spaces.Discrete(3)})
    model = new_dqn(space, policy="MultiInputPolicy", net_arch=[6])
    experiment = PatchingExperiment(save_dqn(tmp_path, model))
    observations = samples(space, 4)
    last = {**observations, "image": observations["image"].transpose(0, 2, 3, 1)}
    with pytest.warns(SuiteWarning, match="channels last"):
        q_values = experiment.q_values(last)
    assert np.array_equal(q_values, experiment.q_values(observations))
    assert q_values.argmax(axis=1).tolist() == model.predict(last, deterministic=True)[0].tolist()


# --- precision


def test_float64_agrees_with_the_slow_reference_to_twelve_digits(tmp_path: Path) -> None:
    experiment = PatchingExperiment(mlp_agent(tmp_path), dtype="float64")
    rows = np.random.default_rng(0).normal(size=(5, 4)).astype(np.float32)
    weights = slow_reference.mlp_weights(experiment.agent_zip.tensors)
    expected = np.array([slow_reference.run_one(weights, row, {})["q_net.4"] for row in rows])
    q_values = experiment.q_values(rows)
    assert q_values.dtype == np.float64
    assert np.abs(q_values - expected).max() <= 1e-12 * np.abs(expected).max()
    recorded = experiment.activations(rows)
    assert {array.dtype for array in recorded.values()} == {np.dtype(np.float64)}
    patched = experiment.run_patching_experiment(rows, experiment.activations(rows[::-1]), "q_net.2:0,3")
    held = {"q_net.2": {n: float(recorded["q_net.2"][4, n]) for n in (0, 3)}}
    expected_one = slow_reference.run_one(weights, rows[0], held)["q_net.4"]
    assert np.abs(patched["0"]["patched_output"][0] - expected_one).max() <= 1e-12 * np.abs(expected_one).max()
    assert patched.metadata["run"]["dtype"] == "float64"


@pytest.mark.parametrize("policy", ["CnnPolicy", "MultiInputPolicy"])
def test_float64_through_images_and_dicts_is_near_float32(policy: str, tmp_path: Path) -> None:
    space = IMAGE if policy == "CnnPolicy" else spaces.Dict({"image": IMAGE, "gear": spaces.Discrete(3)})
    folder = save_dqn(tmp_path, new_dqn(space, policy=policy))
    observations = samples(space, 3)
    double = PatchingExperiment(folder, dtype="float64").q_values(observations)
    single = PatchingExperiment(folder).q_values(observations)
    assert double.dtype == np.float64
    assert np.abs(double - single).max() <= 1e-5 * np.abs(double).max()
    assert not np.array_equal(double, single)


def test_float32_activations_go_into_a_float64_run_and_back_with_a_warning(tmp_path: Path) -> None:
    single = PatchingExperiment(mlp_agent(tmp_path))
    double = PatchingExperiment(tmp_path, dtype="float64")
    rows = np.random.default_rng(0).normal(size=(3, 4)).astype(np.float32)
    double.run_patching_experiment(rows, single.activations(rows), "q_net.0:1")
    with pytest.warns(SuiteWarning, match="float64 values, rounded to float32"):
        single.run_patching_experiment(rows, {"q_net.0": double.activations(rows)["q_net.0"]}, "q_net.0:1")
    with raises(UsageError, field="dtype", found="'float16'", expected="float32 or float64"):
        PatchingExperiment(tmp_path, dtype="float16")


def test_device_auto_is_the_cpu_where_there_is_no_other(tmp_path: Path) -> None:
    experiment = PatchingExperiment(mlp_agent(tmp_path), device="auto")
    expected = "cuda" if torch.cuda.is_available() else "cpu"
    assert experiment.torch_network.policy.device.type == expected


def test_weights_that_are_no_numbers_need_a_flag(tmp_path: Path) -> None:
    state = mlp_state()
    state["q_net_target.q_net.0.bias"][0] = torch.nan
    path = write_zip(tmp_path / "agent.zip", policy=state)
    with raises(
        InputError,
        file="agent.zip: policy.pth",
        field="q_net_target.q_net.0.bias",
        found="NaN or infinity",
        expected="finite weights",
        hint="--allow_nonfinite loads them",
    ):
        PatchingExperiment(path)
    experiment = PatchingExperiment(path, allow_nonfinite=True)
    assert np.isfinite(experiment.q_values(np.zeros((1, 4), np.float32))).all()
    state["q_net.q_net.0.bias"][0] = torch.nan
    broken = write_zip(tmp_path / "broken.zip", policy=state)
    with raises(SuiteError, field="scores of the network", found="NaN or infinity", expected="finite numbers"):
        PatchingExperiment(broken, allow_nonfinite=True).q_values(np.zeros((1, 4), np.float32))


# --- folders


def renamed(folder: Path, *names: str) -> Path:
    """A folder with the same agent under these names."""
    agent = mlp_agent(folder.parent / "made") / "agent.zip"
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(agent, folder / name)
    return folder


@pytest.mark.parametrize(
    ("folder", "names", "taken"),
    [
        ("CartPole-v1_1", ["CartPole-v1.zip", "best_model.zip", "rl_model_1000_steps.zip"], "CartPole-v1.zip"),
        ("run", ["best_model.zip"], "best_model.zip"),
        ("hub", ["dqn-CartPole-v1.zip"], "dqn-CartPole-v1.zip"),
        ("plain", ["agent.zip", "other.zip"], "agent.zip"),
    ],
)
def test_a_folder_means_one_zip(folder: str, names: list[str], taken: str, tmp_path: Path) -> None:
    place = renamed(tmp_path / folder, *names)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(place)
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            experiments = [PatchingExperiment(place), PatchingExperiment(".")]
    for experiment in experiments:
        assert experiment.folder.zip_path.name == taken
    assert experiments[0].folder.folder == place
    messages = [str(w.message) for w in caught]
    assert all(f"contains no agent.zip; {taken} is used" in message for message in messages)
    assert bool(messages) == (taken != "agent.zip")


def test_several_zips_and_none_called_like_the_folder_are_listed(tmp_path: Path) -> None:
    place = renamed(tmp_path / "run", "best_model.zip", "rl_model_10.zip")
    with raises(InputError, file="run", names=["2 zips (best_model.zip, rl_model_10.zip)"]):
        PatchingExperiment(place)


def test_outputs_of_a_zip_are_stored_next_to_it(tmp_path: Path) -> None:
    place = renamed(tmp_path / "run", "a.zip", "b.zip")
    experiment = PatchingExperiment(place / "b.zip")
    rows = np.zeros((2, 4), np.float32)
    results = experiment.run_patching_experiment(rows, experiment.activations(rows), "q_net.0:1")
    assert experiment.save_results(results) == place / "patching_results" / "patching.json"


def test_a_link_to_an_agent_is_followed_and_recorded(tmp_path: Path) -> None:
    real = renamed(tmp_path / "store", "agent.zip")
    linked = tmp_path / "linked"
    linked.mkdir()
    (linked / "agent.zip").symlink_to(real / "agent.zip")
    experiment = PatchingExperiment(linked)
    metadata: dict[str, Any] = experiment.metadata({}, command={})
    assert metadata["agent"]["real_path"] == str((real / "agent.zip").resolve())
    assert metadata["run"]["agent_sha256"] == PatchingExperiment(real).agent_zip.sha256
