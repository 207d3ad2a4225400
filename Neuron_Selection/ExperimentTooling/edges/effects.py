"""Effects of all edges on the margin, with intervals and q values over clusters of pairs."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from Neuron_Selection.AnalysisTooling.measures.cluster_statistics import (
    bootstrap_intervals,
    q_values_of,
    sign_flip_p_values,
)
from Neuron_Selection.ExperimentTooling.contrast_pairs import ContrastPairs
from Neuron_Selection.ExperimentTooling.edges.patching import TargetRun, patch_link
from Neuron_Selection.ExperimentTooling.node_chain import Link, NodeChain
from Neuron_Selection.FileFormats.directions import TARGETS


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class LinkEffects:
    """The edges of one link in one direction; each array is (senders, receivers).

    :param effect: margin recovery (denoising) or damage (noising), the ratio of sums over contrast pairs
    :param low: of the interval, like ``high``; NaN with fewer than two clusters
    :param q: after Benjamini and Hochberg over all edges of the direction that change any score; NaN for the others
    :param flips: pairs whose action changed
    :param matches: pairs whose action is then the source run's
    :param changed: pairs in which the score of any allowed action changed; 0 where the edge cannot have an effect
    """

    link: Link
    effect: np.ndarray
    low: np.ndarray
    high: np.ndarray
    q: np.ndarray
    flips: np.ndarray
    matches: np.ndarray
    changed: np.ndarray


def margin_of(scores: np.ndarray, ahead: np.ndarray, behind: np.ndarray) -> np.ndarray:
    """score[ahead] - score[behind] of each input.

    :param scores: (..., n, n_actions)
    :param ahead: (n,), actions
    """
    rows = np.arange(len(ahead))
    margins: np.ndarray = scores[..., rows, ahead] - scores[..., rows, behind]
    return margins


def target_run(chain: NodeChain, pairs: ContrastPairs, name: str) -> TargetRun:
    """The clean or the corrupted run, ready to be patched."""
    observations = pairs.observations[name]
    return TargetRun(observations=observations, values=chain.values(observations), scores=pairs.scores[name])


def direction_effects(
    chain: NodeChain, pairs: ContrastPairs, direction: str, links: Iterable[Link], *, resamples: int, seed: int
) -> list[LinkEffects]:
    """Patch every edge of a chain in one direction.

    :param pairs: of this direction
    :param links: of the chain, all of them
    """
    target, source = TARGETS[direction]
    run, other = target_run(chain, pairs, target), chain.values(pairs.observations[source])
    ahead, behind = pairs.actions[source], pairs.actions[target]
    before = margin_of(run.scores, ahead, behind)
    gaps = pairs.cluster_sums(margin_of(pairs.scores[source], ahead, behind) - before)
    found, sums = [], []
    for link in links:
        shape = chain.widths[link.number], chain.widths[link.number + 1]
        counts = {name: np.zeros(shape, np.int64) for name in ("flips", "matches", "changed")}
        effect = np.zeros(shape)
        moved = [np.empty((0, pairs.clusters.count))]
        for part in patch_link(chain, link, run, other[link.number]):
            edges, rows = (part.sender, part.receivers), part.rows
            scores = pairs.allowed(part.scores, rows)
            actions = np.argmax(scores, axis=2)
            margins = np.zeros((len(part.receivers), pairs.count))
            margins[:, rows] = margin_of(part.scores, ahead[rows], behind[rows]) - before[rows]
            counts["flips"][edges] = (actions != behind[rows]).sum(axis=1)
            counts["matches"][edges] = (actions == ahead[rows]).sum(axis=1)
            counts["changed"][edges] = (scores != pairs.allowed(run.scores[rows], rows)).any(axis=2).sum(axis=1)
            effect[edges] = margins.sum(axis=1) / gaps.sum()
            moved.append(pairs.cluster_sums(margins[counts["changed"][edges] > 0]))
        found.append((link, effect, counts))
        sums.append(np.concatenate(moved))
    low, high, q = _statistics(np.concatenate(sums).T, gaps, resamples=resamples, seed=seed)
    effects, start = [], 0
    for (link, effect, counts), of_link in zip(found, sums, strict=True):
        span, moves = slice(start, start + len(of_link)), counts["changed"] > 0
        start += len(of_link)
        placed = [
            _placed(moves, values[span], otherwise) for values, otherwise in ((low, 0.0), (high, 0.0), (q, np.nan))
        ]
        effects.append(LinkEffects(link=link, effect=effect, low=placed[0], high=placed[1], q=placed[2], **counts))
    return effects


def _statistics(
    changes: np.ndarray, gaps: np.ndarray, *, resamples: int, seed: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Low, high and q of edges.

    :param changes: (n_clusters, n_edges)
    """
    intervals = bootstrap_intervals(changes, gaps, resamples=resamples, seed=seed)
    low, high = np.full((2, changes.shape[1]), np.nan) if intervals is None else intervals
    return low, high, q_values_of(sign_flip_p_values(changes, resamples=resamples, seed=seed))


def _placed(where: np.ndarray, values: np.ndarray, otherwise: float) -> np.ndarray:
    placed = np.full(where.shape, otherwise)
    placed[where] = values
    return placed


def importance_of(effects: Iterable[Sequence[LinkEffects]]) -> list[np.ndarray]:
    """Mean of |effect| over the directions, link by link, as for neurons.

    :param effects: of each direction, links in the same order
    """
    by_link = zip(*effects, strict=True)
    return [np.mean([np.abs(one.effect) for one in directions], axis=0) for directions in by_link]
