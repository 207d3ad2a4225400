"""Statistics of paired episodes: every experiment against the baseline on the same seeds.

Agarwal et al. (2021, arXiv 2108.13264) recommend the interquartile mean and the probability of improvement; here the
episodes are paired by their seed, so that the probability is the share of seeds with a higher return, ties half.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from Neuron_Selection.address_space import require_address_space
from Neuron_Selection.AnalysisTooling.measures.cluster_statistics import (
    FEW_CLUSTERS,
    RESAMPLES,
    bootstrap_intervals,
    q_values_of,
    sign_flip_p_values,
)

SIGNIFICANT = 0.05
NO_EFFECT, DECISIONS_ONLY, BEHAVIOUR = "no effect", "decisions only", "behaviour"
RULE = (
    "no effect: in no state of the baseline's episodes does the action differ, so the episodes are the same. "
    f"behaviour: q <= {SIGNIFICANT} for the paired difference of returns (sign-flip test, Benjamini-Hochberg over the "
    "experiments). decisions only: actions differ, and no difference of returns is shown."
)


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class PairedStatistics:
    """Of m experiments, (m,) each; the intervals are None with a single episode. ``q``: NaN for controls."""

    differences: np.ndarray
    low: np.ndarray | None
    high: np.ndarray | None
    p: np.ndarray
    q: np.ndarray
    iqm: np.ndarray
    improvement: np.ndarray

    def row(self, place: int) -> dict[str, Any]:
        """The numbers of one experiment."""
        q = float(self.q[place])
        return {
            "difference": float(self.differences[place]),
            "difference_low": None if self.low is None else float(self.low[place]),
            "difference_high": None if self.high is None else float(self.high[place]),
            "p": float(self.p[place]),
            "q": None if np.isnan(q) else q,
            "probability_of_improvement": float(self.improvement[place]),
        }


def paired_statistics(
    returns: np.ndarray, clusters: np.ndarray, *, is_control: np.ndarray, seed: int
) -> PairedStatistics:
    """Compare the returns of every experiment with the baseline's; clusters of episodes are resampled and flipped.

    :param returns: (1 + m, n_episodes), the baseline first
    :param clusters: (n_episodes,), the number of each episode's cluster, from 0
    :param is_control: (m,); controls are not among the tests that q corrects for
    :param seed: of resamples and sign flips
    """
    changes = (returns[1:] - returns[0]).T
    sums = np.zeros((int(clusters.max()) + 1, changes.shape[1]))
    np.add.at(sums, clusters, changes)
    intervals = bootstrap_intervals(sums, np.bincount(clusters).astype(np.float64), seed=seed)
    tested = ~is_control
    # as many flips as a single significant experiment needs to stay significant among all
    resamples = max(RESAMPLES, round(tested.sum() / SIGNIFICANT))
    p = sign_flip_p_values(sums, resamples=resamples, seed=seed)
    q = np.full(len(p), np.nan)
    q[tested] = q_values_of(p[tested])
    return PairedStatistics(
        differences=changes.mean(axis=0),
        low=None if intervals is None else intervals[0],
        high=None if intervals is None else intervals[1],
        p=p,
        q=q,
        iqm=interquartile_means(returns[1:]),
        improvement=((changes > 0) + 0.5 * (changes == 0)).mean(axis=0),
    )


def interquartile_means(returns: np.ndarray) -> np.ndarray:
    """The mean without the lowest and the highest quarter.

    :param returns: (m, n_episodes)
    :return: (m,)
    """
    require_address_space("scipy")
    from scipy.stats import trim_mean

    means: np.ndarray = trim_mean(returns, 0.25, axis=1)
    return means


def class_of(flips_baseline: int, q: float | None) -> str:
    """The class of an experiment after ``RULE``; a control, which has no q, is not classed beyond its decisions.

    :param flips_baseline: states of the baseline's episodes in which the action differs
    """
    if not flips_baseline:
        return NO_EFFECT
    return BEHAVIOUR if q is not None and q <= SIGNIFICANT else DECISIONS_ONLY


def remarks_on(n_episodes: int, n_clusters: int, n_tested: int) -> list[str]:
    """Reasons for which the numbers may not support a claim.

    :param n_clusters: how many of the episodes are different
    """
    if n_clusters == 1 < n_episodes:
        same = f"the {n_episodes} baseline episodes are the same, and more of them would show no more"
        return [f"{same}: --policy epsilon=0.1 makes different ones, and --exact needs none where the world is finite"]
    least = 2.0 ** (1 - n_clusters)
    remarks, different = [], f"{n_clusters} different episode{'s' if n_clusters != 1 else ''}"
    if n_clusters < n_episodes:
        remarks.append(
            f"{n_clusters} of the {n_episodes} baseline episodes are different; equal ones are one cluster in "
            "intervals and tests"
        )
    if n_clusters < FEW_CLUSTERS:
        remarks.append(f"{different}: below {FEW_CLUSTERS} the intervals cover less than they promise")
    if least * n_tested > SIGNIFICANT:
        needed = int(np.ceil(1 - np.log2(SIGNIFICANT / n_tested)))
        remarks.append(
            f"{different} cannot show a difference of one of {n_tested} experiments alone: {needed} could (--episodes)"
        )
    return remarks
