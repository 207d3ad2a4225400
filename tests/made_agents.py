"""Agents made for tests: real ones saved by Stable-Baselines3, and zips put together by hand."""

from __future__ import annotations

import base64
import io
import json
import warnings
import zipfile
from pathlib import Path
from typing import Any

import cloudpickle
import gymnasium as gym
import numpy as np
import torch
from gymnasium import spaces
from stable_baselines3 import DQN
from stable_baselines3.dqn.policies import DQNPolicy


class BlankEnv(gym.Env):
    """An environment that is nothing but its spaces."""

    def __init__(self, observation_space: spaces.Space, n_actions: int) -> None:
        self.observation_space = observation_space
        self.action_space = spaces.Discrete(n_actions)

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[Any, dict[str, Any]]:
        return self.observation_space.sample(), {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        return self.observation_space.sample(), 0.0, True, False, {}


def vector_space(width: int) -> spaces.Box:
    return spaces.Box(-10.0, 10.0, (width,), np.float32)


def new_dqn(
    observation_space: spaces.Space,
    *,
    policy: str = "MlpPolicy",
    n_actions: int = 3,
    seed: int = 0,
    **policy_kwargs: Any,
) -> DQN:
    """An untrained DQN; its weights follow from the seed."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return DQN(policy, BlankEnv(observation_space, n_actions), buffer_size=1, seed=seed,
                   policy_kwargs=policy_kwargs, device="cpu")  # fmt: skip


def save_dqn(folder: Path, model: DQN) -> Path:
    """Save as an agent folder; its path."""
    folder.mkdir(parents=True, exist_ok=True)
    model.save(folder / "agent.zip")
    return folder


def mlp_agent(folder: Path, *, width: int = 4, net_arch: list[int] | None = None, **more: Any) -> Path:
    """An agent folder with an untrained MLP of ``width`` inputs."""
    return save_dqn(folder, new_dqn(vector_space(width), net_arch=[8, 6] if net_arch is None else net_arch, **more))


def planted_agent(folder: Path, layers: list[tuple[Any, Any]], *, width: int | None = None, **more: Any) -> Path:
    """An agent folder with an MLP of these (weight, bias) pairs, ReLU by default; its answers are known."""
    weights = [(np.asarray(weight, np.float32), np.asarray(bias, np.float32)) for weight, bias in layers]
    model = new_dqn(
        vector_space(width or weights[0][0].shape[1]), n_actions=len(weights[-1][1]),
        net_arch=[len(bias) for _, bias in weights[:-1]], **more,
    )  # fmt: skip
    for network in (model.policy.q_net, model.policy.q_net_target):
        linear = [module for module in network.q_net if isinstance(module, torch.nn.Linear)]
        for module, (weight, bias) in zip(linear, weights, strict=True):
            module.weight.data = torch.from_numpy(weight.copy())
            module.bias.data = torch.from_numpy(bias.copy())
    return save_dqn(folder, model)


def pickled(value: Any, *, protocol: int = 4) -> dict[str, str]:
    """A value as Stable-Baselines3 stores it in ``data``."""
    return serialized(cloudpickle.dumps(value, protocol=protocol))


def serialized(data: bytes) -> dict[str, str]:
    """Pickle bytes as a field of ``data``."""
    return {":type:": "<class 'object'>", ":serialized:": base64.b64encode(data).decode()}


def class_named(module: str, name: str) -> bytes:
    """The pickle of a class by reference, whether or not there is such a class."""
    return b"\x80\x04" + f"c{module}\n{name}\n".encode() + b"."


def state_bytes(tensors: Any) -> bytes:
    """A policy.pth of these tensors."""
    buffer = io.BytesIO()
    torch.save(tensors, buffer)
    return buffer.getvalue()


def mlp_state(width: int = 4, hidden: tuple[int, ...] = (8, 6), n_actions: int = 3) -> dict[str, torch.Tensor]:
    """The state dict of an MLP policy."""
    generator = torch.Generator().manual_seed(0)
    sides = [width, *hidden, n_actions]
    state = {}
    for net in ("q_net", "q_net_target"):
        for number in range(len(sides) - 1):
            shape = (sides[number + 1], sides[number])
            state[f"{net}.q_net.{2 * number}.weight"] = torch.randn(shape, generator=generator)
            state[f"{net}.q_net.{2 * number}.bias"] = torch.randn(shape[:1], generator=generator)
    return state


def data_fields(**changed: Any) -> dict[str, Any]:
    """The fields of ``data`` for an MLP of 4 inputs, 8 and 6 hidden units and 3 actions; None leaves one out."""
    fields = {
        "policy_class": pickled(DQNPolicy),
        "policy_kwargs": {"net_arch": [8, 6]},
        "observation_space": pickled(vector_space(4)),
        "action_space": pickled(spaces.Discrete(3)),
        "learning_rate": 0.001,
    }
    return {key: value for key, value in {**fields, **changed}.items() if value is not None}


def write_zip(path: Path, *, data: Any = None, policy: Any = None, version: str = "2.9.2", **members: bytes) -> Path:
    """An agent's zip put together by hand.

    :param data: the fields, or bytes as they are
    :param policy: a state dict, or bytes as they are
    :param members: further members
    """
    data = data_fields() if data is None else data
    policy = mlp_state() if policy is None else policy
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("data", data if isinstance(data, bytes) else json.dumps(data))
        archive.writestr("policy.pth", policy if isinstance(policy, bytes) else state_bytes(policy))
        archive.writestr("_stable_baselines3_version", version)
        for name, content in members.items():
            archive.writestr(name, content)
    return path
