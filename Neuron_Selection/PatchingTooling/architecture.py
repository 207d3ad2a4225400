"""What an agent's network is, from its zip alone: every choice checked before anything is built. No torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from Neuron_Selection.errors import InputError, shown
from Neuron_Selection.FileFormats.agent_zip import AgentZip, ClassByValue
from Neuron_Selection.FileFormats.pickled_data import Name
from Neuron_Selection.FileFormats.spaces import DiscreteSpace
from Neuron_Selection.PatchingTooling.custom_classes import CustomClasses, is_custom, is_torch_module
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
}
_WIDTH_LIMIT = 1_000_000
_DEPTH_LIMIT = 1_000


@dataclass(frozen=True, kw_only=True, slots=True)
class Architecture:
    """The choices that make a network.

    ``policy``, ``activation_fn`` and ``extractor`` are names of SB3's and torch.nn's classes, or, of custom ones,
    where they come from (``module.Class``, ``FILE.py:Class``). A custom policy may keep its extractor ("") and its
    ``net_arch`` (None) to itself. Classes inside of the arguments are ``Name``s.
    """

    policy: str
    net_arch: tuple[int, ...] | None
    activation_fn: str
    extractor: str
    extractor_kwargs: Mapping[str, Any]
    normalize_images: bool
    n_actions: int
    more_kwargs: Mapping[str, Any]


def architecture_of(agent: AgentZip, custom: CustomClasses) -> Architecture:
    """The architecture that the zip describes, held against the tensors that it stores.

    :param custom: the custom classes that the user lets in
    :raises InputError: not a DQN, or choices that are wrong, unknown, or do not fit the stored tensors
    :raises UntrustedError: a custom class that is not let in
    """
    where = f"{agent.path}: data"
    policy = _policy(agent.policy_class, custom, where)
    kwargs = agent.policy_kwargs
    unknown = sorted(set(kwargs) - _KWARGS)
    if unknown and not is_custom(policy):
        field = f"policy_kwargs.{shown(unknown[0], quoted=False)}"
        raise InputError(where, field, found="an unknown argument", expected="those of SB3's DQN policies")
    extractor = _extractor(kwargs.get("features_extractor_class"), policy, custom, where)
    normalize_images = kwargs.get("normalize_images", True)
    if not isinstance(normalize_images, bool):
        raise InputError(where, "policy_kwargs.normalize_images", found=shown(normalize_images), expected="a boolean")
    if not isinstance(agent.action_space, DiscreteSpace) or agent.action_space.start != 0:
        found = f"a {type(agent.action_space).__name__.removesuffix('Space')} space"
        raise InputError(where, "action_space", found=found, expected="Discrete, from 0 (DQN has no other)")
    more = {name: kwargs[name] for name in unknown}
    architecture = Architecture(
        policy=policy,
        net_arch=_net_arch(kwargs.get("net_arch"), policy, extractor, where),
        activation_fn=_activation(kwargs.get("activation_fn", Name("torch.nn", "ReLU")), custom, where),
        extractor=extractor,
        extractor_kwargs=_extractor_kwargs(kwargs.get("features_extractor_kwargs"), extractor, where),
        normalize_images=normalize_images,
        n_actions=agent.action_space.n,
        more_kwargs=more,
    )
    inside = custom.classes_inside(architecture.extractor_kwargs, where) | custom.classes_inside(more, where)
    custom.refuse_unused([policy, extractor, architecture.activation_fn, *inside], where=where)
    check_sizes(architecture, agent)
    return architecture


def algorithm_of(policy: Name | ClassByValue) -> str | None:
    """The algorithm whose policy this is, as far as its module tells; None for a custom class."""
    if not isinstance(policy, Name):
        return None
    if policy.module == "stable_baselines3.dqn.policies":
        return "DQN"
    for module, algorithm in _ALGORITHMS.items():
        if policy.module == module or policy.module.startswith(module + "."):
            return algorithm
    return None


def _policy(policy: Name | ClassByValue, custom: CustomClasses, where: str) -> str:
    algorithm = algorithm_of(policy)
    if algorithm == "DQN" and isinstance(policy, Name) and policy.qualname in POLICIES:
        return POLICIES[policy.qualname]
    expected = "a DQN policy (MlpPolicy, CnnPolicy, MultiInputPolicy)"
    if algorithm is not None:
        raise InputError(where, "policy_class", found=f"{policy}, a policy of {algorithm}", expected=expected)
    return custom.source_of(policy, "policy_class", where=where, expected=expected)


def _extractor(value: Any, policy: str, custom: CustomClasses, where: str) -> str:
    role = "features_extractor_class"
    if value is None:
        return _DEFAULT_EXTRACTORS.get(policy, "")
    if not isinstance(value, Name | ClassByValue):
        raise InputError(where, f"policy_kwargs.{role}", found=shown(value), expected="a class")
    if isinstance(value, Name) and value.module == "stable_baselines3.common.torch_layers":
        if value.qualname in _EXTRACTORS:
            return value.qualname
        raise InputError(
            where, f"policy_kwargs.{role}", found=shown(str(value)), expected=f"one of {', '.join(_EXTRACTORS)}"
        )
    return custom.source_of(value, role, where=where, expected=f"one of {', '.join(_EXTRACTORS)}")


def _extractor_kwargs(value: Any, extractor: str, where: str) -> dict[str, Any]:
    field = "policy_kwargs.features_extractor_kwargs"
    value = {} if value is None else value
    if not isinstance(value, dict) or not all(isinstance(key, str) for key in value):
        raise InputError(where, field, found=shown(value), expected="an object with names")
    if is_custom(extractor) or not extractor:
        return dict(value)
    for key, item in value.items():
        default = _EXTRACTORS[extractor].get(key)
        place = f"{field}.{shown(key, quoted=False)}"
        if default is None:
            raise InputError(where, place, found="an unknown argument", expected=f"those of {extractor}")
        if type(item) is not type(default) or (type(item) is int and not 1 <= item <= _WIDTH_LIMIT):
            raise InputError(where, place, found=shown(item), expected=f"a value such as {default}")
    return dict(value)


def _activation(value: Any, custom: CustomClasses, where: str) -> str:
    field, expected = "policy_kwargs.activation_fn", "an activation of torch.nn that keeps the width, such as ReLU"
    if not isinstance(value, Name | ClassByValue):
        raise InputError(where, field, found=shown(value), expected="a class")
    if is_torch_module(value):
        if value.qualname in ACTIVATIONS:
            return value.qualname
        raise InputError(where, field, found=shown(str(value)), expected=expected)
    return custom.source_of(value, "activation_fn", where=where, expected=expected)


def _net_arch(value: Any, policy: str, extractor: str, where: str) -> tuple[int, ...] | None:
    field = "policy_kwargs.net_arch"
    if value is None and is_custom(policy):
        return None
    if value is None:
        return () if extractor == "NatureCNN" else (64, 64)
    if not isinstance(value, list | tuple) or len(value) > _DEPTH_LIMIT:
        found = f"{len(value):,} layers" if isinstance(value, list | tuple) else shown(value)
        raise InputError(where, field, found=found, expected="a list of hidden widths")
    for width in value:
        if type(width) is not int or not 1 <= width <= _WIDTH_LIMIT:
            raise InputError(where, field, found=shown(width), expected=f"a width from 1 to {_WIDTH_LIMIT:,}")
    return tuple(value)
