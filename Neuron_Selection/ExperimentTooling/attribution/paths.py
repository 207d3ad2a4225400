"""Gradients of the margin along the straight path from a layer's outputs in the target run to those in the source run.

An estimate of a neuron's effect is its difference between the runs times a gradient: at the target end (attribution
patching), at the source end, or the mean over the path (integrated gradients, Sundararajan et al. 2017, arXiv
1703.01365). The latter sum to the effect of the whole layer (completeness). Where only ReLU follows, the scores are
piecewise linear along the path and the mean is exact; elsewhere it is a Gauss-Legendre quadrature.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from Neuron_Selection.AnalysisTooling.measures.decisions import allowed_scores, greedy_actions
from Neuron_Selection.ExperimentTooling.minimal_sets.mixtures import Mixtures
from Neuron_Selection.FileFormats.observations import rows_of
from Neuron_Selection.PatchingTooling.agent.network import Linear, margin_weights
from Neuron_Selection.PatchingTooling.numpy_network.quantiles import mean_folded
from Neuron_Selection.PatchingTooling.numpy_network.relu_rays import (
    Rays,
    mean_gradients,
    side_step,
    walk_to_flips,
)

_BISECTIONS = 40
_SINGLE_STEP = 1e-4  # distance from a flip at which both sides are verified in float32, as a share of the way to it
_BEYOND_THE_END = 1e-9  # a tie at the source itself is a flip where the source's action has the lower index


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class PathAttribution:
    """Estimates of each neuron's effect on the margin of each pair, and the flip on the path.

    ``estimates``: name to (n, width), in units of scores. ``residuals``: (n,), the sum of the integrated gradients less
    the effect of the whole layer. ``is_exact``: whether the path was walked piece by piece.

    ``strengths``: (n,), the share of the path beyond which another action than the target's is chosen, NaN if none;
    ``actions``: (n,), the action just beyond it, -1 if none; ``verified``: (n,), whether a run just short of it chooses
    the target's action and one just beyond it another.
    """

    estimates: dict[str, np.ndarray]
    residuals: np.ndarray
    is_exact: bool
    strengths: np.ndarray
    actions: np.ndarray
    verified: np.ndarray


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class _ReluTail:
    """Paths as rays through the outputs of the first of some Linear layers with nothing but ReLU in between.

    ``neurons_to_outputs``: (width, outputs), None if the neurons are these outputs.
    """

    linears: tuple[Linear, ...]
    start: np.ndarray
    direction: np.ndarray
    neurons_to_outputs: np.ndarray | None


def attribute(mixtures: Mixtures, *, steps: int) -> PathAttribution:
    """The three estimates, with the residual of the third, and the flips.

    :param mixtures: of contrast pairs only
    :param steps: points of the quadrature and of the search for a flip, where the path is not walked exactly
    """
    ahead, behind = greedy_actions(mixtures.source_q_values), greedy_actions(mixtures.baseline)
    weights = margin_weights(ahead, behind, mixtures.baseline.shape[1])
    tail = _relu_tail(mixtures)
    if tail is not None:
        ones = np.ones(len(weights))
        integrated = mean_gradients(tail.linears, Rays(start=tail.start, direction=tail.direction, ends=ones), weights)
        if tail.neurons_to_outputs is None:
            integrated = integrated[:, : mixtures.layer.width]  # the rest is padding
        else:
            integrated = integrated @ tail.neurons_to_outputs.T
        far = Rays(start=tail.start, direction=tail.direction, ends=ones + _BEYOND_THE_END)
        strengths = walk_to_flips(tail.linears, far, behind, mixtures.masks)
    else:
        integrated = _quadrature(mixtures, weights, steps)
        strengths = _searched_flips(mixtures, behind, steps)
    gradients = {
        "gradient_at_target": _gradients(mixtures, 0.0, weights),
        "gradient_at_source": _gradients(mixtures, 1.0, weights),
        "integrated_gradients": integrated,
    }
    estimates = {name: _by_neuron(mixtures, gradient) for name, gradient in gradients.items()}
    change = _scores(mixtures, 1.0) - mixtures.baseline  # infinite for forbidden actions, which have no weight
    whole = np.multiply(change, weights, out=np.zeros_like(weights), where=weights != 0).sum(axis=1)
    actions, verified = _verified(mixtures, strengths, behind)
    return PathAttribution(
        estimates=estimates,
        residuals=estimates["integrated_gradients"].sum(axis=1) - whole,
        is_exact=tail is not None,
        strengths=np.where(np.isfinite(strengths), np.minimum(strengths, 1.0), np.nan),
        actions=actions,
        verified=verified,
    )


def _relu_tail(mixtures: Mixtures) -> _ReluTail | None:
    """None where the rest of the network is not known, or has another activation function than ReLU."""
    name, layers = mixtures.layer.name, mixtures.network.layers.layers
    linears = mixtures.network.linears_after(name)
    if linears is None:
        return None
    is_read = linears[0].name != name
    if not is_read and not linears[0].activation:  # the scores, or quantiles, which their mean reads
        is_read, linears = len(linears) > 1, linears[-1:]
    linears = mean_folded(linears)
    if not {layers[linear.activation].kind for linear in linears if linear.activation} <= {"ReLU"}:
        return None
    target, source = (np.asarray(values, np.float64) for values in (mixtures.target, mixtures.source))
    if not is_read:
        padding = ((0, 0), (0, linears[0].columns.shape[1] - target.shape[1]))
        start, end = (np.pad(values, padding) for values in (target, source))
        return _ReluTail(linears=linears, start=start, direction=end - start, neurons_to_outputs=None)
    columns = linears[0].columns[: target.shape[1]]
    return _ReluTail(
        linears=linears,
        start=target @ columns + linears[0].bias,
        direction=(source - target) @ columns,
        neurons_to_outputs=columns,
    )


def _between(mixtures: Mixtures, shares: float | np.ndarray, rows: np.ndarray | None = None) -> np.ndarray:
    """The layer's outputs at shares of the path.

    :param shares: one for all, or (k,)
    :param rows: (k,), the pairs; None means all
    """
    target, source = (values if rows is None else values[rows] for values in (mixtures.target, mixtures.source))
    share = np.reshape(shares, (-1, *[1] * (target.ndim - 1)))
    mixed: np.ndarray = (1.0 - share) * target + share * source  # both ends to the last bit
    return mixed.astype(target.dtype, copy=False)


def _scores(mixtures: Mixtures, shares: float | np.ndarray, rows: np.ndarray | None = None) -> np.ndarray:
    observations = mixtures.observations if rows is None else rows_of(mixtures.observations, rows)
    outputs = _between(mixtures, shares, rows)
    return np.asarray(mixtures.network.run_on(mixtures.layer.name, outputs, observations), np.float64)


def _decisions(mixtures: Mixtures, shares: float | np.ndarray, rows: np.ndarray) -> np.ndarray:
    masks = None if mixtures.masks is None else mixtures.masks[rows]
    return greedy_actions(allowed_scores(_scores(mixtures, shares, rows), masks))


def _gradients(mixtures: Mixtures, share: float, weights: np.ndarray) -> np.ndarray:
    outputs = _between(mixtures, share)
    return mixtures.network.gradients_on(mixtures.layer.name, outputs, mixtures.observations, weights)


def _quadrature(mixtures: Mixtures, weights: np.ndarray, steps: int) -> np.ndarray:
    """The mean gradient over the path, (n, *shape)."""
    places, shares = np.polynomial.legendre.leggauss(steps)  # on [-1, 1]
    total = np.zeros(mixtures.target.shape)
    for place, share in zip((places + 1) / 2, shares / 2, strict=True):
        total += share * _gradients(mixtures, float(place), weights)
    return total


def _by_neuron(mixtures: Mixtures, gradients: np.ndarray) -> np.ndarray:
    """Difference times gradient, summed over the positions of a convolution, (n, width), float64."""
    difference = mixtures.source.astype(np.float64) - mixtures.target
    products = np.moveaxis(difference * gradients, mixtures.layer.neuron_axis, 1)
    summed: np.ndarray = products.reshape(len(products), mixtures.layer.width, -1).sum(axis=2)
    return summed


def _searched_flips(mixtures: Mixtures, actions: np.ndarray, steps: int) -> np.ndarray:
    """The first flip on a grid, then by bisection, (n,); infinite for none."""
    inner, outer = np.zeros(len(actions)), np.full(len(actions), np.inf)
    for place in np.linspace(0.0, 1.0, steps + 1)[1:]:
        going = np.flatnonzero(np.isinf(outer))
        if not len(going):
            break
        flips = _decisions(mixtures, place, going) != actions[going]
        outer[going[flips]] = place
        inner[going[~flips]] = place
    found = np.flatnonzero(np.isfinite(outer))
    for _ in range(_BISECTIONS if len(found) else 0):
        middle = (inner[found] + outer[found]) / 2
        flips = _decisions(mixtures, middle, found) != actions[found]
        outer[found[flips]], inner[found[~flips]] = middle[flips], middle[~flips]
    return outer


def _verified(mixtures: Mixtures, strengths: np.ndarray, actions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The action just beyond each flip, and whether runs on both sides confirm it, (n,) each."""
    beyond, verified = np.full(len(actions), -1), np.zeros(len(actions), bool)
    found = np.flatnonzero(np.isfinite(strengths))
    if len(found):
        step = side_step(strengths[found], 1.0)
        if mixtures.target.dtype != np.float64:
            step = _SINGLE_STEP * strengths[found]
        sides = (np.maximum(strengths[found] - step, 0.0), strengths[found] + step)
        before, after = (_decisions(mixtures, side, found) for side in sides)
        beyond[found] = after
        verified[found] = (before == actions[found]) & (after != actions[found])
    return beyond, verified
