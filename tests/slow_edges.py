"""Patched edges and circuits from their definitions, slowly: hooks on the real network, one edge or node at a time."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from contextlib import ExitStack
from typing import Any

import numpy as np
import torch

from Neuron_Selection.PatchingTooling.agent.heads import Head

INPUTS, SCORES = "inputs", "scores"


def run(network: Any, tensors: Any, held: dict[str, dict[int, torch.Tensor]], layers: Sequence[str]) -> dict[str, Any]:
    """One pass with some channels held at values; the outputs of layers, and the scores.

    :param held: layer to {channel: (n, *positions)}; ``INPUTS`` are the observations themselves
    """
    outputs: dict[str, Any] = {}
    tensors = tensors.clone()
    for channel, values in held.get(INPUTS, {}).items():
        tensors[:, channel] = values
    outputs[INPUTS] = tensors
    with ExitStack() as undo, torch.no_grad():
        for layer in {*layers, *held} - {INPUTS, SCORES}:

            def hook(_module: Any, _arguments: Any, output: torch.Tensor, layer: str = layer) -> torch.Tensor:
                output = output.clone()
                for channel, values in held.get(layer, {}).items():
                    output[:, channel] = values
                outputs[layer] = output.clone()
                return output

            undo.callback(network.module.get_submodule(layer).register_forward_hook(hook).remove)
        head: Head = network.head
        outputs[SCORES] = head.scores_from(network.forward(tensors))
    return outputs


def edge_scores(
    network: Any, target: Any, source: Any, sends: tuple[str, int], receives: tuple[str, int]
) -> np.ndarray:
    """The scores under one edge, (n, n_actions): the receiver computed with the sender patched, then patched alone.

    :param target: observations as tensors, and so ``source``
    """
    (layer, channel), (after, receiver) = sends, receives
    values = run(network, source, {}, [layer])[layer][:, channel]
    received = run(network, target, {layer: {channel: values}}, [after])[after]
    if after == SCORES:
        scores = run(network, target, {}, [])[SCORES].clone()
        scores[:, receiver] = received[:, receiver]
    else:
        scores = run(network, target, {after: {receiver: received[:, receiver]}}, [])[SCORES]
    return np.asarray(scores)


def circuit_scores(
    network: Any, live: Any, ablated: dict[str, torch.Tensor], layers: Sequence[str], edges: set[tuple[int, int, int]]
) -> np.ndarray:
    """The scores with some edges intact, (n, n_actions), node by node.

    :param ablated: layer to what the edges outside of the circuit carry, (n, width, *positions)
    :param layers: of the chain, the last ``SCORES``
    :param edges: link, sender, receiver
    """
    values = run(network, live, {}, [layers[0]])[layers[0]]
    for link, (before, after) in enumerate(itertools.pairwise(layers)):
        received = run(network, live, {}, [after])[after].clone()
        for receiver in range(received.shape[1]):
            held = {
                sender: (values if (link, sender, receiver) in edges else ablated[before])[:, sender]
                for sender in range(values.shape[1])
            }
            received[:, receiver] = run(network, live, {before: held}, [after])[after][:, receiver]
        values = received
    return np.asarray(values)
