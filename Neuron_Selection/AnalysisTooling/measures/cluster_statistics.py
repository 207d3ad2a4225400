"""Confidence intervals, p and q values of effects over inputs that come in clusters.

An effect is a ratio of sums over clusters, sum of changes / sum of gaps. Resamples and sign flips are drawn by scipy,
once for all experiments, and applied through one matrix product.
"""

from __future__ import annotations

import numpy as np

from Neuron_Selection.address_space import require_address_space

FEW_CLUSTERS = 40  # with fewer, nominal 0.95 percentile intervals cover less than 0.94
RESAMPLES = 9999
_RESAMPLES_AT_ONCE = 500
_EXPERIMENTS_AT_ONCE = 256


def bootstrap_intervals(
    changes: np.ndarray, gaps: np.ndarray, *, confidence: float = 0.95, resamples: int = RESAMPLES, seed: int = 0
) -> np.ndarray | None:
    """Percentile bootstrap intervals of ratios of sums; whole clusters are resampled.

    Clusters with gap 0 have no effect on the ratio and are left out.

    :param changes: (n_clusters, n_experiments), the clusters' parts of the numerators
    :param gaps: (n_clusters,), the clusters' parts of the denominator, at least 0
    :return: (2, n_experiments), low and high; None if fewer than two clusters have a gap
    """
    require_address_space("scipy")
    from scipy.stats import bootstrap

    changes, gaps = changes[gaps > 0], gaps[gaps > 0]
    n_clusters = len(gaps)
    if n_clusters < 2:
        return None
    intervals = np.empty((2, changes.shape[1]))
    for start in range(0, changes.shape[1], _EXPERIMENTS_AT_ONCE):
        part = slice(start, start + _EXPERIMENTS_AT_ONCE)

        def ratio(drawn: np.ndarray, axis: int, part: slice = part) -> np.ndarray:
            del axis  # always the last, (n_resamples, n_clusters)
            places = drawn.astype(np.intp) + np.arange(len(drawn))[:, None] * n_clusters
            times = np.bincount(places.ravel(), minlength=drawn.size).reshape(drawn.shape).astype(np.float64)
            ratios: np.ndarray = (times @ changes[:, part]).T / (times @ gaps)
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


def sign_flip_p_values(changes: np.ndarray, *, resamples: int = RESAMPLES, seed: int = 0) -> np.ndarray:
    """Two-sided p values of effects, by a sign-flip test over clusters.

    Under the null hypothesis the sign of a cluster's summed effect is exchangeable; T is the absolute value of the sum.
    With few clusters all flips are used, and p is at least 2 / 2^n_clusters; otherwise
    p = (1 + #{T_b >= T}) / (resamples + 1).

    :param changes: (n_clusters, n_experiments)
    :return: (n_experiments,); 1 for an experiment without any change, and with fewer than two clusters
    """
    require_address_space("scipy")
    from scipy.stats import permutation_test

    if len(changes) < 2:
        return np.ones(changes.shape[1])
    p_values = np.empty(changes.shape[1])
    for start in range(0, changes.shape[1], _EXPERIMENTS_AT_ONCE):
        part = slice(start, start + _EXPERIMENTS_AT_ONCE)

        def size_of_sum(signs: np.ndarray, axis: int, part: slice = part) -> np.ndarray:
            del axis  # always the last, (n_flips, n_clusters)
            sizes: np.ndarray = np.abs(signs @ changes[:, part])
            return sizes

        tested = permutation_test(
            (np.ones(len(changes)),),
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
    """P values adjusted after Benjamini and Hochberg (1995).

    :param p_values: (n,)
    :return: (n,), the smallest false discovery rate at which each is still a discovery
    """
    require_address_space("scipy")
    from scipy.stats import false_discovery_control

    if not len(p_values):
        return np.empty(0)
    q_values: np.ndarray = false_discovery_control(p_values)
    return q_values
