"""Neurons that differ between two runs, and neurons that are active in one run and dead in the other."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np


@dataclass(frozen=True, kw_only=True, slots=True)
class DifferentNeuron:
    """``difference``: mean |clean - corrupted| over inputs; ``top_share``: share of inputs with it in the top n."""

    neuron: int
    difference: float
    top_share: float


def neuron_differences(clean: np.ndarray, corrupted: np.ndarray, *, neuron_axis: int = 1) -> np.ndarray:
    """|clean - corrupted| of each neuron for each input, averaged over the positions of a convolution.

    :param clean: (n_inputs, *shape), and so ``corrupted``
    :param neuron_axis: the axis of the neurons
    :return: (n_inputs, n_neurons)
    """
    difference = np.abs(np.asarray(clean, np.float64) - np.asarray(corrupted, np.float64))
    flat = np.moveaxis(difference, neuron_axis, 1).reshape(len(difference), difference.shape[neuron_axis], -1)
    means: np.ndarray = flat.mean(axis=2)
    return means


def most_different(differences: np.ndarray, top: int) -> list[DifferentNeuron]:
    """The ``top`` neurons of largest mean difference, largest first, the lower index first on ties.

    Neurons that never differ are left out.

    :param differences: (n_inputs, n_neurons)
    """
    means = differences.mean(axis=0)
    order = np.argsort(-means, kind="stable")[:top]
    ranked = np.argsort(-differences, axis=1, kind="stable")[:, :top]
    in_top = np.zeros(differences.shape, bool)
    np.put_along_axis(in_top, ranked, np.take_along_axis(differences, ranked, axis=1) > 0, axis=1)
    shares = in_top.mean(axis=0)
    return [
        DifferentNeuron(neuron=int(neuron), difference=float(means[neuron]), top_share=float(shares[neuron]))
        for neuron in order
        if means[neuron] > 0
    ]


DeadTest = Literal["<= 0", "== 0"]


def dead_test_of(role: str, kind: str) -> DeadTest | None:
    """The test for dead neurons of a layer: ``<= 0`` before a ReLU, ``== 0`` after it, None for other layers.

    :param role: pre-activation or post-activation
    :param kind: the name of the activation function, of the layer itself or of the one after it
    """
    if kind != "ReLU":
        return None
    return {"pre-activation": "<= 0", "post-activation": "== 0"}.get(role)  # type: ignore[return-value]


def active_and_dead(active: np.ndarray, dead: np.ndarray, test: DeadTest, *, neuron_axis: int = 1) -> dict[int, float]:
    """Neurons that are active in one run and dead in the other.

    In a convolution, a channel is dead if all its positions are, and active otherwise.

    :param active: (n_inputs, *shape), the run in which neurons are active; ``dead`` the other run
    :return: neuron to the share of inputs for which this holds, largest share first, without shares of 0
    """

    def dead_in(values: np.ndarray) -> np.ndarray:
        is_dead = np.asarray(values <= 0 if test == "<= 0" else values == 0)
        flat = np.moveaxis(is_dead, neuron_axis, 1).reshape(len(values), values.shape[neuron_axis], -1)
        return np.asarray(flat.all(axis=2))

    shares = (~dead_in(active) & dead_in(dead)).mean(axis=0)
    order = np.argsort(-shares, kind="stable")
    return {int(neuron): float(shares[neuron]) for neuron in order if shares[neuron] > 0}
