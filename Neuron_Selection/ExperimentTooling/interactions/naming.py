"""Names of interactions, and groups of neurons that act as one.

In denoising two neurons are *jointly needed* if they restore more together than the sum of what each restores alone (an
AND), and *backup* for each other if they restore less (an OR). In noising it is the reverse: what only both together
destroy has a backup. They are *opposing* if their own effects have opposite signs, and *additive* otherwise.
"""

from __future__ import annotations

import numpy as np

ADDITIVE, BACKUP, JOINT, OPPOSING = KINDS = ("additive", "backup", "jointly_needed", "opposing")
_MORE_THAN_THE_SUM = {"denoising": JOINT, "noising": BACKUP}
_LESS_THAN_THE_SUM = {"denoising": BACKUP, "noising": JOINT}
GROUP_SHARE = 0.5  # of the largest of the three effects: an interaction that binds two neurons into a group


def kinds_of(
    direction: str,
    effects: tuple[np.ndarray, np.ndarray],
    interactions: np.ndarray,
    *,
    threshold: float,
    is_tested: np.ndarray,
) -> np.ndarray:
    """The name of each pair's interaction, (k,).

    More or less counts in the direction of E(i) + E(j) + E(ij), so that neurons that both act against the source's
    action are named alike.

    :param effects: of either neuron alone, (k,) each
    :param threshold: effects and interactions below it are taken as 0
    :param is_tested: (k,), which interactions are not excluded by their q value
    """
    one, other = effects
    together = one + other + interactions
    gain = interactions * np.sign(one + other + together)
    is_strong = (np.abs(interactions) >= threshold) & is_tested
    is_opposing = (np.minimum(np.abs(one), np.abs(other)) >= threshold) & (one * other < 0)
    kinds = np.full(len(one), ADDITIVE, dtype=object)
    kinds[is_strong & (gain > 0)] = _MORE_THAN_THE_SUM[direction]
    kinds[is_strong & (gain < 0)] = _LESS_THAN_THE_SUM[direction]
    kinds[is_opposing] = OPPOSING
    return kinds


def groups_of(
    first: np.ndarray,
    second: np.ndarray,
    effects: tuple[np.ndarray, np.ndarray],
    interactions: np.ndarray,
    kinds: np.ndarray,
    *,
    count: int,
) -> list[tuple[int, ...]]:
    """Players that act as one: connected by pairs that are backup or jointly needed and interact strongly.

    Strongly: by at least half of the largest of E(i), E(j) and E(ij), in absolute value.

    :param first: (k,), the players of each pair, like ``second``
    :param count: of players
    :return: groups of two players and more, the largest first
    """
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    one, other = effects
    largest = np.maximum.reduce([np.abs(one), np.abs(other), np.abs(one + other + interactions)])
    binds = np.isin(kinds, (BACKUP, JOINT)) & (np.abs(interactions) >= GROUP_SHARE * largest)
    graph = coo_array((np.ones(binds.sum()), (first[binds], second[binds])), shape=(count, count))
    n_groups, labels = connected_components(graph, directed=False)
    groups = [tuple(int(player) for player in np.flatnonzero(labels == label)) for label in range(n_groups)]
    return sorted((group for group in groups if len(group) > 1), key=lambda group: (-len(group), group))
