"""What a neuron reads and what it moves: its incoming weights, and the weights that leave it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from Neuron_Selection.PatchingTooling.opened_agent import OpenedAgent


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Incoming:
    """The weights into a neuron, (k,); ``source`` is the layer that it reads, "" for the observation."""

    weights: np.ndarray
    source: str


def incoming(agent: OpenedAgent, layer: str, neuron: int) -> Incoming | None:
    """The weights into a neuron of a Linear; None for other layers, such as convolutions behind the first."""
    weights = agent.online_weights.get(f"{layer}.weight")
    if weights is None or weights.ndim != 2:
        return None
    before = [name for name in agent.layer_table.layers if _is_before(agent, name, layer)]
    widths = {name: agent.layer_table.layers[name].width for name in before}
    source = next((name for name in reversed(before) if widths[name] == weights.shape[1]), "")
    linear_before = [name for name in before if f"{name}.weight" in agent.online_weights]
    if linear_before and not source:
        return None  # it reads a flattened convolution, whose entries have no names
    return Incoming(weights=weights[neuron].astype(np.float64), source=source if linear_before else "")


def outgoing(agent: OpenedAgent, layer: str, neuron: int) -> np.ndarray | None:
    """The weight from a neuron of the last hidden layer to each action, (n_actions,); None for other layers."""
    output = agent.layer_table.output
    weights = agent.online_weights.get(f"{output}.weight")
    between = [name for name in agent.layer_table.layers if _is_before(agent, name, output)]
    hidden = [name for name in between if f"{name}.weight" in agent.online_weights]
    if weights is None or weights.ndim != 2 or not hidden or hidden[-1] != layer:
        return None
    head = agent.architecture.head
    column = weights[:, neuron].astype(np.float64)
    if weights.shape[1] != agent.layer_table.layers[layer].width:
        return None
    scores: np.ndarray = head.scores_from(column[None, :])[0]
    return scores


def _is_before(agent: OpenedAgent, name: str, layer: str) -> bool:
    """Whether a layer fires before another one on the way to the scores."""
    order = list(agent.layer_table.layers)
    if layer not in order or agent.architecture.head.is_of_critic(name):
        return False
    return order.index(name) < order.index(layer)
