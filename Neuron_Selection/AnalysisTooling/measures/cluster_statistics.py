"""Intervals, p and q values of effects over inputs that come in clusters.

An effect is a ratio of sums over clusters, sum of moved / sum of whole. The resamples and the sign flips are scipy's;
they are drawn once and serve every experiment through one matrix product.
"""

from __future__ import annotations

import numpy as np

from Neuron_Selection.address_space import require_address_space

FEW_CLUSTERS = 40  # below it percentile intervals cover less than 0.94 where they promise 0.95
RESAMPLES = 9999
_RESAMPLES_AT_ONCE = 500
_EXPERIMENTS_AT_ONCE = 256


def bootstrap_intervals(
    moved: np.ndarray, whole: np.ndarray, *, confidence: float = 0.95, resamples: int = RESAMPLES, seed: int = 0
) -> np.ndarray | None:
    """Percentile bootstrap intervals of ratios of sums, whole clusters being resampled.

    Clusters without weight (``whole`` 0) can neither add to an effect nor take from it, and are left out.

    :param moved: (n_clusters, n_experiments), what each cluster adds to the numerators
    :param whole: (n_clusters,), what it adds to the denominator, at least 0
    :return: (2, n_experiments), low and high; None where fewer than two clusters have weight
    """
    require_address_space("scipy")
    from scipy.stats import bootstrap

    moved, whole = moved[whole > 0], whole[whole > 0]
    n_clusters = len(whole)
    if n_clusters < 2:
        return None
    intervals = np.empty((2, moved.shape[1]))
    for start in range(0, moved.shape[1], _EXPERIMENTS_AT_ONCE):
        part = slice(start, start + _EXPERIMENTS_AT_ONCE)

        def ratio(drawn: np.ndarray, axis: int, part: slice = part) -> np.ndarray:
            del axis  # always the last, (n_resamples, n_clusters)
            places = drawn.astype(np.intp) + np.arange(len(drawn))[:, None] * n_clusters
            times = np.bincount(places.ravel(), minlength=drawn.size).reshape(drawn.shape).astype(np.float64)
            ratios: np.ndarray = (times @ moved[:, part]).T / (times @ whole)
            return ratios

        drawn = bootstrap(
            (np.arange(n_clusters),),
            ratio,
            vectorized=True,
            n_resamples=resamples,
            batch=_RESAMPLES_AT_ONCE,
            confidence_level=confidence,
            method="percentile",
            random_state=np.random.default_rng(seed),
        )
        intervals[:, part] = drawn.confidence_interval
    return intervals


def sign_flip_p_values(moved: np.ndarray, *, resamples: int = RESAMPLES, seed: int = 0) -> np.ndarray:
    """Two-sided p values of effects that would be symmetric about 0 if the neurons did nothing.

    Under the null the sign of a cluster's summed effect is exchangeable; T is the size of the sum. With few clusters
    all flips are taken, and p cannot fall below 2 / 2^n_clusters; else p = (1 + #{T_b >= T}) / (resamples + 1).

    :param moved: (n_clusters, n_experiments)
    :return: (n_experiments,); 1 for an experiment in which nothing moves, and with fewer than two clusters
    """
    require_address_space("scipy")
    from scipy.stats import permutation_test

    if len(moved) < 2:
        return np.ones(moved.shape[1])
    p_values = np.empty(moved.shape[1])
    for start in range(0, moved.shape[1], _EXPERIMENTS_AT_ONCE):
        part = slice(start, start + _EXPERIMENTS_AT_ONCE)

        def size_of_sum(signs: np.ndarray, axis: int, part: slice = part) -> np.ndarray:
            del axis  # always the last, (n_flips, n_clusters)
            sizes: np.ndarray = np.abs(signs @ moved[:, part])
            return sizes

        tested = permutation_test(
            (np.ones(len(moved)),),
            size_of_sum,
            permutation_type="samples",
            vectorized=True,
            n_resamples=resamples,
            batch=_RESAMPLES_AT_ONCE,
            alternative="greater",
            random_state=np.random.default_rng(seed),
        )
        p_values[part] = tested.pvalue
    return p_values


def q_values_of(p_values: np.ndarray) -> np.ndarray:
    """Benjamini and Hochberg's (1995) adjusted p values over all that are given.

    :param p_values: (n,)
    :return: (n,): the least false discovery rate at which each is still a discovery
    """
    require_address_space("scipy")
    from scipy.stats import false_discovery_control

    if not len(p_values):
        return np.empty(0)
    q_values: np.ndarray = false_discovery_control(p_values)
    return q_values
