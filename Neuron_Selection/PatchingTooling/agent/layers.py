"""The layers of a network as records: names, widths, neuron axes. No torch."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal, TypeAlias

from Neuron_Selection.errors import UsageError, shown
from Neuron_Selection.FileFormats.agent_zip.spaces import LeafSpace, Space
from Neuron_Selection.FileFormats.patch_spec import Neurons, parse_patch_spec
from Neuron_Selection.FileFormats.storage.known_names import refuse_unknown
from Neuron_Selection.PatchingTooling.agent.architecture import Architecture, flat_size
from Neuron_Selection.PatchingTooling.agent.custom_classes import is_custom
from Neuron_Selection.PatchingTooling.agent.heads import SHARED

Role: TypeAlias = Literal["pre-activation", "post-activation", "output", "quantiles", "critic", "other"]
NOT_HIDDEN = frozenset({"output", "quantiles", "critic"})  # the last layer, and layers without influence on it


@dataclass(frozen=True, kw_only=True, slots=True)
class Layer:
    """One leaf module of the network.

    ``shape`` is that of one output without the batch axis, ``neuron_axis`` counts with it: 1 for (n, width) and for
    the channels of a convolution. ``is_cut``: the scores depend on the input through this layer alone.
    ``is_default``: extracted unless layers are named.
    """

    name: str
    kind: str
    role: Role
    width: int
    shape: tuple[int, ...]
    neuron_axis: int
    is_cut: bool
    is_default: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class LayerTable:
    """Every layer that can be recorded or patched, in the order in which they fire; and the names that cannot be.

    ``module``: the policy's attribute that layer names count from. ``refused``: name to reason. ``left_out``: the
    refused layers that fire never or more than once.
    """

    module: str

    layers: Mapping[str, Layer]
    refused: Mapping[str, str]
    left_out: tuple[str, ...] = ()

    @property
    def widths(self) -> dict[str, int]:
        """Layer to number of neurons."""
        return {name: layer.width for name, layer in self.layers.items()}

    @property
    def aliases(self) -> dict[str, str]:
        """Names counted from the policy (``q_net.q_net.0``) to names counted from its ``module``."""
        if not self.module:  # names are counted from the policy; SB3 has two for an actor's features extractor
            return {f"pi_{name}": name for name in self.layers if name.startswith("features_extractor.")}
        counted_from_policy = {f"{self.module}.{name}": name for name in self.layers}
        return {alias: name for alias, name in counted_from_policy.items() if alias not in self.layers}

    @property
    def all_names(self) -> dict[str, str]:
        """Every accepted name of a layer to its canonical one."""
        return {**{name: name for name in self.layers}, **self.aliases}

    @property
    def output(self) -> str:
        """The layer whose output is the scores; empty where no single layer's is, as in a duelling network."""
        return next((name for name, layer in self.layers.items() if layer.role == "output"), "")

    def resolve(self, spec: str | Mapping[str, object]) -> dict[str, Neurons]:
        """The neurons that a patch spec names, under canonical names, in the order in which the layers fire.

        :raises UsageError: with a caret where the spec is text
        """
        resolved = parse_patch_spec(spec).resolve(self.widths, aliases=self.aliases, refused=self.refused)
        return {name: resolved[name] for name in self.layers if name in resolved}

    def chosen(self, names: Iterable[str] | None) -> list[str]:
        """Canonical names of some layers, in the order in which they fire; None means the defaults.

        :raises UsageError: a name that is refused, with the reason
        :raises InputError: an unknown name
        """
        if names is None:
            return [name for name, layer in self.layers.items() if layer.is_default]
        canonical = [self.all_names.get(name, name) for name in names]
        for name in canonical:
            if name in self.refused:
                raise UsageError(
                    f"{self.refused[name]}; layers: {', '.join(self.layers)}", field=f"layer {shown(name)}"
                )
        refuse_unknown(canonical, list(self.layers), what="layer", where=self.module or "policy")
        return [name for name in self.layers if name in canonical]


def mlp_layers(architecture: Architecture, space: Space) -> LayerTable | None:
    """The table of an MLP after SB3's FlattenExtractor, from the zip alone; None for any other network."""
    is_mlp = architecture.extractor == "FlattenExtractor" and not is_custom(architecture.policy)
    if not is_mlp or is_custom(architecture.activation_fn) or not isinstance(space, LeafSpace):
        return None
    head = architecture.head
    layers: dict[str, Layer] = {}

    def add(name: str, kind: str, role: Role, width: int) -> None:
        layers[name] = Layer(
            name=name,
            kind=kind,
            role=role,
            width=width,
            shape=(width,),
            neuron_axis=1,
            is_cut=role != "critic",
            is_default=kind != "Flatten",
        )

    add("features_extractor.flatten", "Flatten", "other", flat_size(space))
    containers = ["features_extractor", head.mlp]
    if not architecture.shares_extractor:
        add("vf_features_extractor.flatten", "Flatten", "critic", flat_size(space))
        containers += ["vf_features_extractor"]
    outputs: Role = "quantiles" if head.n_quantiles else "output"
    for linear, activation, width in architecture.layers:
        add(linear, "Linear", "pre-activation" if activation else outputs, width)
        if activation:
            add(activation, architecture.activation_fn, "post-activation", width)
    if head.critic:
        containers += ["mlp_extractor", head.critic, *([SHARED] if architecture.shared_arch else [])]
    for linear, activation, width in architecture.critic_layers[len(architecture.shared_arch) :]:
        add(linear, "Linear", "critic", width)
        if activation:
            add(activation, architecture.activation_fn, "critic", width)
    parameters = [f"{name}.weight" for name, layer in layers.items() if layer.kind in ("Linear", "PReLU")]
    parameters += [f"{name}.bias" for name, layer in layers.items() if layer.kind == "Linear"]
    return LayerTable(module=head.module, layers=layers, refused=refused_names(containers, parameters))


def refused_names(containers: Iterable[str], parameters: Iterable[str]) -> dict[str, str]:
    """The names in a network that are not layers, each with what it is."""
    return dict.fromkeys(containers, "a container of layers, not a layer") | {
        name: f"a parameter; its layer is {name.rpartition('.')[0]}" for name in parameters
    }
