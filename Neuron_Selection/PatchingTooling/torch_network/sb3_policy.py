"""Build the real Stable-Baselines3 policy of an agent's zip, without running anything in the file."""

from __future__ import annotations

import collections
import copy
import os
import warnings
from collections.abc import Callable, Mapping
from types import ModuleType
from typing import Any

import numpy as np
import torch
from gymnasium import spaces
from stable_baselines3.common import policies as common_policies
from stable_baselines3.common import torch_layers
from stable_baselines3.dqn import policies
from torch import nn
from torch.nn.parameter import is_lazy

from Neuron_Selection.errors import (
    InputError,
    MachineError,
    SuiteError,
    SuiteWarning,
    UsageError,
    is_lack_of_memory,
    shown,
)
from Neuron_Selection.FileFormats.agent_zip.agent_zip import AgentZip, ClassByValue, repeated_extractors
from Neuron_Selection.FileFormats.agent_zip.pickled_data import Name
from Neuron_Selection.FileFormats.agent_zip.spaces import BoxSpace, DictSpace, DiscreteSpace, MultiDiscreteSpace, Space
from Neuron_Selection.flag_types import DEVICE
from Neuron_Selection.PatchingTooling.agent.architecture import EXTRACTORS, Architecture
from Neuron_Selection.PatchingTooling.agent.custom_classes import ARGUMENT, CustomClasses, is_custom, is_torch_module
from Neuron_Selection.PatchingTooling.torch_network.custom_runs import (
    errors_reported,
    refuse_other_actors,
    refuse_other_values,
)
from Neuron_Selection.PatchingTooling.torch_network.hooks import compute_in_double
from Neuron_Selection.PatchingTooling.torch_network.layer_probe import PROBE_ROWS, probe_layers
from Neuron_Selection.PatchingTooling.torch_network.network import TorchNetwork
from Neuron_Selection.PatchingTooling.torch_network.quantile_policy import QuantilePolicy
from Neuron_Selection.PatchingTooling.torch_network.shared_layers import SharedMlpExtractor, add_shared_layers

# for arguments that do not fit; any other exception from SB3's own classes is a bug
_SB3_RAISES = (AssertionError, TypeError, ValueError, KeyError, AttributeError, RuntimeError, NotImplementedError)


class _NoOptimizer:
    """Instead of Adam, whose construction imports torch._dynamo and doubles the time to load."""

    def __init__(self, *_parameters: Any, **_settings: Any) -> None:
        pass


def build_torch_network(
    agent: AgentZip,
    architecture: Architecture,
    custom: CustomClasses,
    *,
    device: str = "cpu",
    dtype: str = "float32",
) -> TorchNetwork:
    """The policy that SB3 itself would load, with the same weights, in eval mode.

    torch's random state stays as it was.

    :param dtype: ``float64`` computes in double precision, from the float32 weights
    :raises InputError: tensors that do not fit the network, or a custom class that raises or draws random numbers
    :raises UsageError: a custom class that cannot be imported, or is of another kind
    :raises MachineError: a missing device
    """
    chosen = torch_device(device)
    if "MKL_CBWR" not in os.environ:
        warnings.warn(
            SuiteWarning(
                "MKL_CBWR is not set, and torch was imported first; a row's last bits may depend on its place "
                "in the batch (import Neuron_Selection.PatchingTooling before torch)"
            ),
            stacklevel=2,
        )
    policy_class = _policy_class(architecture, custom)
    arguments = _policy_arguments(architecture, custom)
    random_state = torch.get_rng_state()
    try:
        policy = policy_class(
            _gymnasium_space(agent.observation_space),
            _gymnasium_space(agent.action_space),
            lr_schedule=lambda _progress: 0.0,
            optimizer_class=_NoOptimizer,
            **arguments,
        )
        if architecture.shared_arch:
            add_shared_layers(policy, architecture)
        _make_lazy_layers(policy, agent, architecture, custom)
    except Exception as error:  # a custom class may raise anything
        if is_lack_of_memory(error) or isinstance(error, SuiteError):
            raise
        if not custom.names and not isinstance(error, _SB3_RAISES):
            raise
        found = f"arguments that it does not take ({type(error).__name__}: {error})"
        raise InputError(f"{agent.path}: data", "policy_kwargs", found=found, expected="a network") from error
    finally:
        torch.set_rng_state(random_state)
    _load_tensors(policy, agent, architecture)
    policy.to(chosen)
    policy.set_training_mode(False)
    policy.eval()
    head = architecture.head
    module = policy.get_submodule(head.module)
    forward = _actor_forward(policy) if head.critic else module
    if dtype == "float64":
        compute_in_double(module, [part for name, part in module.named_children() if name in EXTRACTORS])
    with errors_reported(custom, dtype=dtype), torch.no_grad():
        observations = policy.obs_to_tensor(_probe(agent))[0]
        layers = probe_layers(module, head, lambda: forward(observations))
        network = TorchNetwork(
            policy=policy, module=module, forward=forward, head=head, layers=layers, custom=custom, dtype=dtype
        )
        if custom.names:
            once, again = (network.scores_of(observations).cpu().numpy() for _ in range(2))
            refuse_other_values(once, again, custom)
        if head.critic and is_custom(architecture.policy):
            policy.observation_space.seed(0)
            drawn = policy.obs_to_tensor(policy.observation_space.sample())[0]  # of zeros, biases alone would differ
            logits = policy.get_distribution(drawn).distribution.logits.cpu().numpy()
            refuse_other_actors(network.scores_of(drawn).cpu().numpy(), logits, custom)
    return network


def _policy_class(architecture: Architecture, custom: CustomClasses) -> Any:
    """SB3's class of this policy; actors of PPO, A2C, TRPO and MaskablePPO are all of the same classes."""
    if architecture.head.critic:
        named = {
            "MlpPolicy": common_policies.ActorCriticPolicy,
            "CnnPolicy": common_policies.ActorCriticCnnPolicy,
            "MultiInputPolicy": common_policies.MultiInputActorCriticPolicy,
        }
        return named.get(architecture.policy) or custom.load(architecture.policy, common_policies.ActorCriticPolicy)
    if "n_quantiles" in architecture.head.arguments:
        return QuantilePolicy
    return _class(architecture.policy, policies, policies.DQNPolicy, custom)


def _actor_forward(policy: Any) -> Callable[[Any], torch.Tensor]:
    """Observations to the outputs of ``action_net``; the critic runs as well, so that its layers can be recorded."""

    def forward(tensors: Any) -> torch.Tensor:
        features = policy.extract_features(tensors)
        of_actor, of_critic = (features, features) if policy.share_features_extractor else features
        mlp = policy.mlp_extractor
        actor, critic = mlp.forward_actor, mlp.forward_critic
        if isinstance(mlp, SharedMlpExtractor):  # its shared layers run once
            of_actor = of_critic = mlp.shared_net(features)
            actor, critic = mlp.policy_net, mlp.value_net
        logits: torch.Tensor = policy.action_net(actor(of_actor))
        policy.value_net(critic(of_critic))
        return logits

    return forward


def _make_lazy_layers(policy: Any, agent: AgentZip, architecture: Architecture, custom: CustomClasses) -> None:
    """Run the networks once if a custom class has layers that take their size from their first input."""
    head = architecture.head
    nets = [policy.get_submodule(name) for name in (head.module, *head.copies)]
    lazy = [net for net in nets if any(map(is_lazy, net.parameters()))]
    if lazy:
        with errors_reported(custom, dtype="float32"), torch.no_grad():
            observations = policy.obs_to_tensor(_probe(agent))[0]
            for net in lazy:
                _actor_forward(net)(observations) if head.critic else net(observations)


def _policy_arguments(architecture: Architecture, custom: CustomClasses) -> dict[str, Any]:
    arguments: dict[str, Any] = {
        "activation_fn": _class(architecture.activation_fn, nn, nn.Module, custom),
        "features_extractor_kwargs": _with_classes(dict(architecture.extractor_kwargs), custom),
        "normalize_images": architecture.normalize_images,
        **_with_classes(dict(architecture.more_kwargs), custom),
    }
    if architecture.extractor:
        base = torch_layers.BaseFeaturesExtractor
        arguments["features_extractor_class"] = _class(architecture.extractor, torch_layers, base, custom)
    if architecture.net_arch is not None:
        arguments["net_arch"] = list(architecture.net_arch)
    if architecture.head.critic:
        if architecture.net_arch is not None:
            arguments["net_arch"] = {"pi": list(architecture.net_arch), "vf": list(architecture.critic_arch)}
        if not architecture.shares_extractor:
            arguments["share_features_extractor"] = False
    elif "n_quantiles" in architecture.head.arguments:
        arguments["n_quantiles"] = architecture.head.n_quantiles
    return arguments


def _class(source: str, library: ModuleType, base: type, custom: CustomClasses) -> Any:
    """A library's class by its bare name, or a custom one by its source."""
    return custom.load(source, base) if is_custom(source) else getattr(library, source)


def _with_classes(value: Any, custom: CustomClasses) -> Any:
    """Policy arguments with classes instead of their names."""
    if isinstance(value, dict):
        return {key: _with_classes(item, custom) for key, item in value.items()}
    if isinstance(value, list | tuple):
        items = [_with_classes(item, custom) for item in value]
        return items if isinstance(value, list) else tuple(items)
    if is_torch_module(value):
        return custom.load(str(value), nn.Module)
    if isinstance(value, Name | ClassByValue):
        return custom.load(custom.source_of(value, ARGUMENT, where="", expected=""), object)
    return value


def torch_device(device: str) -> torch.device:
    """The device that ``--device`` names; ``auto`` is CUDA if there is a GPU.

    :raises UsageError: an unknown name
    :raises MachineError: a device that this machine lacks
    """
    if not DEVICE.fullmatch(device):
        raise UsageError(field="device", found=shown(device), expected="auto, cpu, cuda or cuda:N")
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if device == "auto":
        return torch.device("cuda" if count else "cpu")
    if device.startswith("cuda") and int(device.partition(":")[2] or 0) >= count:
        raise MachineError(f"device {device} does not exist: this machine has {count} CUDA devices")
    return torch.device(device)


def _load_tensors(policy: nn.Module, agent: AgentZip, architecture: Architecture) -> None:
    where = f"{agent.path}: policy.pth"
    expected: Mapping[str, torch.Tensor] = policy.state_dict()
    tensors = dict(agent.tensors)
    if architecture.head.critic:  # SB3 before 1.7 stored the features extractor once
        for name in expected:
            extractor, _, inner = name.partition(".")
            first = f"features_extractor.{inner}"
            if name not in tensors and first in tensors and extractor in repeated_extractors(agent.policy_kwargs):
                tensors[name] = tensors[first]
    for name, parameter in expected.items():
        if name not in tensors:
            raise InputError(where, name, found="no such tensor", expected=f"one of shape {tuple(parameter.shape)}")
        stored = tensors[name]
        if stored.shape != tuple(parameter.shape):
            raise InputError(where, name, found=f"shape {stored.shape}", expected=f"{tuple(parameter.shape)}")
        dtype = str(parameter.dtype).removeprefix("torch.")
        if stored.dtype.name != dtype:
            raise InputError(where, name, found=f"{stored.dtype.name} values", expected=dtype)
    extra = next((name for name in tensors if name not in expected), None)
    if extra is not None:
        raise InputError(where, shown(extra), found="a tensor that this network does not have", expected="none")
    policy.load_state_dict({name: torch.from_numpy(np.array(tensors[name])) for name in expected}, strict=True)


def _gymnasium_space(space: Space) -> spaces.Space[Any]:
    if isinstance(space, DictSpace):
        parts = collections.OrderedDict((key, _gymnasium_space(part)) for key, part in space.spaces.items())
        return spaces.Dict(parts)
    if isinstance(space, BoxSpace):
        dtype: Any = space.dtype.type
        return spaces.Box(low=space.low.copy(), high=space.high.copy(), shape=space.shape, dtype=dtype)
    if isinstance(space, DiscreteSpace):
        return spaces.Discrete(space.n, start=space.start)
    if isinstance(space, MultiDiscreteSpace):
        return spaces.MultiDiscrete(copy.copy(space.nvec))
    return spaces.MultiBinary(list(space.shape) if len(space.shape) > 1 else space.shape[0])


def _probe(agent: AgentZip) -> Any:
    """Observations of zeros for the probe."""

    def zeros(space: Space) -> Any:
        if isinstance(space, DictSpace):
            return {key: zeros(part) for key, part in space.spaces.items()}
        if isinstance(space, BoxSpace):
            return np.zeros((PROBE_ROWS, *space.shape), space.dtype)
        if isinstance(space, DiscreteSpace):
            return np.zeros(PROBE_ROWS, np.int64)
        shape = space.nvec.shape if isinstance(space, MultiDiscreteSpace) else space.shape
        return np.zeros((PROBE_ROWS, *shape), np.int64)

    return zeros(agent.observation_space)
