"""Agreement of estimated effects with exact ones: rank correlations, recall of the strongest, signs, misses."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from Neuron_Selection.address_space import require_address_space

TOP = (1, 5, 10, 20)
_ROUNDING = 1e-9  # of the largest effect: estimates that are exact must not lose a place to their last bits


@dataclass(frozen=True, kw_only=True, slots=True)
class Agreement:
    """``spearman``, ``kendall``: rank correlations (tau-b) of the sizes, None where all sizes are alike.

    ``recall``: k to the share of the k strongest neurons among the k of largest estimate, None with fewer than k + 1
    neurons, or if no neuron has an effect. ``sign_errors``: neurons whose estimate has the opposite sign. ``worst``:
    the neuron whose estimate is farthest from its effect.
    """

    spearman: float | None
    kendall: float | None
    recall: dict[int, float | None]
    sign_errors: int
    worst: int


def agreement_of(effects: np.ndarray, estimates: np.ndarray) -> Agreement:
    """Compare estimates with effects.

    :param effects: (k,), of the neurons that can have one; at least one
    :param estimates: (k,)
    """
    require_address_space("scipy")
    from scipy.stats import kendalltau, spearmanr

    sizes, guesses, rounding = np.abs(effects), np.abs(estimates), _rounding(effects)
    spearman = kendall = None
    if np.ptp(sizes) > rounding and np.ptp(guesses) > _rounding(estimates):
        ranked = _without_rounding(sizes), _without_rounding(guesses)
        spearman, kendall = float(spearmanr(*ranked).statistic), float(kendalltau(*ranked).statistic)
    return Agreement(
        spearman=spearman,
        kendall=kendall,
        recall={k: recall_of(sizes[None], guesses[None], k) for k in TOP},
        sign_errors=int(np.count_nonzero((sizes > rounding) & (guesses > rounding) & (effects * estimates < 0))),
        worst=int(np.argmax(np.abs(estimates - effects))),
    )


def recall_of(sizes: np.ndarray, guesses: np.ndarray, k: int) -> float | None:
    """The share of the k strongest that are among the k of largest estimate, averaged over rows.

    A neuron as strong as the k-th counts as one of the k strongest, so that ties are no misses.

    :param sizes: (rows, neurons), like ``guesses``
    :return: None with fewer than k + 1 neurons, or if none has an effect
    """
    if sizes.shape[1] <= k or not sizes.any():
        return None
    chosen = np.argsort(-guesses, axis=1, kind="stable")[:, :k]
    least = -np.sort(-sizes, axis=1)[:, k - 1]
    hits = np.take_along_axis(sizes, chosen, axis=1) >= (least - _ROUNDING * sizes.max(axis=1))[:, None]
    return float(hits.mean())


def _rounding(values: np.ndarray) -> float:
    return _ROUNDING * float(np.abs(values).max())


def _without_rounding(sizes: np.ndarray) -> np.ndarray:
    """Sizes in steps of a billionth of the largest: what differs in the last bits only is a tie."""
    largest = float(sizes.max())
    steps: np.ndarray = np.round(sizes / largest / _ROUNDING)
    return steps
