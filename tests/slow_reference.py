"""Slow definitions: an MLP with ReLU in numpy, loops, no hooks, float64."""

from __future__ import annotations

from typing import Any

import numpy as np


def mlp_weights(tensors: Any) -> list[tuple[np.ndarray, np.ndarray]]:
    """(weight, bias) of each Linear of the online network, as float64."""
    pairs = []
    while f"q_net.q_net.{2 * len(pairs)}.weight" in tensors:
        name = f"q_net.q_net.{2 * len(pairs)}"
        pairs.append(tuple(np.asarray(tensors[f"{name}.{kind}"], np.float64) for kind in ("weight", "bias")))
    return pairs


def run_one(
    weights: list[tuple[np.ndarray, np.ndarray]], observation: np.ndarray, patch: dict[str, dict[int, float]]
) -> dict[str, np.ndarray]:
    """All layers of one input, one neuron at a time; ``patch``: layer to {neuron: value held}."""
    outputs: dict[str, np.ndarray] = {}
    flowing = [float(value) for value in np.asarray(observation).ravel()]
    for number, (weight, bias) in enumerate(weights):
        summed = [
            sum(weight[row, column] * flowing[column] for column in range(len(flowing))) + bias[row]
            for row in range(len(bias))
        ]
        flowing = _held(summed, patch.get(f"q_net.{2 * number}", {}))
        outputs[f"q_net.{2 * number}"] = np.array(flowing)
        if number < len(weights) - 1:
            flowing = _held([max(value, 0.0) for value in flowing], patch.get(f"q_net.{2 * number + 1}", {}))
            outputs[f"q_net.{2 * number + 1}"] = np.array(flowing)
    return outputs


def _held(values: list[float], held: dict[int, float]) -> list[float]:
    return [held.get(neuron, value) for neuron, value in enumerate(values)]
