"""What an agent's network is, from its zip alone: every choice checked before anything is built. No torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from Neuron_Selection.errors import InputError, UntrustedError, shown
from Neuron_Selection.FileFormats.agent_zip import AgentZip, ClassByValue
from Neuron_Selection.FileFormats.pickled_data import Name
from Neuron_Selection.FileFormats.spaces import DiscreteSpace
from Neuron_Selection.PatchingTooling.stored_sizes import check_sizes

POLICIES = {
    "DQNPolicy": "MlpPolicy",
    "MlpPolicy": "MlpPolicy",
    "CnnPolicy": "CnnPolicy",
    "MultiInputPolicy": "MultiInputPolicy",
}
_DEFAULT_EXTRACTORS = {
    "MlpPolicy": "FlattenExtractor",
    "CnnPolicy": "NatureCNN",
    "MultiInputPolicy": "CombinedExtractor",
}
# every SB3 extractor, with its own arguments and their defaults
_EXTRACTORS: dict[str, dict[str, Any]] = {
    "FlattenExtractor": {},
    "NatureCNN": {"features_dim": 512, "normalized_image": False},
    "CombinedExtractor": {"cnn_output_dim": 256, "normalized_image": False},
}
_ALGORITHMS = {
    "sb3_contrib.qrdqn": "QR-DQN",
    "stable_baselines3.common.policies": "PPO or A2C",
    "stable_baselines3.ppo": "PPO",
    "stable_baselines3.a2c": "A2C",
    "stable_baselines3.sac": "SAC",
    "stable_baselines3.td3": "TD3 or DDPG",
    "sb3_contrib.tqc": "TQC",
    "sb3_contrib.common": "a sb3_contrib algorithm",
    "sb3_contrib.ars": "ARS",
}
# torch.nn classes that take no argument and keep the width
ACTIVATIONS = frozenset(
    {
        "ReLU",
        "ReLU6",
        "LeakyReLU",
        "PReLU",
        "RReLU",
        "ELU",
        "SELU",
        "CELU",
        "GELU",
        "SiLU",
        "Mish",
        "Tanh",
        "Sigmoid",
        "Softplus",
        "Softsign",
        "LogSigmoid",
        "Hardtanh",
        "Hardswish",
        "Hardsigmoid",
        "Tanhshrink",
        "Softshrink",
        "Hardshrink",
        "Identity",
    }
)
_KWARGS = {
    "net_arch",
    "activation_fn",
    "features_extractor_class",
    "features_extractor_kwargs",
    "normalize_images",
    "optimizer_class",
    "optimizer_kwargs",
}
_WIDTH_LIMIT = 1_000_000
_DEPTH_LIMIT = 1_000


@dataclass(frozen=True, kw_only=True, slots=True)
class Architecture:
    """The choices that make a network: SB3's policy, the torch.nn activation, the extractor, the hidden widths."""

    policy: str
    net_arch: tuple[int, ...]
    activation_fn: str
    extractor: str
    extractor_kwargs: Mapping[str, Any]
    normalize_images: bool
    n_actions: int


def architecture_of(agent: AgentZip) -> Architecture:
    """The architecture that the zip describes, held against the tensors that it stores.

    :raises InputError: not a DQN, or choices that are wrong, unknown, or do not fit the stored tensors
    :raises UntrustedError: a custom class
    """
    where = f"{agent.path}: data"
    policy = _policy(agent.policy_class, where)
    kwargs = agent.policy_kwargs
    unknown = sorted(set(kwargs) - _KWARGS)
    if unknown:
        raise InputError(
            where,
            f"policy_kwargs.{shown(unknown[0], quoted=False)}",
            found="an unknown argument",
            expected="those of SB3's DQN policies",
        )
    extractor = _extractor(kwargs.get("features_extractor_class"), policy, where)
    normalize_images = kwargs.get("normalize_images", True)
    if not isinstance(normalize_images, bool):
        raise InputError(where, "policy_kwargs.normalize_images", found=shown(normalize_images), expected="a boolean")
    if not isinstance(agent.action_space, DiscreteSpace) or agent.action_space.start != 0:
        found = type(agent.action_space).__name__.removesuffix("Space")
        raise InputError(
            where, "action_space", found=f"a {found} space", expected="Discrete, from 0 (DQN has no other)"
        )
    architecture = Architecture(
        policy=policy,
        net_arch=_net_arch(kwargs.get("net_arch"), extractor, where),
        activation_fn=_activation(kwargs.get("activation_fn", Name("torch.nn", "ReLU")), where),
        extractor=extractor,
        extractor_kwargs=_extractor_kwargs(kwargs.get("features_extractor_kwargs"), extractor, where),
        normalize_images=normalize_images,
        n_actions=agent.action_space.n,
    )
    check_sizes(architecture, agent)
    return architecture


def _policy(policy: Name | ClassByValue, where: str) -> str:
    if isinstance(policy, Name) and policy.module == "stable_baselines3.dqn.policies" and policy.qualname in POLICIES:
        return POLICIES[policy.qualname]
    if isinstance(policy, Name):
        for module, algorithm in _ALGORITHMS.items():
            if policy.module == module or policy.module.startswith(module + "."):
                raise InputError(
                    where,
                    "policy_class",
                    found=f"{policy}, a policy of {algorithm}",
                    expected="a DQN policy (MlpPolicy, CnnPolicy, MultiInputPolicy)",
                )
    name = policy.name if isinstance(policy, ClassByValue) else str(policy)
    raise UntrustedError(
        where,
        "policy_class",
        found=f"the custom class {shown(name)}",
        expected="SB3's MlpPolicy, CnnPolicy or MultiInputPolicy",
    )


def _extractor(value: Any, policy: str, where: str) -> str:
    if value is None:
        return _DEFAULT_EXTRACTORS[policy]
    field = "policy_kwargs.features_extractor_class"
    if isinstance(value, Name | ClassByValue):
        known = isinstance(value, Name) and value.module == "stable_baselines3.common.torch_layers"
        if isinstance(value, Name) and known and value.qualname in _EXTRACTORS:
            return value.qualname
        name = value.name if isinstance(value, ClassByValue) else str(value)
        raise UntrustedError(where, field, found=f"the custom class {shown(name)}", expected=", ".join(_EXTRACTORS))
    raise InputError(where, field, found=shown(value), expected="a class")


def _extractor_kwargs(value: Any, extractor: str, where: str) -> dict[str, Any]:
    field = "policy_kwargs.features_extractor_kwargs"
    value = {} if value is None else value
    if not isinstance(value, dict):
        raise InputError(where, field, found=shown(value), expected="an object")
    for key, item in value.items():
        default = _EXTRACTORS[extractor].get(key)
        if default is None:
            raise InputError(
                where,
                f"{field}.{shown(key, quoted=False)}",
                found="an unknown argument",
                expected=f"those of {extractor}",
            )
        if type(item) is not type(default) or (type(item) is int and not 1 <= item <= _WIDTH_LIMIT):
            raise InputError(where, f"{field}.{key}", found=shown(item), expected=f"a value such as {default}")
    return dict(value)


def _activation(value: Any, where: str) -> str:
    field = "policy_kwargs.activation_fn"
    if isinstance(value, Name) and (value.module == "torch.nn" or value.module.startswith("torch.nn.modules.")):
        if value.qualname in ACTIVATIONS:
            return value.qualname
        raise InputError(
            where, field, found=shown(str(value)), expected="an activation that keeps the width, such as ReLU"
        )
    if isinstance(value, Name | ClassByValue):
        name = value.name if isinstance(value, ClassByValue) else str(value)
        raise UntrustedError(
            where, field, found=f"the custom class {shown(name)}", expected="an activation of torch.nn"
        )
    raise InputError(where, field, found=shown(value), expected="a class")


def _net_arch(value: Any, extractor: str, where: str) -> tuple[int, ...]:
    field = "policy_kwargs.net_arch"
    if value is None:
        return () if extractor == "NatureCNN" else (64, 64)
    if not isinstance(value, list) or len(value) > _DEPTH_LIMIT:
        found = f"{len(value):,} layers" if isinstance(value, list) else shown(value)
        raise InputError(where, field, found=found, expected="a list of hidden widths")
    for width in value:
        if type(width) is not int or not 1 <= width <= _WIDTH_LIMIT:
            raise InputError(where, field, found=shown(width), expected=f"a width from 1 to {_WIDTH_LIMIT:,}")
    return tuple(value)
