"""Gradients of an agent's Q-values by weight: in closed form for MLPs, by autograd for every other network."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Protocol

import numpy as np

from Neuron_Selection.errors import EngineError
from Neuron_Selection.FileFormats.observations import Observations, count_of, rows_of
from Neuron_Selection.PatchingTooling.experiment import OpenedAgent
from Neuron_Selection.PatchingTooling.numpy_network.gradients import (
    compute_layer_gradients,
    compute_mean_gradient_magnitudes,
    iterate_weight_gradients,
    margin_weights,
)
from Neuron_Selection.PatchingTooling.numpy_network.mlp import FastMlp, compute_q_values, fast_mlp, record_activations

Gradients = dict[str, np.ndarray]
_BATCH = 64


class GradientSource(Protocol):
    """A way to compute gradients of sum_a q_weights[a] * Q[a] for each input; ``q_weights``: (n, n_actions)."""

    @property
    def name(self) -> str:
        """``fast``, the closed form in numpy, or ``autograd``."""

    @property
    def device(self) -> str:
        """Device of the computation."""

    def q_values(self, observations: Observations) -> np.ndarray:
        """Q-values, (n, n_actions)."""

    def each(self, observations: Observations, q_weights: np.ndarray) -> Iterator[Gradients]:
        """One input's gradients after the other: parameter to an array of its shape."""

    def mean_magnitudes(self, observations: Observations, q_weights: np.ndarray) -> Gradients:
        """Mean over inputs of the absolute gradient."""

    def mean_signed(self, observations: Observations, q_weights: np.ndarray) -> Gradients:
        """Mean over inputs of the gradient, in which opposite signs cancel."""


def gradient_source(opened: OpenedAgent) -> GradientSource:
    """The closed form where the network is an MLP without parameters in its activations, else autograd.

    Devices other than the CPU are served by autograd.
    """
    has_closed_form = opened.architecture.activation_fn != "PReLU"  # whose slope is a parameter as well
    if has_closed_form and opened.device in ("cpu", "auto"):
        try:
            return FastGradients(network=fast_mlp(opened.agent_zip, opened.architecture), dtype=opened.stored_dtype)
        except EngineError:
            pass
    return AutogradGradients(opened=opened)


def of_the_maximum(q_values: np.ndarray) -> np.ndarray:
    """``q_weights`` of the greatest Q-value of each input."""
    return margin_weights(np.argmax(q_values, axis=1), None, q_values.shape[1])


def of_the_margin(q_values: np.ndarray) -> np.ndarray:
    """``q_weights`` of the margin: the best Q-value minus the second best."""
    order = np.argsort(-q_values, axis=1, kind="stable")
    return margin_weights(order[:, 0], order[:, 1], q_values.shape[1])


@dataclass(frozen=True, kw_only=True, slots=True)
class FastGradients:
    """See ``GradientSource``; no torch. The gradient of one input is delta (x) h in every Linear.

    ``dtype``: of one input's gradients; means are float64.
    """

    network: FastMlp
    dtype: np.dtype
    name: str = "fast"
    device: str = "cpu"

    def q_values(self, observations: Observations) -> np.ndarray:
        """Q-values, (n, n_actions)."""
        return compute_q_values(self.network, observations)

    def each(self, observations: Observations, q_weights: np.ndarray) -> Iterator[Gradients]:
        """One input's gradients after the other."""
        parameters = [f"{name}.{kind}" for name in self._linear for kind in ("weight", "bias")]
        for start in range(0, count_of(observations), _BATCH):
            rows = slice(start, start + _BATCH)
            batch: dict[str, list[np.ndarray]] = {}
            part = rows_of(observations, rows)
            gradients = iterate_weight_gradients(self.network, part, q_weights[rows], dtype=self.dtype)
            for _rows, name, array in gradients:
                batch.setdefault(name, []).extend(array.copy())
            for row in range(len(q_weights[rows])):
                yield {name: batch[name][row] for name in parameters}

    def mean_magnitudes(self, observations: Observations, q_weights: np.ndarray) -> Gradients:
        """|delta|^T |h| / n: exact, without any input's own gradient."""
        return compute_mean_gradient_magnitudes(self.network, observations, q_weights)

    def mean_signed(self, observations: Observations, q_weights: np.ndarray) -> Gradients:
        """delta^T h / n."""
        sums: Gradients = {}
        total = count_of(observations)
        for start in range(0, total, _BATCH * 16):
            rows = slice(start, start + _BATCH * 16)
            part = rows_of(observations, rows)
            deltas = compute_layer_gradients(self.network, part, q_weights[rows], list(self._linear))
            inputs = record_activations(self.network, part, list(self._linear.values()))
            for name, before in self._linear.items():
                for kind, array in (("weight", deltas[name].T @ inputs[before]), ("bias", deltas[name].sum(axis=0))):
                    key = f"{name}.{kind}"
                    sums[key] = sums[key] + array if key in sums else array
        return {name: array / total for name, array in sums.items()}

    @property
    def _linear(self) -> dict[str, str]:
        """Every Linear, and the layer whose output it reads."""
        layers = self.network.layers.layers
        return {layer: before for before, layer in pairwise(layers) if layers[layer].kind == "Linear"}


@dataclass(frozen=True, kw_only=True, slots=True)
class AutogradGradients:
    """See ``GradientSource``; the real network, one backward pass an input."""

    opened: OpenedAgent
    name: str = "autograd"

    @property
    def device(self) -> str:
        """Where it computes.

        :raises MachineError: a device that this machine lacks
        """
        if self.opened.device == "cpu":
            return "cpu"
        from Neuron_Selection.PatchingTooling.torch_network.agents import torch_device

        return str(torch_device(self.opened.device))

    def q_values(self, observations: Observations) -> np.ndarray:
        """Q-values, (n, n_actions)."""
        return self.opened.engine.q_values(observations)

    def each(self, observations: Observations, q_weights: np.ndarray) -> Iterator[Gradients]:
        """One input's gradients after the other."""
        from Neuron_Selection.PatchingTooling.torch_network.autograd_gradients import iterate_parameter_gradients

        return iterate_parameter_gradients(self.opened.agent, observations, q_weights)

    def mean_magnitudes(self, observations: Observations, q_weights: np.ndarray) -> Gradients:
        """Mean of the absolute gradient."""
        return self._mean(observations, q_weights, np.abs)

    def mean_signed(self, observations: Observations, q_weights: np.ndarray) -> Gradients:
        """Mean of the gradient."""
        return self._mean(observations, q_weights, np.positive)

    def _mean(self, observations: Observations, q_weights: np.ndarray, term: Any) -> Gradients:
        sums: Gradients = {}
        for gradients in self.each(observations, q_weights):
            for name, array in gradients.items():
                value = term(array.astype(np.float64))
                sums[name] = sums[name] + value if name in sums else value
        return {name: array / len(q_weights) for name, array in sums.items()}
