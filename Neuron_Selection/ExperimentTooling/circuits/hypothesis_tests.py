"""Tests of the hypothesis that a circuit explains decisions (Shi et al. 2024, arXiv 2410.13032).

m_X is the margin of each pair with only the edges X intact, M the network, C the circuit. Pairs of one cluster are not
independent, so that the first two tests compare sums over clusters. All p values are of permutations or random draws,
(1 + number that are at least as extreme, ties included) / (1 + draws).
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from Neuron_Selection.address_space import require_address_space
from Neuron_Selection.AnalysisTooling.measures.cluster_statistics import q_values_of, sign_flip_p_values
from Neuron_Selection.ExperimentTooling.circuits.masked_runs import CircuitRuns, Masks
from Neuron_Selection.ExperimentTooling.circuits.measures import edges_of, mean_margin, without
from Neuron_Selection.ExperimentTooling.contrast_pairs import ContrastPairs

_ROUNDING = 1e-9  # of the largest margin: closer values are ties
_NUMBERS_AT_ONCE = 1 << 22


@dataclass(frozen=True, kw_only=True, slots=True)
class CircuitTest:
    """A statistic and the p value of its null hypothesis."""

    statistic: float
    p: float


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class EdgeTests:
    """The minimality test of every edge, in the order of ``edges_of``; (n_edges,) each.

    :param effects: mean |m_C - m_(C - e)|
    :param p: that a random edge of an inflated circuit has at least this effect
    :param q: after Benjamini and Hochberg
    """

    effects: np.ndarray
    p: np.ndarray
    q: np.ndarray


def equivalence_test(runs: CircuitRuns, pairs: ContrastPairs, circuit: Masks, *, draws: int, seed: int) -> CircuitTest:
    """Null hypothesis: circuit and network have the same chance of the larger margin. Small p: they are not equivalent.

    The statistic is |share of clusters with m_C > m_M - 1/2|, ties counting half; the p value flips the signs of the
    clusters' differences.
    """
    whole = runs.margins(runs.whole)
    sums = pairs.cluster_sums(runs.margins(circuit) - whole)
    signs = np.where(np.abs(sums) <= _ROUNDING * np.abs(whole).max(), 0.0, np.sign(sums))
    p = sign_flip_p_values(signs[:, None], resamples=draws, seed=seed)
    return CircuitTest(statistic=float(abs(signs.mean()) / 2), p=float(p[0]))


def independence_test(runs: CircuitRuns, pairs: ContrastPairs, circuit: Masks, *, draws: int, seed: int) -> CircuitTest:
    """Null hypothesis: m_(M - C) is independent of m_M. Small p: the network without the circuit still knows the task.

    The statistic is the Hilbert-Schmidt independence criterion with Gaussian kernels of median width, trace(K H L H) /
    (n - 1)^2 (Gretton et al. 2007); the p value permutes the clusters of one of the two.
    """
    require_address_space("scipy")
    from scipy.stats import permutation_test

    size = pairs.cluster_sums(np.ones(pairs.count))
    left, whole = (
        pairs.cluster_sums(runs.margins(masks)) / size for masks in (without(runs.whole, circuit), runs.whole)
    )
    scale, count = _ROUNDING * float(np.abs(whole).max()), len(size)
    kernels = [_centred_kernel(values, scale) for values in (left, whole)]
    if count < 3:
        return CircuitTest(statistic=0.0, p=1.0)

    def criterion(order: np.ndarray, axis: int) -> np.ndarray:
        del axis  # always the last
        places = order.astype(np.intp)
        permuted = kernels[0][places[..., :, None], places[..., None, :]]
        return np.asarray((permuted * kernels[1]).sum(axis=(-2, -1)) / (count - 1) ** 2)

    tested = permutation_test(
        (np.arange(count),),
        criterion,
        permutation_type="pairings",
        vectorized=True,
        n_resamples=draws,
        batch=max(1, _NUMBERS_AT_ONCE // count**2),
        alternative="greater",
        random_state=np.random.default_rng(seed),
    )
    return CircuitTest(statistic=float(tested.statistic), p=float(tested.pvalue))


def minimality_test(runs: CircuitRuns, circuit: Masks, *, draws: int, seed: int) -> EdgeTests | None:
    """Null hypothesis of an edge: it matters no more than a random one. Small p: the circuit needs it.

    The reference are inflated circuits: a random path is added to C, and one of its edges is removed again. Shi et al.
    compare with a quantile of these effects; here p is the rank of the edge's effect among them.

    :return: None if the circuit is the whole network, to which no path can be added
    """
    if all(mask.all() for mask in circuit):
        return None
    random, margins = np.random.default_rng(seed), runs.margins(circuit)
    effects = []
    for link, sender, receiver in edges_of(circuit):
        masks = [mask.copy() for mask in circuit]
        masks[link][sender, receiver] = False
        effects.append(float(np.abs(runs.margins(masks) - margins).mean()))
    drawn: list[float] = []
    nodes = _nodes_that_differ(runs)
    if all(mask[np.ix_(*ends)].all() for mask, ends in zip(circuit, pairwise(nodes), strict=True)):
        nodes = [np.arange(width) for width in runs.chain.widths]  # the circuit has every other edge already
    while len(drawn) < draws:
        path = _random_path(nodes, random)
        added = [place for place, (link, *edge) in enumerate(path) if not circuit[link][tuple(edge)]]
        if not added:
            continue
        inflated = [mask.copy() for mask in circuit]
        for link, sender, receiver in path:
            inflated[link][sender, receiver] = True
        before = runs.margins(inflated)
        link, sender, receiver = path[random.choice(added)]
        inflated[link][sender, receiver] = False
        drawn.append(float(np.abs(runs.margins(inflated) - before).mean()))
    p = np.array([p_value(effect, np.array(drawn), scale=float(np.abs(margins).max())) for effect in effects])
    return EdgeTests(effects=np.array(effects), p=p, q=q_values_of(p))


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class RandomCircuits:
    """The circuit against random ones of at least as many edges, unions of random paths.

    :param sufficiency: |F(M) - F(C)|. Small p: the circuit is more faithful than random ones
    :param necessity: |F(M) - F(M - C)|. Small p: the network needs it more than random ones
    """

    sufficiency: CircuitTest
    necessity: CircuitTest


def random_circuits_test(runs: CircuitRuns, circuit: Masks, *, draws: int, seed: int) -> RandomCircuits:
    """The sufficiency and partial necessity tests of Shi et al."""
    random, nodes = np.random.default_rng(seed), _nodes_that_differ(runs)
    whole, size = mean_margin(runs, runs.whole), sum(int(mask.sum()) for mask in circuit)

    def gaps(masks: Masks) -> tuple[float, float]:
        return abs(whole - mean_margin(runs, masks)), abs(whole - mean_margin(runs, without(runs.whole, masks)))

    own = gaps(circuit)
    others = np.array([gaps(_random_circuit(runs, nodes, size, random)) for _ in range(draws)])
    scale = abs(whole)
    return RandomCircuits(
        sufficiency=CircuitTest(statistic=own[0], p=p_value(-own[0], -others[:, 0], scale=scale)),
        necessity=CircuitTest(statistic=own[1], p=p_value(own[1], others[:, 1], scale=scale)),
    )


def p_value(observed: float, drawn: np.ndarray, *, scale: float) -> float:
    """(1 + number of draws at least as large, ties included) / (1 + draws).

    :param scale: values that differ by 1e-9 of it are ties
    """
    return float((1 + np.count_nonzero(drawn >= observed - _ROUNDING * scale)) / (1 + len(drawn)))


def _centred_kernel(values: np.ndarray, scale: float) -> np.ndarray:
    """H K H of a Gaussian kernel as wide as the median distance; 0 for values that are all alike."""
    distances = np.abs(values[:, None] - values[None])
    apart = distances[distances > scale]
    if not len(apart):
        return np.zeros_like(distances)
    kernel = np.exp(-np.square(distances / np.median(apart)) / 2)
    centred: np.ndarray = kernel - kernel.mean(axis=0) - kernel.mean(axis=1, keepdims=True) + kernel.mean()
    return centred


def _nodes_that_differ(runs: CircuitRuns) -> list[np.ndarray]:
    """Nodes of each layer whose ablated value differs in any pair, all others being without effect; of scores all."""
    nodes = []
    for live, ablated in zip(runs.live, runs.ablated, strict=True):
        differs = (live != ablated).reshape(*live.shape[:2], -1).any(axis=(0, 2))
        nodes.append(np.flatnonzero(differs) if differs.any() else np.arange(live.shape[1]))
    return [*nodes, np.arange(runs.chain.widths[-1])]


def _random_path(nodes: list[np.ndarray], random: np.random.Generator) -> list[tuple[int, int, int]]:
    places = [int(random.choice(choices)) for choices in nodes]
    return [(link, sender, receiver) for link, (sender, receiver) in enumerate(pairwise(places))]


def _random_circuit(
    runs: CircuitRuns, nodes: list[np.ndarray], size: int, random: np.random.Generator
) -> list[np.ndarray]:
    """A union of random paths with at least ``size`` edges, or with all edges between nodes that differ."""
    masks = without(runs.whole, runs.whole)
    most = min(size, sum(len(before) * len(after) for before, after in pairwise(nodes)))
    while (missing := most - sum(int(mask.sum()) for mask in masks)) > 0:
        places = [random.choice(choices, size=-(-missing // len(masks))) for choices in nodes]
        for mask, *ends in zip(masks, places, places[1:], strict=False):
            mask[tuple(ends)] = True
    return masks
