"""Read an agent's architecture from the arguments of its policy, checked before anything is built. No torch."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from Neuron_Selection.errors import InputError, shown
from Neuron_Selection.FileFormats.agent_zip.agent_zip import AgentZip, ClassByValue
from Neuron_Selection.FileFormats.agent_zip.pickled_data import Name
from Neuron_Selection.FileFormats.agent_zip.spaces import DiscreteSpace
from Neuron_Selection.PatchingTooling.agent.activation_functions import ACTIVATION_FUNCTIONS
from Neuron_Selection.PatchingTooling.agent.algorithms import UNKNOWN, algorithm_in, reason_unsupported
from Neuron_Selection.PatchingTooling.agent.architecture import Architecture
from Neuron_Selection.PatchingTooling.agent.custom_classes import CustomClasses, is_custom, is_torch_module
from Neuron_Selection.PatchingTooling.agent.heads import ACTOR, DQN, QR_DQN, SHARED, Head
from Neuron_Selection.PatchingTooling.agent.stored_sizes import check_sizes

_HEADS = {
    "stable_baselines3.dqn.policies": DQN,
    "stable_baselines3.common.policies": ACTOR,
    "stable_baselines3.ppo.policies": ACTOR,
    "stable_baselines3.a2c.policies": ACTOR,
    "sb3_contrib.common.maskable.policies": ACTOR,
    "sb3_contrib.ppo_mask.policies": ACTOR,
    "sb3_contrib.trpo.policies": ACTOR,
    "sb3_contrib.qrdqn.policies": QR_DQN,
}
_CUSTOM_POLICIES = {"DQN": DQN, "PPO": ACTOR, "A2C": ACTOR, "TRPO": ACTOR, UNKNOWN: DQN}  # by algorithm
_POLICIES = {
    "MlpPolicy": "MlpPolicy",
    "DQNPolicy": "MlpPolicy",
    "QRDQNPolicy": "MlpPolicy",
    "ActorCriticPolicy": "MlpPolicy",
    "MaskableActorCriticPolicy": "MlpPolicy",
    "CnnPolicy": "CnnPolicy",
    "ActorCriticCnnPolicy": "CnnPolicy",
    "MaskableActorCriticCnnPolicy": "CnnPolicy",
    "MultiInputPolicy": "MultiInputPolicy",
    "MultiInputActorCriticPolicy": "MultiInputPolicy",
    "MaskableMultiInputActorCriticPolicy": "MultiInputPolicy",
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
ACTIVATIONS = frozenset(ACTIVATION_FUNCTIONS)  # torch.nn classes that take no argument and keep the width
_KWARGS = {
    "net_arch",
    "activation_fn",
    "features_extractor_class",
    "features_extractor_kwargs",
    "normalize_images",
}
_EXPECTED_POLICY = "a policy of DQN, QR-DQN, PPO, A2C, TRPO or MaskablePPO"
_WIDTH_LIMIT = 1_000_000
_DEPTH_LIMIT = 1_000


def architecture_of(agent: AgentZip, custom: CustomClasses) -> Architecture:
    """The architecture that the zip describes, checked against the tensors that it stores.

    :param custom: the custom classes that the user trusts
    :raises InputError: an algorithm that is not supported, or choices that are wrong, unknown, or do not fit the
        stored tensors
    :raises UntrustedError: a custom class that the user does not trust
    """
    where = f"{agent.path}: data"
    head, policy = _policy(agent, custom, where)
    kwargs = agent.policy_kwargs
    unknown = sorted(set(kwargs) - _KWARGS - head.arguments)
    if unknown and not is_custom(policy):
        field = f"policy_kwargs.{shown(unknown[0], quoted=False)}"
        raise InputError(where, field, found="an unknown argument", expected=f"those of {head.family} policies")
    extractor = _extractor(kwargs.get("features_extractor_class"), policy, custom, where)
    normalize_images = kwargs.get("normalize_images", True)
    if not isinstance(normalize_images, bool):
        raise InputError(where, "policy_kwargs.normalize_images", found=shown(normalize_images), expected="a boolean")
    if not isinstance(agent.action_space, DiscreteSpace) or agent.action_space.start != 0:
        found = f"a {type(agent.action_space).__name__.removesuffix('Space')} space"
        raise InputError(where, "action_space", found=found, expected="Discrete, from 0 (one score for each action)")
    if "n_quantiles" in head.arguments:
        head = replace(head, n_quantiles=_n_quantiles(kwargs.get("n_quantiles", 200), where))
    shares_extractor = kwargs.get("share_features_extractor", True)
    if not isinstance(shares_extractor, bool):
        field = "policy_kwargs.share_features_extractor"
        raise InputError(where, field, found=shown(shares_extractor), expected="a boolean")
    arch, critic_arch, shared_arch = kwargs.get("net_arch"), None, ()
    if head.critic:
        has_shared = any(name.startswith(f"{SHARED}.") for name in agent.tensors)
        shared_arch, arch, critic_arch = _actor_and_critic(arch, where, has_shared=has_shared)
    more = {name: kwargs[name] for name in unknown}
    architecture = Architecture(
        head=head,
        policy=policy,
        net_arch=_net_arch(arch, policy, extractor, where),
        shared_arch=_net_arch(shared_arch, policy, extractor, where) or (),
        critic_arch=(_net_arch(critic_arch, policy, extractor, where) or ()) if head.critic else (),
        shares_extractor=shares_extractor,
        activation_fn=_activation(kwargs.get("activation_fn", Name("torch.nn", head.activation_fn)), custom, where),
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


def _policy(agent: AgentZip, custom: CustomClasses, where: str) -> tuple[Head, str]:
    """The head, and the kind of policy or the source of a custom one."""
    policy, algorithm = agent.policy_class, algorithm_in(agent)
    head = _HEADS.get(policy.module) if isinstance(policy, Name) else None
    if isinstance(policy, Name) and head is not None and policy.qualname in _POLICIES:
        return head, _POLICIES[policy.qualname]
    if head is not None or algorithm not in _CUSTOM_POLICIES:
        name = policy.name if isinstance(policy, ClassByValue) else str(policy)
        found = f"{shown(name, limit=100, quoted=False)}, a policy of {algorithm}"
        reason = reason_unsupported(algorithm)
        if not reason and head is None:
            reason = f"of {algorithm}, custom policies are not supported"
        raise InputError(where, "policy_class", found=found, expected=_EXPECTED_POLICY, hint=reason)
    return _CUSTOM_POLICIES[algorithm], custom.source_of(policy, "policy_class", where=where, expected=_EXPECTED_POLICY)


def _n_quantiles(value: Any, where: str) -> int:
    if type(value) is not int or not 1 <= value <= _WIDTH_LIMIT:
        raise InputError(where, "policy_kwargs.n_quantiles", found=shown(value), expected=f"1 to {_WIDTH_LIMIT:,}")
    return value


def _actor_and_critic(net_arch: Any, where: str, *, has_shared: bool) -> tuple[Any, Any, Any]:
    """The hidden widths that actor and critic share, those of the actor, those of the critic.

    ``[64, 64]`` and ``{"pi": .., "vf": ..}`` share none. Until SB3 1.8 the widths of a list were of shared layers,
    and a dict could follow them: ``[128, {"pi": .., "vf": ..}]``.

    :param has_shared: whether the zip stores such layers
    """
    field = "policy_kwargs.net_arch"
    shared: list[Any] = []
    if isinstance(net_arch, list | tuple) and (has_shared or any(isinstance(part, dict) for part in net_arch)):
        shared = [part for part in net_arch if not isinstance(part, dict)]
        own = net_arch[len(shared) :]
        if len(own) > 1 or not all(isinstance(part, dict) for part in own):
            raise InputError(where, field, found="widths after an object", expected="at most one object, at the end")
        net_arch = own[0] if own else {}
    if not isinstance(net_arch, dict):
        return shared, net_arch, net_arch
    unknown = sorted(map(str, set(net_arch) - {"pi", "vf"}))
    if unknown:
        raise InputError(where, field, found=f"the key {shown(unknown[0])}", expected="pi and vf")
    return shared, net_arch.get("pi", []), net_arch.get("vf", [])


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
