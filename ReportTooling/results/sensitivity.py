"""What a neuron behind the first layer reads from the observation: its mean derivative, for MLPs."""

from __future__ import annotations

import numpy as np

from Neuron_Selection.FileFormats.observations import Observations
from Neuron_Selection.PatchingTooling.agent.network import Linear
from Neuron_Selection.PatchingTooling.opened_agent import OpenedAgent


def mean_derivative(agent: OpenedAgent, layer: str, neuron: int, observations: Observations) -> np.ndarray | None:
    """Mean over inputs of the derivative of a Linear's neuron with respect to each feature of the observation.

    :return: (n_features,); None where the network is not known to be an MLP, or the neuron is in its first layer
    """
    before = _linears_before(agent, layer)
    if not before:
        return None
    own = agent.online_weights[f"{layer}.weight"][neuron].astype(np.float64)
    inputs = agent.network.activations(observations, [linear.name for linear in before])
    n_inputs = len(inputs[before[0].name])
    gradient = np.broadcast_to(own, (n_inputs, len(own)))
    for linear in reversed(before):
        slopes = linear.following.derivative(inputs[linear.name].astype(np.float64))
        gradient = (gradient * slopes) @ agent.online_weights[f"{linear.name}.weight"].astype(np.float64)
    mean: np.ndarray = gradient.mean(axis=0)
    return mean


def _linears_before(agent: OpenedAgent, layer: str) -> tuple[Linear, ...]:
    """The Linear layers of an MLP that come before one of them; empty where they are not known."""
    table = agent.layer_table.layers
    first = next((name for name, one in table.items() if one.kind == "Linear"), "")
    linears = agent.network.linears_after(first) if first else None
    names = [linear.name for linear in linears or ()]
    return tuple(linears[: names.index(layer)]) if linears and layer in names else ()
