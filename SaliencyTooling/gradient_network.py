"""The network that computes an agent's gradients, and the scores that are differentiated."""

from __future__ import annotations

import numpy as np

from Neuron_Selection.errors import EngineError
from Neuron_Selection.PatchingTooling.agent.network import Network, margin_weights
from Neuron_Selection.PatchingTooling.opened_agent import OpenedAgent


def has_closed_form(agent: OpenedAgent) -> bool:
    """Whether numpy computes the gradients: of an MLP on the CPU without parameters in its activations."""
    if agent.architecture.activation_fn == "PReLU" or agent.device not in ("cpu", "auto"):
        return False
    try:
        _ = agent.numpy_network
    except EngineError:
        return False
    return True


def gradient_network(agent: OpenedAgent) -> Network:
    """The network in numpy where there is a closed form, else in torch, by autograd."""
    return agent.numpy_network if has_closed_form(agent) else agent.torch_network


def of_the_maximum(scores: np.ndarray) -> np.ndarray:
    """``score_weights`` of the greatest score of each input."""
    return margin_weights(np.argmax(scores, axis=1), None, scores.shape[1])


def of_the_margin(scores: np.ndarray) -> np.ndarray:
    """``score_weights`` of the margin: the best score minus the second best; 0 where one action only is allowed."""
    order = np.argsort(-scores, axis=1, kind="stable")
    weights = margin_weights(order[:, 0], order[:, 1], scores.shape[1])
    weights[np.isneginf(scores[np.arange(len(scores)), order[:, 1]])] = 0.0
    return weights
