"""The layers with hidden neurons: those with a weight matrix; and the other layers with parameters, with the reason.

A layer is judged by its own weights, not by what fires after it: custom networks call activations as functions, or put
a norm in between.
"""

from __future__ import annotations

from collections.abc import Sequence

from Neuron_Selection.errors import UsageError
from Neuron_Selection.PatchingTooling.agent.layers import NOT_HIDDEN, Layer
from Neuron_Selection.PatchingTooling.opened_agent import OpenedAgent

_ROWS_ARE_NO_NEURONS = ("Embedding", "ConvTranspose")


def hidden_layers(agent: OpenedAgent, names: Sequence[str] | None = None) -> list[str]:
    """The layers whose neurons are tried: every hidden one with a weight matrix, unless layers are named.

    An actor's critic has no influence on the decision, so that its layers are tried only if they are named.

    :raises SuiteError: an unknown layer, or a network without hidden ones
    """
    if names is not None:
        return agent.layer_table.chosen(names)
    hidden = _with_weight_matrix(agent)
    if not hidden:
        known = ", ".join(agent.layer_table.layers)
        raise UsageError(f"the network has no hidden layer; --layers is required, some of {known}")
    return hidden


def hidden_activations(agent: OpenedAgent) -> list[str]:
    """The activation after each hidden layer, whose neurons are the layer's too; the layer itself if none fires.

    Without any hidden layer, the output.
    """
    table = agent.layer_table
    return list(dict.fromkeys(activations_of_layers(agent).values())) or [table.output or [*table.layers][-1]]


def activations_of_layers(agent: OpenedAgent) -> dict[str, str]:
    """Each hidden layer to the activation after it, or to itself if none fires."""
    table = agent.layer_table
    weighted, order = _with_weight_matrix(agent), list(table.layers)
    chosen = {}
    for name in weighted:
        layer, following = table.layers[name], order[order.index(name) + 1 :]
        until = next((n for n, other in enumerate(following) if other in {*weighted, table.output}), len(following))
        between = (table.layers[other] for other in following[:until])
        chosen[name] = next((other.name for other in between if _is_activation_of(other, layer)), name)
    return chosen


def layers_left_out(agent: OpenedAgent) -> dict[str, str]:
    """Layers with parameters that ``hidden_layers`` leaves out unless they are named, each with the reason."""
    table, hidden = agent.layer_table, _with_weight_matrix(agent)
    owners = dict.fromkeys(name.rpartition(".")[0] for name in agent.online_weights)
    shared = {alias.rpartition(".")[0]: name.rpartition(".")[0] for alias, name in _shared_parameters(agent).items()}
    reasons = {}
    for name in owners:
        layer = table.layers.get(name)
        if name in shared:
            reasons[name] = f"its weights are those of {shared[name]}"
        elif layer is None:
            reasons[name] = table.refused.get(name, "it has parameters of its own and is not a layer")
        elif name not in hidden and layer.role not in {*NOT_HIDDEN, "post-activation"}:
            reasons[name] = f"{layer.kind}: it has no weight matrix with a row for each neuron"
    return reasons


def _with_weight_matrix(agent: OpenedAgent) -> list[str]:
    rows: dict[str, set[int]] = {}
    shared = _shared_parameters(agent)
    for name, array in agent.online_weights.items():
        if array.ndim > 1 and name not in shared:
            rows.setdefault(name.rpartition(".")[0], set()).add(array.shape[0])
    return [
        name
        for name, layer in agent.layer_table.layers.items()
        if layer.role not in {*NOT_HIDDEN, "post-activation"}
        and not layer.kind.startswith(_ROWS_ARE_NO_NEURONS)
        and layer.width in rows.get(name, ())
    ]


def _shared_parameters(agent: OpenedAgent) -> dict[str, str]:
    """Further names of a parameter to its first one, under which gradients are reported; only custom classes share."""
    if not agent.custom_classes.described:
        return {}
    return {name: first for name, first in agent.torch_network.first_names.items() if name != first}


def _is_activation_of(layer: Layer, weighted: Layer) -> bool:
    return layer.role == "post-activation" and (layer.width, layer.neuron_axis) == (
        weighted.width,
        weighted.neuron_axis,
    )
