"""Pairs from visited states: two nearest states, or a state and its mixture with features of the nearest one."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from Neuron_Selection.AnalysisTooling.measures.decisions import allowed_scores
from Neuron_Selection.FileFormats.pairs_file import FeaturesRecord, Grouping, NearestRecord
from Neuron_Selection.ObservationTooling.pair_making.made import MadePairs, decisions_of, names_of_groups
from Neuron_Selection.ObservationTooling.pair_making.minimal_features import EXHAUSTIVE, minimal_sets
from Neuron_Selection.ObservationTooling.pair_making.visited import Neighbours, VisitedStates
from Neuron_Selection.PatchingTooling.opened_agent import OpenedAgent

_ENTRIES_AT_ONCE = 1 << 23  # of the mixtures in one batch


def nearest_pairs(states: VisitedStates, *, n_pairs: int, seed: int) -> MadePairs:
    """Pairs of a visited state and its nearest visited state with another decision.

    :raises InputError: there is no pair
    """
    chosen, counts = states.neighbours(n_pairs, seed=seed)
    table, ids = states.table, states.inputs.ids
    records = {}
    for pair in chosen:
        records[ids[pair.row]] = NearestRecord(
            donor=ids[pair.donor],
            differing_entries=pair.differing,
            n_entries=table.values.shape[1],
            distance=pair.distance,
            differs=names_of_groups(table, table.differing_groups(table.values[pair.row], table.values[pair.donor])),
            **decisions_of(
                states.scores[pair.row], states.scores[pair.donor], masks=states.masks_of([pair.row, pair.donor])
            ),
        )
    summary = {"method": "nearest", "differing_entries": _spread([pair.differing for pair in chosen])}
    donors = [pair.donor for pair in chosen]
    masks = states.masks_of(donors)
    return states.made(chosen, records, table.values[donors], corrupted_masks=masks, counts=counts, summary=summary)


def features_pairs(
    agent: OpenedAgent, states: VisitedStates, *, grouping: Grouping, n_pairs: int, seed: int
) -> MadePairs:
    """Pairs of a visited state and the same state with a minimal set of groups from its nearest one.

    The action mask of the state is that of both inputs.

    :param grouping: what the groups of the table are, for the records
    :raises InputError: there is no pair
    """
    chosen, counts = states.neighbours(n_pairs, seed=seed)
    table, ids = states.table, states.inputs.ids
    mixtures = _Mixtures(agent, states, chosen)
    found = minimal_sets([len(groups) for groups in mixtures.differing], mixtures.flip)
    corrupted = mixtures.values(np.arange(len(chosen)), found)
    scores = agent.network.scores(table.observations(corrupted))
    visited = {row.tobytes() for row in table.values}
    records = {}
    for number, (pair, differing) in enumerate(zip(chosen, mixtures.differing, strict=True)):
        taken = differing[found[number]]
        records[ids[pair.row]] = FeaturesRecord(
            donor=ids[pair.donor],
            group=grouping,
            taken=tuple(table.group_names[group] for group in taken),
            differing_groups=len(differing),
            share_of_features=len(taken) / len(differing),
            is_smallest=len(differing) <= EXHAUSTIVE,
            visited=corrupted[number].tobytes() in visited,
            **decisions_of(states.scores[pair.row], scores[number], masks=states.masks_of([pair.row, pair.row])),
        )
    summary = {
        "method": "features",
        "group": grouping,
        "taken": _spread([len(record.taken) for record in records.values()]),
        "share_of_features": float(np.mean([record.share_of_features for record in records.values()])),
        "visited": sum(record.visited for record in records.values()),
    }
    masks = states.masks_of([pair.row for pair in chosen])
    return states.made(chosen, records, corrupted, corrupted_masks=masks, counts=counts, summary=summary)


class _Mixtures:
    """Chosen states with some of their groups from their nearest ones.

    ``differing``: for each pair the numbers of the groups in which its two states differ.
    """

    def __init__(self, agent: OpenedAgent, states: VisitedStates, chosen: Sequence[Neighbours]) -> None:
        self._agent, self._states = agent, states
        self._actions = np.array([pair.actions[0] for pair in chosen])
        self._masks = states.masks_of([pair.row for pair in chosen])
        self._clean, self._donors = (
            states.table.values[rows] for rows in ([pair.row for pair in chosen], [pair.donor for pair in chosen])
        )
        rows = zip(self._clean, self._donors, strict=True)
        self.differing = [states.table.differing_groups(clean, donor) for clean, donor in rows]

    def values(self, pairs: np.ndarray, sets: Sequence[np.ndarray]) -> np.ndarray:
        """Mixtures as rows of the table, (k, n_entries).

        :param pairs: (k,), numbers of pairs; ``sets``: for each, which of its differing groups are from the donor
        """
        table = self._states.table
        taken = np.zeros((len(pairs), len(table.group_names)), bool)
        for mask, pair, one in zip(taken, pairs, sets, strict=True):
            mask[self.differing[pair][one]] = True
        return table.mixed(self._clean[pairs], self._donors[pairs], taken)

    def flip(self, pairs: np.ndarray, sets: Sequence[np.ndarray]) -> np.ndarray:
        """Whether each mixture may be the corrupted side of its pair, (k,)."""
        answers = np.zeros(len(pairs), bool)
        step = max(1, _ENTRIES_AT_ONCE // self._clean.shape[1])
        for start in range(0, len(pairs), step):
            part = slice(start, start + step)
            observations = self._states.table.observations(self.values(pairs[part], sets[part]))
            masks = None if self._masks is None else self._masks[pairs[part]]
            scores = allowed_scores(self._agent.network.scores(observations), masks)
            answers[part] = self._states.wanted.flipped(scores, self._actions[pairs[part]])
        return answers


def _spread(counts: Sequence[int]) -> dict[str, float]:
    return {"least": min(counts), "median": float(np.median(counts)), "most": max(counts)}
