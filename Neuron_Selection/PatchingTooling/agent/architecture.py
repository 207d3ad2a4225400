"""The architecture of an agent's network, read from its zip and checked before anything is built. No torch.

Its sizes are checked against the stored tensors, so that nothing larger than the file is ever built.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, TypeGuard

import numpy as np

from Neuron_Selection.errors import InputError, shown
from Neuron_Selection.FileFormats.agent_zip.agent_zip import AgentZip, ClassByValue, repeated_extractors
from Neuron_Selection.FileFormats.agent_zip.pickled_data import Name
from Neuron_Selection.FileFormats.agent_zip.spaces import (
    BoxSpace,
    DictSpace,
    DiscreteSpace,
    LeafSpace,
    MultiBinarySpace,
    MultiDiscreteSpace,
    Space,
)
from Neuron_Selection.PatchingTooling.agent.activation_functions import ACTIVATION_FUNCTIONS
from Neuron_Selection.PatchingTooling.agent.algorithms import UNKNOWN, algorithm_in, reason_unsupported
from Neuron_Selection.PatchingTooling.agent.custom_classes import CustomClasses, is_custom, is_torch_module
from Neuron_Selection.PatchingTooling.agent.heads import ACTOR, DQN, QR_DQN, SHARED, Head, MlpLayer

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
EXTRACTORS = ("features_extractor", "vf_features_extractor")  # the actor's, or both; and the critic's own
_OF_ACTOR = "pi_features_extractor"  # repeats the first
_EXPECTED_POLICY = "a policy of DQN, QR-DQN, PPO, A2C, TRPO or MaskablePPO"
_WIDTH_LIMIT = 1_000_000
_DEPTH_LIMIT = 1_000


@dataclass(frozen=True, kw_only=True, slots=True)
class Architecture:
    """The choices that make a network.

    ``policy``, ``activation_fn`` and ``extractor`` are names of SB3's and torch.nn's classes, or, of custom ones,
    their source (``module.Class``, ``FILE.py:Class``). A custom policy may not name its extractor ("") or its
    ``net_arch`` (None). Classes among the arguments are ``Name``s. ``critic_arch``: hidden widths of an actor's critic;
    ``shared_arch``: of the layers before those of both, which SB3 had until 1.8.
    ``shares_extractor``: whether actor and critic have one features extractor.
    """

    head: Head
    policy: str
    net_arch: tuple[int, ...] | None
    critic_arch: tuple[int, ...] = ()
    shared_arch: tuple[int, ...] = ()
    shares_extractor: bool = True
    activation_fn: str
    extractor: str
    extractor_kwargs: Mapping[str, Any]
    normalize_images: bool
    n_actions: int
    more_kwargs: Mapping[str, Any]

    @property
    def layers(self) -> tuple[MlpLayer, ...]:
        """Every Linear from the features to the scores."""
        n_outputs = self.n_actions * max(self.head.n_quantiles, 1)
        return self.head.layers(self.shared_arch, self.net_arch or (), n_outputs)

    @property
    def critic_layers(self) -> tuple[MlpLayer, ...]:
        """Every Linear from the features to the critic's value; empty without a critic."""
        return self.head.critic_layers(self.shared_arch, self.critic_arch)


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
    """The head, and the kind of policy or the source of a custom one, which must be of a DQN."""
    policy, algorithm = agent.policy_class, algorithm_in(agent)
    head = _HEADS.get(policy.module) if isinstance(policy, Name) else None
    if isinstance(policy, Name) and head is not None and policy.qualname in _POLICIES:
        return head, _POLICIES[policy.qualname]
    if head is not None or algorithm not in ("DQN", UNKNOWN):
        name = policy.name if isinstance(policy, ClassByValue) else str(policy)
        found = f"{shown(name, limit=100, quoted=False)}, a policy of {algorithm}"
        reason = reason_unsupported(algorithm)
        raise InputError(where, "policy_class", found=found, expected=_EXPECTED_POLICY, hint=reason)
    return DQN, custom.source_of(policy, "policy_class", where=where, expected=_EXPECTED_POLICY)


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


_NATURE_CONVOLUTIONS = ((32, 8, 4), (64, 4, 2), (64, 3, 1))  # channels, kernel and stride (Mnih et al. 2015)


def check_sizes(architecture: Architecture, agent: AgentZip) -> None:
    """Raise unless the zip stores exactly the float32 tensors that the architecture needs.

    The tensors of a custom class are checked when its weights are loaded: only the class knows their shapes.

    :raises InputError: the tensor, its shape, the shape expected
    """
    if architecture.net_arch is None or is_custom(architecture.policy):
        return
    where, head = f"{agent.path}: policy.pth", architecture.head
    extractor = _extractor_shapes(architecture, agent)
    width = _features_dim(architecture, agent)
    extractors = ["features_extractor"] if architecture.shares_extractor else list(EXTRACTORS)
    shapes = {f"{part}.{name}": shape for part in extractors for name, shape in extractor.items()}
    shapes |= _mlp_shapes(architecture.layers, width) | _mlp_shapes(architecture.critic_layers, width)
    if architecture.activation_fn == "PReLU":
        shapes |= {f"{activation}.weight": (1,) for activation in _activations(architecture)}
    known = {head.stored_name(name): shape for name, shape in shapes.items()}
    known |= {f"{copy}.{name}": shape for copy in head.copies for name, shape in shapes.items()}
    for name, shape in known.items():
        _check_tensor(agent.tensors, name, shape, where)
    for name in agent.tensors:
        if name not in known and not _of_custom(name, architecture):
            _check_repetition(name, agent, where)


def _mlp_shapes(layers: tuple[MlpLayer, ...], n_inputs: int) -> dict[str, tuple[int, ...]]:
    shapes: dict[str, tuple[int, ...]] = {}
    for layer in layers:
        shapes |= {f"{layer.linear}.weight": (layer.width, n_inputs), f"{layer.linear}.bias": (layer.width,)}
        n_inputs = layer.width
    return shapes


def _activations(architecture: Architecture) -> list[str]:
    """The names of the activation functions after hidden layers."""
    return [layer.activation for layer in (*architecture.layers, *architecture.critic_layers) if layer.activation]


def _of_custom(name: str, architecture: Architecture) -> bool:
    """Whether a tensor may belong to a custom class, which alone knows what it needs."""
    head = architecture.head
    inner = name
    if head.module:
        net = next((net for net in (head.module, *head.copies) if name.startswith(f"{net}.")), None)
        if net is None:
            return False
        inner = name.removeprefix(f"{net}.")
    activations = tuple(f"{activation}." for activation in _activations(architecture))
    in_extractor = is_custom(architecture.extractor) and inner.partition(".")[0] in (*EXTRACTORS, _OF_ACTOR)
    return in_extractor or (is_custom(architecture.activation_fn) and inner.startswith(activations))


def _check_repetition(name: str, agent: AgentZip, where: str) -> None:
    """Raise for a tensor that the network has no place for, unless it repeats one of a features extractor."""
    extractor, _, inner = name.partition(".")
    first = agent.tensors.get(f"features_extractor.{inner}")
    if first is None or extractor not in repeated_extractors(agent.policy_kwargs):
        raise InputError(where, shown(name), found="a tensor that this network does not have", expected="none")
    if agent.tensors[name].dtype != first.dtype or not np.array_equal(agent.tensors[name], first, equal_nan=True):
        raise InputError(where, name, found="other values", expected=f"those of features_extractor.{inner}")


def refuse_nonfinite(agent: AgentZip) -> None:
    """Raise for NaN or infinity among the weights: the greedy action of such a network means nothing."""
    for name, tensor in agent.tensors.items():
        if tensor.dtype.kind == "f" and not np.isfinite(tensor).all():
            raise InputError(
                f"{agent.path}: policy.pth",
                name,
                found="NaN or infinity",
                expected="finite weights",
                hint="--allow_nonfinite loads them",
            )


def _check_tensor(tensors: Mapping[str, np.ndarray], name: str, shape: tuple[int, ...], where: str) -> None:
    """Raise unless the file stores a float32 tensor of this name and shape."""
    if name not in tensors:
        raise InputError(where, name, found="no such tensor", expected=f"one of shape {shape}")
    if tensors[name].shape != shape:
        raise InputError(where, name, found=f"shape {tensors[name].shape}", expected=f"{shape}")
    if tensors[name].dtype != np.float32:
        raise InputError(where, name, found=f"{tensors[name].dtype.name} values", expected="float32")


def _features_dim(architecture: Architecture, agent: AgentZip) -> int:
    """The width of the features extractor's output, which the first Linear reads."""
    space = agent.observation_space
    where = f"{agent.path}: data"
    if is_custom(architecture.extractor):
        stored = agent.tensors.get(architecture.head.stored_name(f"{architecture.layers[0].linear}.weight"))
        return stored.shape[1] if stored is not None and stored.ndim == 2 else 0
    if architecture.extractor == "CombinedExtractor":
        if not isinstance(space, DictSpace):
            raise InputError(
                where, "observation_space", found=_kind(space), expected="a Dict space for CombinedExtractor"
            )
        return sum(
            _cnn_width(architecture) if is_image(part, architecture) else flat_size(part)
            for part in space.spaces.values()
        )
    if architecture.extractor == "NatureCNN":
        if not is_image(space, architecture):
            raise InputError(where, "observation_space", found=_kind(space), expected="an image space for NatureCNN")
        return _cnn_width(architecture)
    if isinstance(space, DictSpace):
        raise InputError(
            where, "observation_space", found="a Dict space", expected="a plain space for FlattenExtractor"
        )
    return flat_size(space)


def _extractor_shapes(architecture: Architecture, agent: AgentZip) -> dict[str, tuple[int, ...]]:
    """The tensors of SB3's own extractors: those of a NatureCNN for every image."""
    space, where = agent.observation_space, f"{agent.path}: data"
    if architecture.extractor == "NatureCNN" and is_image(space, architecture):
        return _nature_cnn_shapes(space, _cnn_width(architecture), where)
    if architecture.extractor != "CombinedExtractor" or not isinstance(space, DictSpace):
        return {}
    shapes: dict[str, tuple[int, ...]] = {}
    for key, part in space.spaces.items():
        if is_image(part, architecture):
            inner = _nature_cnn_shapes(part, _cnn_width(architecture), where)
            shapes |= {f"extractors.{key}.{name}": shape for name, shape in inner.items()}
    return shapes


def _cnn_width(architecture: Architecture) -> int:
    name, default = ("features_dim", 512) if architecture.extractor == "NatureCNN" else ("cnn_output_dim", 256)
    return int(architecture.extractor_kwargs.get(name, default))


def is_image(space: Space, architecture: Architecture) -> TypeGuard[BoxSpace]:
    """SB3's own test; images that are normalised already need only have three sides."""
    if not isinstance(space, BoxSpace):
        return False
    already = architecture.extractor_kwargs.get("normalized_image", False) or not architecture.normalize_images
    return len(space.shape) == 3 if already else space.is_image


def _nature_cnn_shapes(space: BoxSpace, width: int, where: str) -> dict[str, tuple[int, ...]]:
    channels, *sides = space.shape
    shapes: dict[str, tuple[int, ...]] = {}
    for number, (filters, kernel, stride) in enumerate(_NATURE_CONVOLUTIONS):
        sides = [(side - kernel) // stride + 1 for side in sides]
        shapes |= {
            f"cnn.{2 * number}.weight": (filters, channels, kernel, kernel),
            f"cnn.{2 * number}.bias": (filters,),
        }
        channels = filters
    if min(sides) < 1:
        found = f"images of {space.shape}"
        raise InputError(where, "observation_space", found=found, expected="at least 36 x 36 for NatureCNN")
    return shapes | {"linear.0.weight": (width, channels * sides[0] * sides[1]), "linear.0.bias": (width,)}


def flat_size(space: LeafSpace) -> int:
    """The number of features that SB3's preprocessing makes of one observation; a discrete one becomes one-hot."""
    if isinstance(space, DiscreteSpace):
        return space.n
    if isinstance(space, MultiDiscreteSpace):
        return int(space.nvec.sum())
    return int(np.prod(space.shape, dtype=np.int64))


def _kind(space: object) -> str:
    if isinstance(space, BoxSpace):
        return f"a Box of {space.shape}, {space.dtype.name}"
    if isinstance(space, MultiBinarySpace):
        return f"a MultiBinary of {space.shape}"
    return f"a {type(space).__name__.removesuffix('Space')} space"
