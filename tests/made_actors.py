"""Actors and quantile networks made for tests, saved by Stable-Baselines3 and sb3_contrib themselves."""

from __future__ import annotations

import io
import json
import warnings
import zipfile
from collections.abc import Callable, Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
from gymnasium import spaces
from sb3_contrib import QRDQN, TRPO, MaskablePPO
from stable_baselines3 import A2C, PPO
from torch import nn

from tests.extractors import MinigridFeaturesExtractor, Swish
from tests.made_agents import BlankEnv, pickled, state_bytes, vector_space

IMAGE = spaces.Box(0, 255, (3, 36, 40), np.uint8)
VIEW = spaces.Box(0, 255, (3, 7, 7), np.uint8)
PARTS = spaces.Dict({"grid": spaces.Box(-1, 1, (2, 4), np.float32), "state": spaces.Discrete(5)})
ONE_PART = spaces.Dict({"grid": spaces.Box(-1, 1, (2, 4), np.float32)})

# name to algorithm, policy, observation space and policy_kwargs
MLPS: dict[str, tuple[Any, str, spaces.Space, dict[str, Any]]] = {
    "PPO": (PPO, "MlpPolicy", vector_space(5), {}),
    "PPO, ReLU": (PPO, "MlpPolicy", vector_space(5), {"net_arch": [9, 7], "activation_fn": nn.ReLU}),
    "A2C, another critic": (A2C, "MlpPolicy", vector_space(5), {"net_arch": {"pi": [9], "vf": [7, 6, 5]}}),
    "PPO, no hidden layers": (PPO, "MlpPolicy", vector_space(5), {"net_arch": []}),
    "PPO, PReLU": (PPO, "MlpPolicy", vector_space(5), {"net_arch": [9, 7], "activation_fn": nn.PReLU}),
    "PPO, two extractors": (PPO, "MlpPolicy", vector_space(5), {"share_features_extractor": False}),
    "PPO, Dict of one": (PPO, "MultiInputPolicy", ONE_PART, {"net_arch": [9]}),
    "PPO, two extractors of a Dict": (
        PPO,
        "MultiInputPolicy",
        ONE_PART,
        {"net_arch": [9], "share_features_extractor": False},
    ),
    "TRPO": (TRPO, "MlpPolicy", vector_space(5), {"net_arch": [9, 7]}),
    "MaskablePPO": (MaskablePPO, "MlpPolicy", vector_space(5), {"net_arch": [9, 7]}),
    "QR-DQN": (QRDQN, "MlpPolicy", vector_space(5), {"net_arch": [9, 7], "n_quantiles": 11}),
    "QR-DQN, defaults": (QRDQN, "MlpPolicy", spaces.MultiDiscrete([2, 5, 3]), {}),
    "QR-DQN, one quantile": (QRDQN, "MlpPolicy", vector_space(5), {"net_arch": [9, 7], "n_quantiles": 1}),
}
OTHERS: dict[str, tuple[Any, str, spaces.Space, dict[str, Any]]] = {
    "PPO, CNN": (PPO, "CnnPolicy", IMAGE, {}),
    "PPO, CNN, two extractors": (PPO, "CnnPolicy", IMAGE, {"share_features_extractor": False, "net_arch": [9]}),
    "A2C, Dict": (A2C, "MultiInputPolicy", PARTS, {"net_arch": [9]}),
    "MaskablePPO, CNN": (MaskablePPO, "CnnPolicy", IMAGE, {"net_arch": [9]}),
    "QR-DQN, CNN": (QRDQN, "CnnPolicy", IMAGE, {"n_quantiles": 7}),
    "QR-DQN, Dict": (QRDQN, "MultiInputPolicy", PARTS, {"net_arch": [9], "n_quantiles": 7}),
}
MINIGRID = {"features_extractor_class": MinigridFeaturesExtractor, "normalize_images": False}
CUSTOM: dict[str, tuple[Any, str, spaces.Space, dict[str, Any]]] = {
    "PPO, custom extractor": (PPO, "CnnPolicy", VIEW, MINIGRID),
    "PPO, two custom extractors": (PPO, "CnnPolicy", VIEW, {**MINIGRID, "share_features_extractor": False}),
    "A2C, custom activation": (A2C, "MlpPolicy", vector_space(5), {"net_arch": [9, 7], "activation_fn": Swish}),
    "QR-DQN, custom extractor": (QRDQN, "CnnPolicy", VIEW, {**MINIGRID, "n_quantiles": 7}),
}


def new_agent(name: str, *, n_actions: int = 3, seed: int = 0) -> Any:
    """An untrained agent; random numbers are added to all weights, so that no biases are 0 and no scores alike."""
    algorithm, policy, space, policy_kwargs = {**MLPS, **OTHERS, **CUSTOM}[name]
    settings = {"buffer_size": 1} if algorithm is QRDQN else {"n_steps": 8}
    if algorithm in (PPO, TRPO, MaskablePPO):
        settings["batch_size"] = 8
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = algorithm(policy, BlankEnv(space, n_actions), seed=seed, device="cpu",
                          policy_kwargs=dict(policy_kwargs), **settings)  # fmt: skip
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.policy.parameters():
            parameter.add_(0.1 * torch.randn(parameter.shape, generator=generator))
    return model


def save_agent(folder: Path, model: Any) -> Path:
    """Save as an agent folder; its path."""
    folder.mkdir(parents=True, exist_ok=True)
    model.save(folder / "agent.zip")
    return folder


def planted_actor(folder: Path, layers: list[tuple[Any, Any]]) -> Path:
    """As ``planted_agent``, a PPO whose critic has no hidden layers."""
    width, kwargs = np.shape(layers[0][0])[1], {"activation_fn": nn.ReLU}
    kwargs["net_arch"] = {"pi": [len(bias) for _, bias in layers[:-1]], "vf": []}
    model = PPO("MlpPolicy", BlankEnv(vector_space(width), len(layers[-1][1])), n_steps=8, batch_size=8, device="cpu",
                policy_kwargs=kwargs)  # fmt: skip
    names = [f"mlp_extractor.policy_net.{2 * number}" for number in range(len(layers) - 1)]
    planted = _state(dict(zip([*names, "action_net"], layers, strict=True)))
    return with_changes(save_agent(folder, model), tensors=lambda state: {**state, **planted})


def planted_quantiles(folder: Path, layers: list[tuple[Any, Any]]) -> Path:
    """As ``planted_agent``, a QR-DQN of four quantiles, which are the planted scores plus -2, -1, 1 and 2."""
    width, (weight, bias) = np.shape(layers[0][0])[1], layers[-1]
    kwargs = {"net_arch": [len(bias) for _, bias in layers[:-1]], "n_quantiles": 4}
    model = QRDQN("MlpPolicy", BlankEnv(vector_space(width), len(bias)), buffer_size=1, device="cpu",
                  policy_kwargs=kwargs)  # fmt: skip
    last = (np.tile(weight, (4, 1)), np.concatenate([np.asarray(bias) + shift for shift in (-2, -1, 1, 2)]))
    planted = {f"quantile_net.{2 * number}": layer for number, layer in enumerate([*layers[:-1], last])}
    nets = ("quantile_net", "quantile_net_target")
    states = _state({f"{net}.{name}": layer for net in nets for name, layer in planted.items()})
    return with_changes(save_agent(folder, model), tensors=lambda state: {**state, **states})


def _state(layers: Mapping[str, tuple[Any, Any]]) -> dict[str, torch.Tensor]:
    return {
        f"{name}.{kind}": torch.from_numpy(np.array(values, np.float32))
        for name, layer in layers.items()
        for kind, values in zip(("weight", "bias"), layer, strict=True)
    }


def save_with_shared_layers(folder: Path, net_arch: list[Any]) -> Path:
    """A PPO as Stable-Baselines3 before 1.8 saved it: actor and critic share their first layers."""
    shared = [width for width in net_arch if isinstance(width, int)]
    own = {"pi": [], "vf": [], **next((part for part in net_arch if isinstance(part, dict)), {})}
    generator = torch.Generator().manual_seed(0)
    state: dict[str, torch.Tensor] = {}

    def add(name: str, widths: list[int]) -> None:
        for number, (columns, rows) in enumerate(pairwise(widths)):
            place = f"{name}.{2 * number}" if name.startswith("mlp") else name
            state[f"{place}.weight"] = torch.randn((rows, columns), generator=generator) / 2
            state[f"{place}.bias"] = torch.randn(rows, generator=generator) / 2

    add("mlp_extractor.shared_net", [5, *shared])
    add("mlp_extractor.policy_net", [shared[-1], *own["pi"]])
    add("mlp_extractor.value_net", [shared[-1], *own["vf"]])
    add("action_net", [(*shared, *own["pi"])[-1], 3])
    add("value_net", [(*shared, *own["vf"])[-1], 1])
    save_agent(folder, new_agent("PPO"))
    return with_changes(folder, policy_kwargs={"net_arch": net_arch}, tensors=lambda _: state)


def samples(space: spaces.Space, count: int = 5, seed: int = 3) -> dict[str, Any]:
    """Observations under the ids "0", "1", ..."""
    space.seed(seed)
    return {str(number): space.sample() for number in range(count)}


def with_changes(
    folder: Path,
    *,
    policy_kwargs: Mapping[str, Any] | None = None,
    tensors: Callable[[dict[str, torch.Tensor]], dict[str, torch.Tensor]] = dict,
    fields: Mapping[str, Any] | None = None,
) -> Path:
    """The agent in a folder with other policy_kwargs, tensors, or fields of ``data``; written over it."""
    path = folder / "agent.zip"
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    data = json.loads(members["data"])
    if policy_kwargs is not None:
        data["policy_kwargs"] = pickled(dict(policy_kwargs))
    data |= fields or {}
    state = torch.load(io.BytesIO(members["policy.pth"]), weights_only=True)
    members |= {"data": json.dumps(data).encode(), "policy.pth": state_bytes(tensors(state))}
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return folder
