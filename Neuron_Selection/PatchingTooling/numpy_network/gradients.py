"""Gradients of scores by backward deltas: by layer, by weight averaged over inputs, by weight for each input.

The gradient of one input is delta (x) h in every Linear, so the mean magnitude over inputs is |delta|^T |h| / n: one
product, no gradient of any single input.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from Neuron_Selection.errors import UsageError
from Neuron_Selection.FileFormats.observations import Observations, count_of, rows_of
from Neuron_Selection.FileFormats.provenance import CHUNK_ROWS
from Neuron_Selection.PatchingTooling.numpy_network.products import padded, padded_array, product
from Neuron_Selection.PatchingTooling.numpy_network.runs import Run, Site

if TYPE_CHECKING:
    from Neuron_Selection.PatchingTooling.numpy_network.network import NumpyNetwork

_BYTES_AT_ONCE = 1 << 20  # of one weight's gradients
_SUMMED_ROWS = 256
_SIGNED_ROWS = 1024
_BATCH = 64


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class _Deltas:
    """Gradients with respect to what the later Linears read and output, padded as the run is."""

    inputs: dict[int, np.ndarray]
    sums: dict[int, np.ndarray]

    def __getitem__(self, site: Site) -> np.ndarray:
        return (self.inputs if site.kind == "input" else self.sums)[site.linear]


def layer_gradients(
    network: NumpyNetwork, observations: Observations, score_weights: np.ndarray, layers: Sequence[str]
) -> dict[str, np.ndarray]:
    """Gradients of sum_a score_weights[a] * score[a] with respect to outputs of layers.

    :param score_weights: (n, n_actions)
    :return: layer to (n, width)
    """
    _check(network, observations, score_weights)
    widths = network.layers.widths
    found = {name: np.empty((len(score_weights), widths[name])) for name in layers}
    sites = {name: network.sites[name] for name in layers}
    for rows, part in network.chunks(observations):
        run = network.run(part)
        deltas = _run_backward(network, run, score_weights[rows], min(sites.values(), default=Site(0, "sum")))
        for name, array in found.items():
            array[rows] = deltas[sites[name]][: run.n_rows, : array.shape[1]]
    return found


def gradients_on(network: NumpyNetwork, layer: str, outputs: np.ndarray, score_weights: np.ndarray) -> np.ndarray:
    """Gradients of sum_a score_weights[a] * score[a] with respect to the outputs of a layer if it has these outputs.

    :param outputs: (n, width), like the result
    :param score_weights: (n, n_actions)
    """
    site, linears, n_rows = network.sites[layer], network.linears, padded(len(outputs), CHUNK_ROWS)
    values = padded_array(outputs, (n_rows, linears[site.linear].columns.shape[0 if site.kind == "input" else 1]))
    sums = [values if site.kind == "sum" else product(values, linears[site.linear].columns) + linears[site.linear].bias]
    for before, after in zip(linears[site.linear :], linears[site.linear + 1 :], strict=False):
        sums.append(product(before.following.compute(sums[-1]), after.columns) + after.bias)
    gradient = padded_array(score_weights, sums[-1].shape)
    for number in range(len(linears) - 1, site.linear, -1):
        gradient = product(gradient, np.ascontiguousarray(linears[number].columns.T))
        gradient *= linears[number - 1].following.derivative(sums[number - 1 - site.linear])
    if site.kind == "input":
        gradient = product(gradient, np.ascontiguousarray(linears[site.linear].columns.T))
    return gradient[: len(outputs), : outputs.shape[1]]


def mean_gradient_magnitudes(
    network: NumpyNetwork, observations: Observations, score_weights: np.ndarray
) -> dict[str, np.ndarray]:
    """Mean over inputs of the absolute gradient of every weight and bias.

    :param score_weights: (n, n_actions)
    :return: parameter, such as ``q_net.0.weight``, to an array of its shape
    """
    _check(network, observations, score_weights)
    total = count_of(observations)
    sums = [np.zeros(linear.columns.shape[::-1]) for linear in network.stored_linears]
    bias_sums = [np.zeros(linear.bias.shape) for linear in network.stored_linears]
    products = [np.empty_like(array) for array in sums]
    run: Run | None = None
    deltas: _Deltas | None = None
    for start in range(0, total, _SUMMED_ROWS):
        rows = slice(start, min(start + _SUMMED_ROWS, total))
        run = network.run(rows_of(observations, rows), run)
        deltas = _run_backward(network, run, score_weights[rows], Site(0, "sum"), deltas)
        for number in range(len(network.stored_linears)):
            inputs, of_sum = run.inputs[number], deltas.sums[number]
            np.abs(of_sum, out=of_sum)
            bias_sums[number] += of_sum.sum(axis=0)
            sums[number] += np.matmul(of_sum.T, np.abs(inputs, out=inputs), out=products[number])
    means: dict[str, np.ndarray] = {}
    for linear, weights, biases in zip(network.stored_linears, sums, bias_sums, strict=True):
        means[f"{linear.name}.weight"] = weights[: linear.n_outputs, : linear.n_inputs] / total
        means[f"{linear.name}.bias"] = biases[: linear.n_outputs] / total
    return means


def mean_signed_gradients(
    network: NumpyNetwork, observations: Observations, score_weights: np.ndarray
) -> dict[str, np.ndarray]:
    """Mean over inputs of the gradient of every weight and bias, delta^T h / n; opposite signs cancel.

    :param score_weights: (n, n_actions)
    :return: parameter to an array of its shape
    """
    sums: dict[str, np.ndarray] = {}
    total = count_of(observations)
    for start in range(0, total, _SIGNED_ROWS):
        rows = slice(start, start + _SIGNED_ROWS)
        part = rows_of(observations, rows)
        deltas = layer_gradients(network, part, score_weights[rows], [linear.name for linear in network.stored_linears])
        inputs = network.activations(part, [linear.reads for linear in network.stored_linears])
        for linear in network.stored_linears:
            delta = deltas[linear.name]
            for name, array in (("weight", delta.T @ inputs[linear.reads]), ("bias", delta.sum(axis=0))):
                key = f"{linear.name}.{name}"
                sums[key] = sums[key] + array if key in sums else array
    return {name: array / total for name, array in sums.items()}


def iterate_gradients(
    network: NumpyNetwork, observations: Observations, score_weights: np.ndarray, *, dtype: np.dtype
) -> Iterator[dict[str, np.ndarray]]:
    """Each input's gradients in turn: parameter to an array of its shape, in ``dtype``."""
    parameters = [f"{linear.name}.{name}" for linear in network.stored_linears for name in ("weight", "bias")]
    for start in range(0, count_of(observations), _BATCH):
        rows = slice(start, start + _BATCH)
        batch: dict[str, list[np.ndarray]] = {}
        part = rows_of(observations, rows)
        for _rows, name, array in iterate_weight_gradients(network, part, score_weights[rows], dtype=dtype):
            batch.setdefault(name, []).extend(array.copy())
        for row in range(len(score_weights[rows])):
            yield {name: batch[name][row] for name in parameters}


def iterate_weight_gradients(
    network: NumpyNetwork, observations: Observations, score_weights: np.ndarray, *, dtype: np.dtype
) -> Iterator[tuple[slice, str, np.ndarray]]:
    """Every input's gradient of every weight and bias, a few inputs at a time; memory does not grow with the inputs.

    :param score_weights: (n, n_actions)
    :param dtype: of what is yielded; deltas and activations are computed in float64, their products in this
    :return: yields which inputs, which parameter, and (inputs, *shape of the parameter); the array is overwritten by
        the next one
    """
    _check(network, observations, score_weights)
    run: Run | None = None
    deltas: _Deltas | None = None
    for rows, part in network.chunks(observations):
        run = network.run(part, run)
        deltas = _run_backward(network, run, score_weights[rows], Site(0, "sum"), deltas)
        n_rows = run.n_rows
        for number, linear in enumerate(network.stored_linears):
            height, width = linear.n_outputs, linear.n_inputs
            of_sum = deltas.sums[number][:n_rows, :height].astype(dtype, copy=False)
            inputs = run.inputs[number][:n_rows, :width].astype(dtype, copy=False)
            yield rows, f"{linear.name}.bias", of_sum
            at_once = max(1, min(n_rows, _BYTES_AT_ONCE // (of_sum.itemsize * height * width)))
            buffer = np.empty((at_once, height, width), dtype)
            # delta (x) h as a product of two terms, one of them zero: BLAS computes that three times faster
            left, right = np.zeros((n_rows, height, 2), dtype), np.zeros((n_rows, 2, width), dtype)
            left[:, :, 0], right[:, 0] = of_sum, inputs
            for start in range(0, n_rows, at_once):
                some = slice(start, min(start + at_once, n_rows))
                products = np.matmul(left[some], right[some], out=buffer[: some.stop - some.start])
                yield slice(rows.start + some.start, rows.start + some.stop), f"{linear.name}.weight", products


def _run_backward(
    network: NumpyNetwork, run: Run, score_weights: np.ndarray, first: Site, reused: _Deltas | None = None
) -> _Deltas:
    """Gradients with respect to every site from ``first`` on.

    :param reused: deltas of an earlier run that are no longer needed; their memory is written over
    """
    last, n_rows = len(network.linears) - 1, len(run.inputs[0])
    deltas = _Deltas(inputs={}, sums={last: padded_array(score_weights, run.sums[last].shape)})
    spare = reused if reused is not None and len(reused.sums[last]) >= n_rows else None
    for number in range(last, first.linear - 1, -1):
        if number < last:
            derivative = network.linears[number].following.derivative(run.sums[number])
            out = None if spare is None else spare.sums[number][:n_rows]
            deltas.sums[number] = np.multiply(deltas.inputs[number + 1], derivative, out=out)
        if number > first.linear or first.kind == "input":
            out = None if spare is None else spare.inputs[number][:n_rows]
            deltas.inputs[number] = product(deltas.sums[number], network.linears[number].columns.T, out=out)
    return deltas


def _check(network: NumpyNetwork, observations: Observations, score_weights: np.ndarray) -> None:
    expected = (count_of(observations), network.n_actions)
    if score_weights.shape != expected:
        raise UsageError(field="score_weights", found=f"shape {score_weights.shape}", expected=str(expected))
