"""Path patching of single edges (Goldowsky-Dill et al. 2023, arXiv 2304.05969).

Edge u -> v joins two nodes of neighbouring layers: v reads the source run's value of u, and the target run's values of
everything else; then only v's change runs on. Of a Linear that is pre_v' = pre_v + W[v, u] (h_u' - h_u). An edge into a
score changes that score alone. In a convolution u and v are whole channels. It takes two steps: the receiving layer is
computed with u patched, then v alone is patched with what came out, which hooks do in every network.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from Neuron_Selection.ExperimentTooling.node_chain import SCORES, Link, NodeChain
from Neuron_Selection.FileFormats.observations import Observations, rows_of
from Neuron_Selection.PatchingTooling.agent.interventions import replacing


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class PatchedSender:
    """The scores under each edge out of one node, for the inputs in which the node differs.

    :param rows: (k,), those inputs
    :param receivers: (m,), the nodes that then differ in any of them; edges to all others have no effect
    :param values: what they then output, (k, m, *positions)
    :param scores: (m, k, n_actions)
    """

    sender: int
    rows: np.ndarray
    receivers: np.ndarray
    values: np.ndarray
    scores: np.ndarray


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class TargetRun:
    """The run that is patched.

    :param values: what the nodes of each layer but the scores output, (n, width, *positions) each
    :param scores: (n, n_actions)
    """

    observations: Observations
    values: list[np.ndarray]
    scores: np.ndarray


def patch_link(chain: NodeChain, link: Link, target: TargetRun, source: np.ndarray) -> Iterator[PatchedSender]:
    """Patch every edge between two neighbouring layers, sender by sender; senders that never differ are left out.

    :param source: what the sending layer outputs in the source run, (n, width, *positions)
    """
    own = target.values[link.number]
    differs = (own != source).reshape(*own.shape[:2], -1).any(axis=2)
    for sender in np.flatnonzero(differs.any(axis=0)):
        rows = np.flatnonzero(differs[:, sender])
        yield patch_sender(chain, link, target, int(sender), rows=rows, values=source[rows, sender])


def patch_sender(
    chain: NodeChain, link: Link, target: TargetRun, sender: int, *, rows: np.ndarray, values: np.ndarray
) -> PatchedSender:
    """Patch every edge out of one node.

    :param rows: the inputs in which the node differs, (k,)
    :param values: what it outputs there instead, (k, *positions)
    """
    outputs, observations = target.values[link.number][rows], rows_of(target.observations, rows)
    outputs[:, sender] = values
    received, baseline = chain.received(link, outputs, observations), target.scores[rows]
    before = baseline if link.receives == SCORES else target.values[link.number + 1][rows]
    receivers = np.flatnonzero((received != before).reshape(*before.shape[:2], -1).any(axis=(0, 2)))
    if not len(receivers):
        scores = np.empty((0, *baseline.shape))
    elif link.receives == SCORES:  # each score by itself
        scores = np.repeat(baseline[None], len(receivers), axis=0)
        scores[np.arange(len(receivers)), :, receivers] = received[:, receivers].T
    else:
        patches = [replacing({link.receives: (int(one),)}, {link.receives: received}) for one in receivers]
        scores = chain.network.patched_many(observations, patches)
    return PatchedSender(sender=sender, rows=rows, receivers=receivers, values=received[:, receivers], scores=scores)
