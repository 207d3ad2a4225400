"""Selection metrics that published summaries use, under their own names.

They are available because published files contain them, and not part of any default ranking. P and Q below are softmax
at temperature 1 of baseline b and patched p scores; t is the baseline's best action, s its second, e = 1e-10. A softmax
of Q-values is not DQN's policy and scales with the reward; that of an actor's logits is its policy. All arrays are
(n_inputs, n_actions), all results (n_inputs,).
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from Neuron_Selection.AnalysisTooling.measures.decisions import score_changes
from Neuron_Selection.AnalysisTooling.measures.probabilities import softmax

_E = 1e-10


def kl_divergence(baseline: np.ndarray, patched: np.ndarray) -> np.ndarray:
    """Sum P ln((P + e) / (Q + e)); for small effects almost equal to ``reverse_kl_divergence``."""
    p, q = softmax(baseline), softmax(patched)
    divergence: np.ndarray = (p * np.log((p + _E) / (q + _E))).sum(axis=1)
    return divergence


def reverse_kl_divergence(baseline: np.ndarray, patched: np.ndarray) -> np.ndarray:
    """Sum Q ln((Q + e) / (P + e))."""
    return kl_divergence(patched, baseline)


def top_logit_delta_magnitude(baseline: np.ndarray, patched: np.ndarray) -> np.ndarray:
    """|p_t - b_t|: the change of the best action's value, not of the decision."""
    rows, best, _ = _best_two(baseline)
    values: np.ndarray = np.abs(_double(patched)[rows, best] - _double(baseline)[rows, best])
    return values


def confidence_margin_magnitude(baseline: np.ndarray, patched: np.ndarray) -> np.ndarray:
    """|(Q_t - Q_s) - (P_t - P_s)| of the softmax."""
    rows, best, second = _best_two(baseline)
    p, q = softmax(baseline), softmax(patched)
    values: np.ndarray = np.abs((q[rows, best] - q[rows, second]) - (p[rows, best] - p[rows, second]))
    return values


def undirected_saturating_chebyshev(baseline: np.ndarray, patched: np.ndarray) -> np.ndarray:
    """|d| / (c + |d| + e), d = p_t - b_t, c = max over i != t of |p_i - b_i|; a shift of 1e-9 can score 1."""
    top, others = _chebyshev_parts(baseline, patched)
    values: np.ndarray = top / (others + top + _E)
    return values


def reversed_undirected_saturating_chebyshev(baseline: np.ndarray, patched: np.ndarray) -> np.ndarray:
    """1 - ``undirected_saturating_chebyshev``, but 0 if nothing changed; averages of the two metrics cancel."""
    top, others = _chebyshev_parts(baseline, patched)
    return np.where((top == 0) & (others == 0), 0.0, 1.0 - undirected_saturating_chebyshev(baseline, patched))


def reversed_pearson_correlation(baseline: np.ndarray, patched: np.ndarray) -> np.ndarray:
    """1 - Pearson(b, p) over the actions: 0 or 2 for two actions; 0 if either is constant."""
    b, p = (_centred(_double(q)) for q in (baseline, patched))
    scale = np.sqrt(np.square(b).sum(axis=1) * np.square(p).sum(axis=1))
    product = (b * p).sum(axis=1)
    values: np.ndarray = 1.0 - np.divide(product, scale, out=np.ones(len(scale)), where=scale > 0)
    return values


PUBLISHED_METRICS: dict[str, Callable[[np.ndarray, np.ndarray], np.ndarray]] = {
    metric.__name__: metric
    for metric in (
        kl_divergence,
        reverse_kl_divergence,
        top_logit_delta_magnitude,
        confidence_margin_magnitude,
        undirected_saturating_chebyshev,
        reversed_undirected_saturating_chebyshev,
        reversed_pearson_correlation,
    )
}


def _double(q_values: np.ndarray) -> np.ndarray:
    return np.asarray(q_values, np.float64)


def _centred(q_values: np.ndarray) -> np.ndarray:
    """The scores minus their mean; 0 for forbidden actions, which are minus infinity."""
    allowed = ~np.isneginf(q_values)
    if allowed.all():
        means: np.ndarray = q_values.mean(axis=1, keepdims=True)
    else:
        means = q_values.mean(axis=1, keepdims=True, where=allowed)
    return np.where(allowed, q_values - means, 0.0)


def _best_two(baseline: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Row numbers, best and second action; with a single action the second is the first."""
    order = np.argsort(-_double(baseline), axis=1, kind="stable")
    return np.arange(len(baseline)), order[:, 0], order[:, min(1, order.shape[1] - 1)]


def _chebyshev_parts(baseline: np.ndarray, patched: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    rows, best, _ = _best_two(baseline)
    change = np.abs(score_changes(baseline, patched))
    top = change[rows, best].copy()
    change[rows, best] = 0.0
    return top, change.max(axis=1)
