"""Gradients of Q-values by backward deltas: by layer, by weight averaged over inputs, by weight for each input.

The gradient of one input is delta (x) h in every Linear, so the mean magnitude over inputs is |delta|^T |h| / n: one
product, no gradient of any single input.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import DTypeLike

from Neuron_Selection.errors import UsageError
from Neuron_Selection.FileFormats.observations import Observations, count_of, rows_of
from Neuron_Selection.PatchingTooling.numpy_network.mlp import FastMlp, chunks, run_forward
from Neuron_Selection.PatchingTooling.numpy_network.products import filled_array, product

_BYTES_AT_ONCE = 1 << 20  # of one weight's gradients
_SUMMED_ROWS = 256


def margin_weights(ahead: np.ndarray, behind: np.ndarray | None, n_actions: int) -> np.ndarray:
    """What ``q_weights`` is for the margin Q[ahead] - Q[behind], or for Q[ahead] itself where there is no other.

    :param ahead: (n,), actions
    :return: (n, n_actions)
    """
    weights = np.zeros((len(ahead), n_actions))
    weights[np.arange(len(ahead)), ahead] += 1.0
    if behind is not None:
        weights[np.arange(len(ahead)), behind] -= 1.0
    return weights


def compute_layer_gradients(
    network: FastMlp, observations: Observations, q_weights: np.ndarray, layers: Sequence[str]
) -> dict[str, np.ndarray]:
    """Gradients of sum_a q_weights[a] * Q[a] with respect to what layers output.

    :param q_weights: (n, n_actions)
    :return: layer to (n, width)
    """
    _check(network, observations, q_weights)
    widths = network.layers.widths
    gradients = {name: np.empty((len(q_weights), widths[name])) for name in layers}
    positions = {name: network.names.index(name) for name in layers}
    first = min(positions.values(), default=0)
    for rows, part in chunks(network, observations):
        by_position = _run_backward(network, run_forward(network, part), q_weights[rows], first)
        for name, array in gradients.items():
            array[rows] = by_position[positions[name]][: rows.stop - rows.start, : array.shape[1]]
    return gradients


def compute_mean_gradient_magnitudes(
    network: FastMlp, observations: Observations, q_weights: np.ndarray
) -> dict[str, np.ndarray]:
    """Mean over inputs of the magnitude of every weight's and bias's gradient.

    :param q_weights: (n, n_actions), what is differentiated: sum_a q_weights[a] * Q[a] of each input
    :return: parameter, such as ``q_net.0.weight``, to an array of its shape
    """
    _check(network, observations, q_weights)
    total = count_of(observations)
    sums = {name: np.zeros(shape) for name, shape in _filled_shapes(network).items()}
    products = {name: np.empty_like(array) for name, array in sums.items()}
    outputs: list[np.ndarray] = []
    by_position: dict[int, np.ndarray] = {}
    for start in range(0, total, _SUMMED_ROWS):
        rows = slice(start, min(start + _SUMMED_ROWS, total))
        outputs = run_forward(network, rows_of(observations, rows), outputs)
        by_position = _run_backward(network, outputs, q_weights[rows], 1, by_position)
        for position in range(1, len(outputs), 2):
            name, inputs = network.names[position], outputs[position - 1]
            deltas = np.abs(by_position[position], out=by_position[position])
            sums[f"{name}.bias"] += deltas.sum(axis=0)
            weight = f"{name}.weight"
            sums[weight] += np.matmul(deltas.T, np.abs(inputs, out=inputs), out=products[weight])
    shapes = _shapes(network)
    return {name: array[tuple(slice(side) for side in shapes[name])] / total for name, array in sums.items()}


def iterate_weight_gradients(
    network: FastMlp, observations: Observations, q_weights: np.ndarray, *, dtype: DTypeLike = np.float64
) -> Iterator[tuple[slice, str, np.ndarray]]:
    """Every input's gradient of every weight and bias, a few inputs at a time; memory does not grow with the inputs.

    :param q_weights: (n, n_actions)
    :param dtype: of what is yielded; deltas and activations are computed in float64, their products in this
    :return: yields which inputs, which parameter, and (inputs, *shape of the parameter); the array is overwritten by
        the next one
    """
    _check(network, observations, q_weights)
    shapes = _shapes(network)
    outputs: list[np.ndarray] = []
    by_position: dict[int, np.ndarray] = {}
    for rows, part in chunks(network, observations):
        outputs = run_forward(network, part, outputs)
        by_position = _run_backward(network, outputs, q_weights[rows], 1, by_position)
        n_rows = rows.stop - rows.start
        for position in range(1, len(outputs), 2):
            name = network.names[position]
            height, width = shapes[f"{name}.weight"]
            deltas = by_position[position][:n_rows, :height].astype(dtype, copy=False)
            inputs = outputs[position - 1][:n_rows, :width].astype(dtype, copy=False)
            yield rows, f"{name}.bias", deltas
            at_once = max(1, min(n_rows, _BYTES_AT_ONCE // (deltas.itemsize * height * width)))
            buffer = np.empty((at_once, height, width), dtype)
            # delta (x) h as a product of two terms, one of them zero: BLAS serves that three times faster
            left, right = np.zeros((n_rows, height, 2), dtype), np.zeros((n_rows, 2, width), dtype)
            left[:, :, 0], right[:, 0] = deltas, inputs
            for start in range(0, n_rows, at_once):
                some = slice(start, min(start + at_once, n_rows))
                gradients = np.matmul(left[some], right[some], out=buffer[: some.stop - some.start])
                yield slice(rows.start + some.start, rows.start + some.stop), f"{name}.weight", gradients


def _run_backward(
    network: FastMlp,
    outputs: Sequence[np.ndarray],
    q_weights: np.ndarray,
    first: int,
    reused: Mapping[int, np.ndarray] | None = None,
) -> dict[int, np.ndarray]:
    """Gradients with respect to the outputs of every layer from position ``first`` on, filled up as the run is.

    :param reused: what an earlier call returned and nobody needs any more
    """
    last, rows = len(outputs) - 1, len(outputs[0])
    gradients = {last: filled_array(q_weights, outputs[last].shape)}
    for position in range(last - 1, first - 1, -1):
        following = gradients[position + 1]
        out = reused[position][:rows] if reused and len(reused[position]) >= rows else None
        if position % 2:  # a Linear, behind it its activation
            derivative = network.activations[position // 2].derivative(outputs[position])
            gradients[position] = np.multiply(following, derivative, out=out)
        else:
            gradients[position] = product(following, network.columns[position // 2].T, out=out)
    return gradients


def _shapes(network: FastMlp) -> dict[str, tuple[int, ...]]:
    """The Linear's parameters, in the order of the layers."""
    shapes: dict[str, tuple[int, ...]] = {}
    for before, layer in pairwise(network.layers.layers.values()):
        if layer.kind == "Linear":
            shapes |= {f"{layer.name}.weight": (layer.width, before.width), f"{layer.name}.bias": (layer.width,)}
    return shapes


def _filled_shapes(network: FastMlp) -> dict[str, tuple[int, ...]]:
    filled = [columns.shape[::-1] for columns in network.columns]
    shapes: list[tuple[int, ...]] = [shape for weight in filled for shape in (weight, weight[:1])]
    return dict(zip(_shapes(network), shapes, strict=True))


def _check(network: FastMlp, observations: Observations, q_weights: np.ndarray) -> None:
    expected = (count_of(observations), network.n_actions)
    if q_weights.shape != expected:
        raise UsageError(f"q_weights: found shape {q_weights.shape}, expected {expected}")
