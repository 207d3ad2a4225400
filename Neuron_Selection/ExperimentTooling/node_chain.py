"""The layers between which edges are patched: the inputs, the hidden layers one after the other, and the scores.

An edge joins a neuron (a channel, in a convolution) to one of the next layer of this chain. The network must be a
chain there: the scores depend on the input through each of its layers alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

import numpy as np

from Neuron_Selection.errors import UsageError
from Neuron_Selection.ExperimentTooling.hidden_layers import hidden_activations
from Neuron_Selection.FileFormats.agent_zip.spaces import BoxSpace
from Neuron_Selection.FileFormats.observations import Observations
from Neuron_Selection.PatchingTooling.agent.layers import NOT_HIDDEN, LayerTable
from Neuron_Selection.PatchingTooling.agent.network import Network
from Neuron_Selection.PatchingTooling.opened_agent import OpenedAgent

INPUTS = "inputs"  # the channels of an image, which no layer outputs
SCORES = "scores"


class Link(NamedTuple):
    """Two neighbouring layers of a chain; ``number`` is the position of the sending one."""

    number: int
    sends: str
    receives: str


@dataclass(frozen=True, kw_only=True, slots=True)
class NodeChain:
    """Layers one after the other, the last of them ``SCORES``.

    :param inputs: the layer that flattens observations, or ``INPUTS``; "" where the chain begins with a hidden layer,
        since several branches lead to it
    :param hidden: the layers whose nodes are hidden neurons
    :param widths: the number of nodes of each layer
    :param left_out: hidden layers before the chain, with the reason
    """

    network: Network
    inputs: str
    hidden: tuple[str, ...]
    widths: tuple[int, ...]
    left_out: dict[str, str]

    @property
    def layers(self) -> tuple[str, ...]:
        """All of them, in the order in which they fire."""
        return (*([self.inputs] if self.inputs else []), *self.hidden, SCORES)

    @property
    def links(self) -> list[Link]:
        """Every two neighbouring layers."""
        return [Link(number, *names) for number, names in enumerate(pairwise(self.layers))]

    @property
    def n_edges(self) -> int:
        """Edges of all links."""
        return sum(before * after for before, after in pairwise(self.widths))

    def values(self, observations: Observations) -> list[np.ndarray]:
        """What the nodes of each layer but the scores output, (n, width, *positions) each."""
        names = [name for name in self.layers[:-1] if name != INPUTS]
        outputs = {INPUTS: observations, **self.network.activations(observations, names)}
        return [np.asarray(outputs[name]) for name in self.layers[:-1]]

    def received(self, link: Link, outputs: np.ndarray, observations: Observations) -> np.ndarray:
        """What the receiving layer outputs, or the scores, if the sending layer has these outputs.

        :param outputs: (n, width, *positions)
        """
        network = self.network
        if link.receives == SCORES:
            if link.sends == INPUTS:
                return network.scores(outputs)
            return network.run_on(link.sends, outputs, observations)
        if link.sends == INPUTS:
            return network.activations(outputs, [link.receives])[link.receives]
        return network.outputs_given(link.receives, link.sends, outputs, observations)


def chain_of(agent: OpenedAgent) -> NodeChain:
    """The chain of an agent's decision network.

    :raises UsageError: not even the last hidden layer is one through which alone the scores depend on the input
    """
    table = agent.layer_table
    hidden = [name for name in hidden_activations(agent) if table.layers[name].role not in NOT_HIDDEN]
    branches = [place for place, name in enumerate(hidden) if not table.layers[name].is_cut]
    first = branches[-1] + 1 if branches else 0
    why = "the scores do not depend on the input through it alone"
    if hidden and first == len(hidden):
        raise UsageError(
            f"{why}, so that the network is not a chain of layers", file="edges", field=f"layer {hidden[-1]}"
        )
    inputs, n_inputs = ("", 0) if first else _inputs(agent, table, hidden)
    chosen = tuple(hidden[first:])
    if not inputs and not chosen:
        raise UsageError("the network has no hidden layer, and its inputs are not one list or image", file="edges")
    widths = [*([n_inputs] if inputs else []), *(table.layers[name].width for name in chosen)]
    return NodeChain(
        network=agent.network,
        inputs=inputs,
        hidden=chosen,
        widths=(*widths, agent.architecture.n_actions),
        left_out=dict.fromkeys(hidden[:first], why),
    )


def _inputs(agent: OpenedAgent, table: LayerTable, hidden: Sequence[str]) -> tuple[str, int]:
    """The nodes that the first layer with weights reads: name and number; "" where they are not one list or image."""
    order = [layer for layer in table.layers.values() if layer.role != "critic"]
    until = [layer.name for layer in order].index(hidden[0]) if hidden else len(order) - 1
    before, space = order[:until], agent.agent_zip.observation_space
    kinds = [layer.kind for layer in before]
    is_one_list = kinds in (["Flatten"], ["Flatten", "Linear"])  # the Linear before hidden[0]; a Dict has more parts
    if is_one_list and (before[0].is_cut or agent.architecture.extractor == "CombinedExtractor"):
        return before[0].name, before[0].width
    if isinstance(space, BoxSpace) and len(space.shape) == 3 and order[0].kind == "Conv2d":
        return INPUTS, space.shape[0]
    return "", 0
