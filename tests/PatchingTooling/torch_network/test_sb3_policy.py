"""Agents: the policy that SB3 itself would load, bit for bit, and nothing of the file run."""

from __future__ import annotations

import pickle
import re
import sys
import warnings
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from gymnasium import spaces
from stable_baselines3 import DQN
from torch import nn

from Neuron_Selection.errors import InputError, MachineError, SuiteWarning, UntrustedError, UsageError
from Neuron_Selection.PatchingTooling import PatchingExperiment
from Neuron_Selection.PatchingTooling.torch_network.sb3_policy import torch_device
from tests.made_agents import (
    class_named,
    data_fields,
    mlp_agent,
    mlp_state,
    new_dqn,
    save_dqn,
    serialized,
    vector_space,
    write_zip,
)
from tests.raised import Parts, parts, raises

IMAGE = spaces.Box(0, 255, (3, 36, 40), np.uint8)
VECTOR = vector_space(5)
AGENTS: dict[str, tuple[spaces.Space, dict[str, Any]]] = {
    "default widths": (VECTOR, {}),
    "one hidden layer": (VECTOR, {"net_arch": [7]}),
    "no hidden layer": (VECTOR, {"net_arch": []}),
    "tanh": (VECTOR, {"net_arch": [9, 8, 7], "activation_fn": nn.Tanh}),
    "leaky relu": (VECTOR, {"net_arch": [9], "activation_fn": nn.LeakyReLU}),
    "elu": (VECTOR, {"net_arch": [9], "activation_fn": nn.ELU}),
    "prelu": (VECTOR, {"net_arch": [9], "activation_fn": nn.PReLU}),
    "optimizer arguments": (VECTOR, {"net_arch": [9], "optimizer_kwargs": {"eps": 1e-5}}),
    "matrix observations": (spaces.Box(-1, 1, (3, 4), np.float32), {"net_arch": [6]}),
    "float64 observations": (spaces.Box(-1, 1, (3,), np.float64), {"net_arch": [6]}),
    "integer observations": (spaces.Box(-5, 5, (3,), np.int32), {"net_arch": [6]}),
    "discrete": (spaces.Discrete(6), {"net_arch": [6]}),
    "multi-discrete": (spaces.MultiDiscrete([3, 4, 2]), {"net_arch": [6]}),
    "multi-binary": (spaces.MultiBinary(5), {"net_arch": [6]}),
    "image through an MLP": (spaces.Box(0, 255, (3, 6, 6), np.uint8), {"net_arch": [6]}),
    "image not normalised": (spaces.Box(0, 255, (3, 6, 6), np.uint8), {"net_arch": [6], "normalize_images": False}),
    "cnn": (IMAGE, {"policy": "CnnPolicy"}),
    "cnn with hidden layers": (IMAGE, {"policy": "CnnPolicy", "net_arch": [12],
                                       "features_extractor_kwargs": {"features_dim": 24}}),
    "cnn on float images": (spaces.Box(0, 1, (1, 36, 36), np.float32),
                            {"policy": "CnnPolicy", "normalize_images": False}),
    "dict of vectors": (spaces.Dict({"b": VECTOR, "a": spaces.Discrete(3)}), {"policy": "MultiInputPolicy"}),
    "dict with an image": (spaces.Dict({"image": IMAGE, "speed": VECTOR}),
                           {"policy": "MultiInputPolicy", "net_arch": [10],
                            "features_extractor_kwargs": {"cnn_output_dim": 16}}),
}  # fmt: skip


def samples(space: spaces.Space, count: int) -> Any:
    space.seed(3)
    drawn = [space.sample() for _ in range(count)]
    if isinstance(space, spaces.Dict):
        return {key: np.stack([one[key] for one in drawn]) for key in space.spaces}
    return np.stack(drawn)


def sb3_q_values(zip_path: Path, observations: Any) -> np.ndarray:
    """SB3's own answer on the same 64-row chunk."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = DQN.load(zip_path, device="cpu", buffer_size=1)
    model.policy.set_training_mode(False)  # as model.predict does
    count = len(next(iter(observations.values()))) if isinstance(observations, dict) else len(observations)
    rows = np.minimum(np.arange(64), count - 1)
    chunk = {k: v[rows] for k, v in observations.items()} if isinstance(observations, dict) else observations[rows]
    with torch.no_grad():
        return model.q_net(model.policy.obs_to_tensor(chunk)[0]).numpy()[:count]


@pytest.mark.parametrize("name", AGENTS)
def test_q_values_equal_those_of_sb3s_own_load_bit_for_bit(name: str, tmp_path: Path) -> None:
    space, kwargs = AGENTS[name]
    folder = save_dqn(tmp_path, new_dqn(space, **kwargs))
    observations = samples(space, 9)
    q_values = PatchingExperiment(folder).q_values(observations)
    assert q_values.dtype == np.float32
    assert np.array_equal(q_values, sb3_q_values(folder / "agent.zip", observations))
    assert len(np.unique(q_values)) > 3


@pytest.mark.parametrize("name", ["default widths", "cnn", "dict with an image"])
def test_greedy_actions_equal_model_predict(name: str, tmp_path: Path) -> None:
    space, kwargs = AGENTS[name]
    model = new_dqn(space, **kwargs)
    observations = samples(space, 5)
    q_values = PatchingExperiment(save_dqn(tmp_path, model)).q_values(observations)
    assert q_values.argmax(axis=1).tolist() == model.predict(observations, deterministic=True)[0].tolist()


def test_dict_keys_keep_the_order_of_the_file(tmp_path: Path) -> None:
    space = spaces.Dict(OrderedDict([("z", vector_space(2)), ("a", vector_space(3))]))
    folder = save_dqn(tmp_path, new_dqn(space, policy="MultiInputPolicy"))
    experiment = PatchingExperiment(folder)
    assert list(experiment.agent_zip.observation_space.spaces) == list(space.spaces)
    assert np.array_equal(experiment.q_values(samples(space, 4)), sb3_q_values(folder / "agent.zip", samples(space, 4)))


def test_published_agents_of_2021_load_although_sb3_cannot(published_agents: Path) -> None:
    for name, width in (("CartPole-v1", 4), ("Acrobot-v1", 6)):
        experiment = PatchingExperiment(published_agents / name)
        observations = np.random.default_rng(0).uniform(-0.4, 0.4, (7, width)).astype(np.float32)
        # the same weights in a network that SB3 builds today
        model = new_dqn(vector_space(width), net_arch=[256, 256], n_actions=experiment.architecture.n_actions)
        model.policy.load_state_dict({k: torch.from_numpy(v.copy()) for k, v in experiment.agent_zip.tensors.items()})
        with torch.no_grad():
            rows = torch.from_numpy(observations[np.minimum(np.arange(64), 6)])
            expected = model.q_net(rows).numpy()[:7]
        assert np.array_equal(experiment.q_values(observations), expected)


def old_gym_space(module: str, name: str, **state: Any) -> bytes:
    """The pickle of a space as gym of 2021 wrote it, without gym."""
    cls = type(name, (), {"__module__": module, "__qualname__": name})
    holder = type(sys)(module)
    setattr(holder, name, cls)
    names = module.split(".")
    added = {".".join(names[: n + 1]): type(sys)(names[n]) for n in range(len(names) - 1)} | {module: holder}
    before = {key: sys.modules.get(key) for key in added}
    sys.modules.update(added)
    try:
        space = cls()
        space.__dict__.update(state)
        return pickle.dumps(space, protocol=4)
    finally:
        for key, value in before.items():
            if value is None:
                del sys.modules[key]
            else:
                sys.modules[key] = value


@pytest.mark.parametrize("shape_key", ["shape", "_shape"])
def test_a_zip_of_2021_with_gym_spaces_loads(shape_key: str, tmp_path: Path) -> None:
    low, high = np.full(4, -np.inf, np.float32), np.full(4, np.inf, np.float32)
    box = old_gym_space(
        "gym.spaces.box", "Box", dtype=np.dtype(np.float32), low=low, high=high,
        bounded_below=np.zeros(4, bool), bounded_above=np.zeros(4, bool), np_random=np.random.RandomState(0),
        **{shape_key: (4,)},
    )  # fmt: skip
    discrete = old_gym_space("gym.spaces.discrete", "Discrete", n=3, dtype=np.dtype(np.int64), **{shape_key: ()})
    assert b"gym.spaces.box" in box
    fields = data_fields(observation_space=serialized(box), action_space=serialized(discrete))
    old = write_zip(tmp_path / "old" / "agent.zip", data=fields, version="1.0rc0")
    new = write_zip(tmp_path / "new" / "agent.zip")
    observations = np.random.default_rng(1).normal(size=(5, 4)).astype(np.float32)
    assert PatchingExperiment(old).agent_zip.sb3_version == "1.0rc0"
    assert np.array_equal(
        PatchingExperiment(old).q_values(observations), PatchingExperiment(new).q_values(observations)
    )


@pytest.mark.parametrize(
    ("module", "name", "kind", "error"),
    [
        (
            "stable_baselines3.dqn.policies",
            "Other",
            InputError,
            parts(
                file="agent.zip: data",
                field="policy_class",
                found="stable_baselines3.dqn.policies.Other, a policy of DQN",
                expected=re.compile("a policy of DQN, .*"),
            ),
        ),
        (
            "stable_baselines3.sac.policies",
            "SACPolicy",
            InputError,
            parts(
                file="agent.zip: data",
                field="policy_class",
                found="stable_baselines3.sac.policies.SACPolicy, a policy of SAC",
                expected=re.compile("a policy of DQN, .*"),
                hint="SAC has continuous actions",
            ),
        ),
        (
            "sb3_contrib.tqc.policies",
            "TQCPolicy",
            InputError,
            parts(
                file="agent.zip: data",
                field="policy_class",
                found="sb3_contrib.tqc.policies.TQCPolicy, a policy of TQC",
                expected=re.compile("a policy of DQN, .*"),
                hint="TQC has continuous actions",
            ),
        ),
        (
            "my_project.policies",
            "MyPolicy",
            UntrustedError,
            parts(
                file="agent.zip: data",
                field="policy_class",
                found="the custom class 'my_project.policies.MyPolicy'",
                expected=re.compile("a policy of DQN, .*"),
                hint="--trust my_project.policies.MyPolicy imports it",
            ),
        ),
    ],
)
def test_other_policies_are_named_and_refused(
    module: str, name: str, kind: type[InputError], error: Parts, tmp_path: Path
) -> None:
    path = write_zip(tmp_path / "agent.zip", data=data_fields(policy_class=serialized(class_named(module, name))))
    with raises(kind, **error):
        PatchingExperiment(path)


def test_a_custom_extractor_is_named_and_refused(tmp_path: Path) -> None:
    reference = b"\x80\x04}\x8c\x18features_extractor_classcmy_net\nMiniGridCNN\ns."
    path = write_zip(tmp_path / "agent.zip", data=data_fields(policy_kwargs=serialized(reference)))
    with raises(
        UntrustedError,
        file="agent.zip: data",
        field="policy_kwargs.features_extractor_class",
        found="the custom class 'my_net.MiniGridCNN'",
        expected="one of FlattenExtractor, NatureCNN, CombinedExtractor",
    ):
        PatchingExperiment(path)


@pytest.mark.parametrize(
    ("kwargs", "error"),
    [
        (
            {"net_arch": [8, -6]},
            parts(
                file="agent.zip: data",
                field="policy_kwargs.net_arch",
                found="-6",
                expected="a width from 1 to 1,000,000",
            ),
        ),
        (
            {"net_arch": ["8", 6]},
            parts(
                file="agent.zip: data",
                field="policy_kwargs.net_arch",
                found="'8'",
                expected="a width from 1 to 1,000,000",
            ),
        ),
        (
            {"net_arch": [True, 6]},
            parts(
                file="agent.zip: data",
                field="policy_kwargs.net_arch",
                found="true",
                expected="a width from 1 to 1,000,000",
            ),
        ),
        (
            {"net_arch": [10**9]},
            parts(
                file="agent.zip: data",
                field="policy_kwargs.net_arch",
                found="1000000000",
                expected="a width from 1 to 1,000,000",
            ),
        ),
        (
            {"net_arch": [4] * 1_000_000},
            parts(
                file="agent.zip: data",
                field="policy_kwargs.net_arch",
                found="1,000,000 layers",
                expected="a list of hidden widths",
            ),
        ),
        (
            {"net_arch": {"pi": [8]}},
            parts(
                file="agent.zip: data",
                field="policy_kwargs.net_arch",
                found="an object",
                expected="a list of hidden widths",
            ),
        ),
        (
            {"net_arch": [8, 7]},
            parts(file="agent.zip: policy.pth", field="q_net.q_net.2.weight", found="shape (6, 8)", expected="(7, 8)"),
        ),
        (
            {"net_arch": [8, 6, 5]},
            parts(file="agent.zip: policy.pth", field="q_net.q_net.4.weight", found="shape (3, 6)", expected="(5, 6)"),
        ),
        (
            {"net_arch": [8, 6], "colour": 1},
            parts(
                file="agent.zip: data",
                field="policy_kwargs.colour",
                found="an unknown argument",
                expected="those of DQN policies",
            ),
        ),
        (
            {"net_arch": [8, 6], "normalize_images": 1},
            parts(file="agent.zip: data", field="policy_kwargs.normalize_images", found="1", expected="a boolean"),
        ),
        (
            {"net_arch": [8, 6], "features_extractor_kwargs": {"features_dim": 5}},
            parts(
                file="agent.zip: data",
                field="policy_kwargs.features_extractor_kwargs.features_dim",
                found="an unknown argument",
                expected="those of FlattenExtractor",
            ),
        ),
    ],
)
def test_wrong_policy_arguments_are_named(kwargs: dict[str, Any], error: Parts, tmp_path: Path) -> None:
    path = write_zip(tmp_path / "agent.zip", data=data_fields(policy_kwargs=kwargs))
    with raises(InputError, **error):
        PatchingExperiment(path)


def test_an_unknown_activation_is_named(tmp_path: Path) -> None:
    by_name = b"\x80\x04}(\x8c\x08net_arch](K\x08K\x06e\x8c\x0dactivation_fnctorch.nn.modules.activation\nGLU\nu."
    path = write_zip(tmp_path / "agent.zip", data=data_fields(policy_kwargs=serialized(by_name)))
    with raises(
        InputError,
        file="agent.zip: data",
        field="policy_kwargs.activation_fn",
        found="'torch.nn.modules.activation.GLU'",
        expected="an activation of torch.nn that keeps the width, such as ReLU",
    ):
        PatchingExperiment(path)


def test_a_continuous_action_space_is_refused(tmp_path: Path) -> None:
    from tests.made_agents import pickled

    path = write_zip(tmp_path / "agent.zip", data=data_fields(action_space=pickled(vector_space(2))))
    with raises(
        InputError,
        file="agent.zip: data",
        field="action_space",
        found="a Box space",
        expected="Discrete, from 0 (one score for each action)",
    ):
        PatchingExperiment(path)


@pytest.mark.parametrize(
    ("change", "error"),
    [
        (
            lambda s: s.pop("q_net.q_net.2.bias"),
            parts(
                file="agent.zip: policy.pth",
                field="q_net.q_net.2.bias",
                found="no such tensor",
                expected="one of shape (6,)",
            ),
        ),
        (
            lambda s: s.update({"q_net.extra": torch.zeros(2)}),
            parts(
                file="agent.zip: policy.pth",
                field="'q_net.extra'",
                found="a tensor that this network does not have",
                expected="none",
            ),
        ),
        (
            lambda s: s.update({"q_net.q_net.0.weight": torch.zeros(4, 8)}),
            parts(file="agent.zip: policy.pth", field="q_net.q_net.0.weight", found="shape (4, 8)", expected="(8, 4)"),
        ),
        (
            lambda s: s.update({"q_net.q_net.0.weight": torch.zeros(8, 4).double()}),
            parts(
                file="agent.zip: policy.pth", field="q_net.q_net.0.weight", found="float64 values", expected="float32"
            ),
        ),
        (
            lambda s: s.update({"q_net.q_net.0.weight": torch.zeros(8, 4).half()}),
            parts(
                file="agent.zip: policy.pth", field="q_net.q_net.0.weight", found="float16 values", expected="float32"
            ),
        ),
        (
            lambda s: s.update({"q_net.q_net.0.bias": torch.full((8,), torch.nan)}),
            parts(
                file="agent.zip: policy.pth",
                field="q_net.q_net.0.bias",
                found="NaN or infinity",
                expected="finite weights",
                hint="--allow_nonfinite loads them",
            ),
        ),
    ],
)
def test_tensors_that_do_not_fit_are_named(change: Any, error: Parts, tmp_path: Path) -> None:
    state = mlp_state()
    change(state)
    path = write_zip(tmp_path / "agent.zip", policy=state)
    with raises(InputError, **error):
        PatchingExperiment(path).q_values(np.zeros((1, 4), np.float32))


def test_loading_leaves_torchs_random_state_as_it_was(tmp_path: Path) -> None:
    folder = mlp_agent(tmp_path)
    torch.manual_seed(5)
    before = torch.get_rng_state().clone()
    PatchingExperiment(folder).q_values(np.zeros((1, 4), np.float32))
    assert torch.equal(torch.get_rng_state(), before)


def test_the_policy_is_in_eval_mode_and_holds_no_optimizer(tmp_path: Path) -> None:
    policy = PatchingExperiment(mlp_agent(tmp_path)).torch_network.policy
    assert not any(module.training for module in policy.modules())
    assert not isinstance(policy.optimizer, torch.optim.Optimizer)


def test_an_absent_device_is_an_error_of_the_machine_and_a_misspelt_one_of_usage() -> None:
    assert torch_device("cpu").type == "cpu"
    with raises(MachineError, names=["device cuda:99 ", "0 CUDA devices"]):
        torch_device("cuda:99")
    for device in ("cudaa", "mps", "meta", "cuda:", "cuda:-1"):
        with raises(UsageError, field="device", found=f"'{device}'", expected="auto, cpu, cuda or cuda:N"):
            torch_device(device)


def test_a_missing_mkl_setting_is_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MKL_CBWR")
    experiment = PatchingExperiment(mlp_agent(tmp_path))
    with pytest.warns(SuiteWarning, match="MKL_CBWR is not set"):
        experiment.q_values(np.zeros((1, 4), np.float32))
