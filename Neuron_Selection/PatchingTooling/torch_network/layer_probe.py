"""The layers of any network, found by running it once."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from Neuron_Selection.PatchingTooling.agent.heads import SHARED, Head
from Neuron_Selection.PatchingTooling.agent.layers import Layer, LayerTable, Role, refused_names
from Neuron_Selection.PatchingTooling.torch_network.hooks import observed
from Neuron_Selection.PatchingTooling.torch_network.quantile_policy import QuantileNetwork

PROBE_ROWS = 2
_NEURONS_FIRST = (
    "Conv",
    "BatchNorm",
    "InstanceNorm",
    "GroupNorm",
    "MaxPool",
    "AvgPool",
    "AdaptiveMaxPool",
    "AdaptiveAvgPool",
    "LPPool",
    "Upsample",
)
_NEURONS_LAST = ("Linear", "LayerNorm", "Embedding", "Flatten")
_NETWORKS = ("QNetwork", "ActorCriticPolicy", "ActorCriticCnnPolicy", "MultiInputActorCriticPolicy")
_SEQUENTIAL_EXTRACTORS = ("FlattenExtractor", "NatureCNN")


def probe_layers(net: nn.Module, head: Head, run: Callable[[], Any]) -> LayerTable:
    """Run a network on two rows and list the layers that fired.

    :param run: a forward pass of ``net`` on two observations
    """
    modules = dict(net.named_modules())
    empty = (head.mlp, head.critic, SHARED) if head.critic else ()  # of an actor without hidden layers
    leaves = {
        name: module for name, module in modules.items() if name and not list(module.children()) and name not in empty
    }
    fired: list[tuple[str, Any]] = []
    with torch.no_grad(), observed(net, leaves, lambda name, output: fired.append((name, output))):
        run()
    containers = [name for name in modules if name and name not in leaves]
    refused = refused_names(containers, (name for name, _ in net.named_parameters()))
    counts = Counter(name for name, _ in fired)
    left_out = {name: reason for name in leaves if (reason := _why_left_out(counts[name], dict(fired).get(name)))}
    ordered = [(name, output) for name, output in fired if name not in left_out]
    activation = getattr(net, "activation_fn", None)
    layers: dict[str, Layer] = {}
    roles: dict[str, Role] = {name: "critic" for name, _ in ordered if head.is_of_critic(name)}
    if head.critic or has_known_forward(net):  # of an actor, also a custom one, the scores are those of action_net
        last = [name for name, _ in ordered if head.leads_to_scores(name)][-1]
        roles[last] = "quantiles" if head.n_quantiles else "output"
    axis = 1
    for place, (name, output) in enumerate(ordered):
        axis = _neuron_axis(leaves[name], output.dim(), axis)
        following = leaves[ordered[place + 1][0]] if place + 1 < len(ordered) else None
        layers[name] = Layer(
            name=name,
            kind=type(leaves[name]).__name__,
            role=roles.get(name) or _role(leaves[name], following, activation),
            width=output.shape[axis],
            shape=tuple(output.shape[1:]),
            neuron_axis=axis,
            is_cut=_is_cut(name, net, head),
            is_default=bool(list(leaves[name].parameters())) or _is_activation(leaves[name], activation),
        )
    return LayerTable(module=head.module, layers=layers, refused=refused | left_out, left_out=tuple(left_out))


def _why_left_out(count: int, output: Any) -> str:
    if count != 1:
        return "it never fires in a forward pass" if count == 0 else f"it fires {count} times in one forward pass"
    if not isinstance(output, torch.Tensor) or not output.is_floating_point():
        return "its output is not a tensor of floats"
    if output.dim() < 2 or output.shape[0] != PROBE_ROWS:
        return "its output has no batch axis"
    return ""


def _neuron_axis(module: nn.Module, rank: int, axis_before: int) -> int:
    """Channels are on axis 1, features on the last; an activation keeps the axis of what it is applied to.

    So does a LayerNorm over several sides: after a convolution its first side is the channels.
    """
    kind = type(module).__name__
    over_several_sides = len(getattr(module, "normalized_shape", ())) > 1
    if rank == 2 or (kind.startswith(_NEURONS_LAST) and not over_several_sides):
        return rank - 1
    if kind.startswith(_NEURONS_FIRST):
        return 1
    return axis_before if axis_before < rank else rank - 1


def _is_activation(module: nn.Module, activation: Any) -> bool:
    return type(module).__module__ == "torch.nn.modules.activation" or (
        isinstance(activation, type) and type(module) is activation
    )


def _role(module: nn.Module, following: nn.Module | None, activation: Any) -> Role:
    """In a custom network the layer that fires last may be one of several that give the scores."""
    if following is None:
        return "other"
    if _is_activation(module, activation):
        return "post-activation"
    has_parameters = bool(list(module.parameters()))
    return "pre-activation" if has_parameters and _is_activation(following, activation) else "other"


def _is_cut(name: str, net: nn.Module, head: Head) -> bool:
    if not has_known_forward(net):
        return False
    extractor = net.get_submodule("features_extractor")
    is_sequential = is_of_sb3(extractor, *_SEQUENTIAL_EXTRACTORS)
    return head.leads_to_scores(name) or (is_sequential and name.startswith("features_extractor."))


def has_known_forward(net: nn.Module) -> bool:
    """Whether a network is SB3's own: its features extractor, then its MLP."""
    return is_of_sb3(net, *_NETWORKS) or type(net) is QuantileNetwork


def is_of_sb3(module: nn.Module, *names: str) -> bool:
    """Whether a module is of one of these classes of Stable-Baselines3 itself, whose ``forward`` is known."""
    return type(module).__module__.startswith("stable_baselines3.") and type(module).__name__ in names
