"""Visited states, the agent's decisions in them, and the states that are paired with their nearest ones."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import chain, islice, zip_longest
from typing import Any

import numpy as np

from Neuron_Selection.AnalysisTooling.measures.decisions import greedy_actions, near_ties
from Neuron_Selection.errors import InputError
from Neuron_Selection.FileFormats.inputs import Inputs
from Neuron_Selection.FileFormats.pairs_file import Record
from Neuron_Selection.ObservationTooling.pair_making.choice import choose
from Neuron_Selection.ObservationTooling.pair_making.decisions import WantedDecisions
from Neuron_Selection.ObservationTooling.pair_making.entries import EntryTable
from Neuron_Selection.ObservationTooling.pair_making.made import MadePairs, action_changes
from Neuron_Selection.ObservationTooling.pair_making.nearest import find_nearest

_COMPARED = 1000  # states whose nearest ones are found, at least


@dataclass(frozen=True, kw_only=True, slots=True)
class Neighbours:
    """Two visited states, ``row`` and ``donor``, with different greedy ``actions``.

    ``differing``: the number of entries in which they differ; ``distance``: see ``find_nearest``.
    """

    row: int
    donor: int
    differing: int
    distance: float
    actions: tuple[int, int]


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class VisitedStates:
    """The states of an inputs file, in the order of their visit.

    ``inputs``: as the network receives them. ``table``: the same observations. ``scores``: (n, n_actions).
    ``wanted``: the conditions on pairs.
    """

    inputs: Inputs
    table: EntryTable
    scores: np.ndarray
    wanted: WantedDecisions

    def distinct(self) -> np.ndarray:
        """Whether each state was not visited before, (n,)."""
        first = {row.tobytes(): place for place, row in reversed([*enumerate(self.table.values)])}
        mask = np.zeros(len(self.scores), bool)
        mask[list(first.values())] = True
        return mask

    def neighbours(self, n_pairs: int, *, seed: int) -> tuple[list[Neighbours], int]:
        """Some states, each with its nearest one, balanced over clusters and pairs of actions.

        Of many states only ten times as many as pairs are wanted, and at least a thousand, are compared with all
        others; they are drawn from the clusters in turn.

        :return: at most ``n_pairs`` of them, and how many there are
        :raises InputError: there are none
        """
        actions, distinct = greedy_actions(self.scores), self.distinct()
        donors = np.flatnonzero(distinct & self.wanted.allow_corrupted(self.scores))
        clean = distinct & self.wanted.allow_clean(self.scores)
        if len(np.unique(actions[donors])) == 1:
            clean &= actions != actions[donors[0]]
        possible = np.flatnonzero(clean) if len(donors) else donors
        if not len(possible):
            raise InputError(self.inputs.where, problem=self._why_none(distinct), hint=RECORD_MORE)
        random = np.random.default_rng(seed)
        clusters = [random.permutation(rows) for rows in self._by_cluster(possible).values()]
        in_turn = (row for row in chain.from_iterable(zip_longest(*clusters)) if row is not None)
        rows = np.array(list(islice(in_turn, max(_COMPARED, 10 * n_pairs))))
        nearest = find_nearest(self.table.values, actions, rows, donors)
        columns = (rows, nearest.donors, nearest.differing, nearest.distances)
        pairs = {
            row: Neighbours(
                row=row, donor=donor, differing=differing, distance=distance,
                actions=(int(actions[row]), int(actions[donor])),
            )
            for row, donor, differing, distance in zip(*(column.tolist() for column in columns), strict=True)
        }  # fmt: skip
        candidates = [[pairs[row] for row in cluster.tolist() if row in pairs] for cluster in clusters]
        chosen = choose(candidates, n_pairs, traits=lambda pair: (pair.actions,), clean=lambda pair: pair.row)
        return chosen, len(possible)

    def made(self, chosen: list[Neighbours], records: Mapping[str, Record], corrupted: np.ndarray, *, possible: int,
             summary: Mapping[str, Any]) -> MadePairs:  # fmt: skip
        """The pairs with these clean states.

        :param corrupted: (n_pairs, n_entries)
        """
        rows, distinct = [pair.row for pair in chosen], self.distinct()
        kept = self.scores[distinct]
        clusters = {input_id: name for input_id in records if (name := self.inputs.clusters.get(input_id)) is not None}
        counts = np.bincount(greedy_actions(kept), minlength=kept.shape[1])
        described = {
            "pairs": len(records),
            "possible": possible,
            "clusters": len(set(clusters.values())) if clusters else None,
            "states": len(kept),
            "near_ties": int(near_ties(kept).sum()),
            "unclear": int((~self.wanted.clear(kept)).sum()),
            "states_by_action": counts.tolist(),
            "action_changes": action_changes(records.values()),
        }
        return MadePairs(
            records=records,
            clean=self.table.observations(self.table.values[rows]),
            corrupted=self.table.observations(corrupted),
            clusters=clusters,
            summary={**described, **summary},
        )

    def _by_cluster(self, rows: np.ndarray) -> dict[str | None, list[int]]:
        found: dict[str | None, list[int]] = {}
        for row in rows.tolist():
            found.setdefault(self.inputs.clusters.get(self.inputs.ids[row]), []).append(row)
        return found

    def _why_none(self, distinct: np.ndarray) -> str:
        """Why there is no pair."""
        scores, wanted = self.scores[distinct], self.wanted
        actions = greedy_actions(scores)
        if len(np.unique(actions)) == 1:
            return f"the agent acts alike in all {len(scores)} states it visits"
        by_action = [f"{action} in {int((actions == action).sum())}" for action in np.unique(actions)]
        clear = int(wanted.clear(scores).sum())
        if clear < len(scores):
            which = f"near ties or lead by less than {wanted.min_margin:g}" if wanted.min_margin else "near ties"
            by_action.append(f"{len(scores) - clear} of the decisions are {which}")
        asked = [f"{way} action {action}" for way, action in (("from", wanted.from_action), ("to", wanted.to_action))
                 if action is not None]  # fmt: skip
        kind = f"pair {' '.join(asked)}" if asked else "pair"
        return f"there is no {kind} in {len(scores)} states (actions: {'; '.join(by_action)})"


RECORD_MORE = "record more states with record_inputs.py --policy epsilon=0.3"
