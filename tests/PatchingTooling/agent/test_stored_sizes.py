"""Tensors checked against the architecture, the same for both engines."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from gymnasium import spaces

from Neuron_Selection.errors import InputError
from Neuron_Selection.FileFormats.agent_zip.agent_zip import read_agent_zip
from Neuron_Selection.PatchingTooling import PatchingExperiment
from Neuron_Selection.PatchingTooling.agent.custom_classes import CustomClasses
from Neuron_Selection.PatchingTooling.agent.policy_arguments import architecture_of
from tests.made_agents import data_fields, mlp_state, new_dqn, pickled, save_dqn, write_zip
from tests.raised import raises

IMAGE = spaces.Box(0, 255, (3, 36, 36), np.uint8)
PRELU = pickled({"net_arch": [8, 6], "activation_fn": torch.nn.PReLU})
AGENTS = {
    "mlp": (spaces.Box(-1, 1, (4,), np.float32), {}),
    "no hidden layer": (spaces.Box(-1, 1, (4,), np.float32), {"net_arch": []}),
    "PReLU": (spaces.Box(-1, 1, (4,), np.float32), {"activation_fn": torch.nn.PReLU}),
    "images": (IMAGE, {"policy": "CnnPolicy", "features_extractor_kwargs": {"features_dim": 9}}),
    "dict": (spaces.Dict({"image": IMAGE, "place": spaces.Discrete(3)}),
             {"policy": "MultiInputPolicy", "features_extractor_kwargs": {"cnn_output_dim": 5}}),
}  # fmt: skip


@pytest.mark.parametrize("name", AGENTS)
def test_what_sb3_saves_has_exactly_the_tensors_expected(name: str, tmp_path: Path) -> None:
    space, more = AGENTS[name]
    agent = read_agent_zip(save_dqn(tmp_path, new_dqn(space, **more)) / "agent.zip")
    architecture_of(agent, CustomClasses())
    for tensor in agent.tensors:
        kept = {other: array for other, array in agent.tensors.items() if other != tensor}
        with raises(InputError, file="agent.zip: policy.pth", field=tensor, found="no such tensor", expected=...):
            architecture_of(replaced(agent, kept), CustomClasses())


def replaced(agent: Any, tensors: dict[str, np.ndarray]) -> Any:
    from dataclasses import replace

    return replace(agent, tensors=tensors)


@pytest.mark.parametrize("engine", ["hooks", "fast"])
@pytest.mark.parametrize(
    ("extra", "kwargs"),
    [
        ("q_net.q_net.6.weight", None),
        ("q_net.q_net.1.weight", None),
        ("q_net_target.more", None),
        ("q_net.features_extractor.w", None),
        ("other", None),
        ("q_net.q_net.1.bias", PRELU),
    ],
)
def test_an_extra_tensor_is_refused_by_both_engines(engine: str, extra: str, kwargs: Any, tmp_path: Path) -> None:
    slopes = {f"{net}.q_net.{number}.weight": torch.ones(1) for net in ("q_net", "q_net_target") for number in (1, 3)}
    state = mlp_state() | (slopes if kwargs else {})
    data = data_fields(policy_kwargs=kwargs) if kwargs else None
    PatchingExperiment(write_zip(tmp_path / "good.zip", policy=state, data=data), engine=engine)
    path = write_zip(tmp_path / "agent.zip", policy=state | {extra: torch.zeros(1)}, data=data)
    found = "a tensor that this network does not have"
    with raises(InputError, file="agent.zip: policy.pth", field=f"'{extra}'", found=found, expected="none"):
        PatchingExperiment(path, engine=engine)


@pytest.mark.parametrize(
    ("slope", "found", "expected"),
    [
        (torch.ones(8), "shape (8,)", "(1,)"),
        (torch.ones(1, dtype=torch.float64), "float64 values", "float32"),
    ],
)
def test_a_slope_of_prelu_is_one_float32(slope: torch.Tensor, found: str, expected: str, tmp_path: Path) -> None:
    slopes = {f"{net}.q_net.{number}.weight": slope for net in ("q_net", "q_net_target") for number in (1, 3)}
    path = write_zip(tmp_path / "a.zip", policy=mlp_state() | slopes, data=data_fields(policy_kwargs=PRELU))
    with raises(InputError, file="a.zip: policy.pth", field="q_net.q_net.1.weight", found=found, expected=expected):
        PatchingExperiment(path, engine="fast")
