"""Visited states, the agent's decisions in them, and the states that are paired with their nearest ones."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import chain, islice, zip_longest
from typing import Any

import numpy as np

from Neuron_Selection.AnalysisTooling.measures.decisions import allowed_scores, greedy_actions, near_ties
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

    ``inputs``: as the network receives them, with the action masks, if any. ``table``: the same observations.
    ``scores``: (n, n_actions), of the network. ``wanted``: the conditions on pairs.
    """

    inputs: Inputs
    table: EntryTable
    scores: np.ndarray
    wanted: WantedDecisions

    @property
    def decisive(self) -> np.ndarray:
        """The scores of allowed actions, (n, n_actions); minus infinity for the others."""
        return allowed_scores(self.scores, self.inputs.action_masks)

    def distinct(self) -> np.ndarray:
        """Whether each state was not visited before with the same action mask, (n,)."""
        masks = self.inputs.action_masks
        rows = [row.tobytes() for row in self.table.values]
        keys = rows if masks is None else [row + mask.tobytes() for row, mask in zip(rows, masks, strict=True)]
        first = {key: place for place, key in reversed([*enumerate(keys)])}
        mask = np.zeros(len(self.scores), bool)
        mask[list(first.values())] = True
        return mask

    def _differ_under_both(self, masks: np.ndarray, row: int, donors: np.ndarray) -> np.ndarray:
        """Whether a state and each donor are decided differently with the action mask of either, (k,).

        In experiments the target's mask holds in both runs, and either side of a pair can be the target.

        :param masks: of all states, (n, n_actions)
        """
        own = greedy_actions(allowed_scores(self.scores[[row]], masks[row]))
        with_own = self.wanted.flipped(allowed_scores(self.scores[donors], masks[row]), own)
        scores = allowed_scores(self.scores[[row]], masks[donors])
        with_theirs = self.wanted.clear(scores) & (greedy_actions(scores) != greedy_actions(self.decisive[donors]))
        differ: np.ndarray = with_own & with_theirs
        return differ

    def neighbours(self, n_pairs: int, *, seed: int) -> tuple[list[Neighbours], dict[str, int]]:
        """Some states, each with its nearest one, balanced over clusters and pairs of actions.

        Of many states only ten times as many as pairs are wanted, and at least a thousand, are compared with all
        others; they are drawn from the clusters in turn.

        :return: at most ``n_pairs`` of them; how many are ``possible``, and how many of these were ``compared``
        :raises InputError: there are none
        """
        scores, distinct = self.decisive, self.distinct()
        actions = greedy_actions(scores)
        donors = np.flatnonzero(distinct & self.wanted.allow_corrupted(scores))
        clean = distinct & self.wanted.allow_clean(scores)
        if len(np.unique(actions[donors])) == 1:
            clean &= actions != actions[donors[0]]
        possible = np.flatnonzero(clean) if len(donors) else donors
        if not len(possible):
            raise InputError(self.inputs.where, problem=self._why_none(distinct), hint=RECORD_MORE)
        random = np.random.default_rng(seed)
        clusters = [random.permutation(rows) for rows in self._by_cluster(possible).values()]
        in_turn = (row for row in chain.from_iterable(zip_longest(*clusters)) if row is not None)
        rows = np.array(list(islice(in_turn, max(_COMPARED, 10 * n_pairs))))
        counts, fits = {"possible": len(possible), "compared": len(rows)}, None
        if self.inputs.action_masks is not None:
            fits = partial(self._differ_under_both, self.inputs.action_masks)
            rows = rows[[fits(row, donors[actions[donors] != actions[row]]).any() for row in rows]]
            counts["possible"] -= counts["compared"] - len(rows)
            if not len(rows):
                problem = "no two states are decided differently with the action masks of both"
                raise InputError(self.inputs.where, problem=problem, hint=RECORD_MORE)
        nearest = find_nearest(self.table.values, actions, rows, donors, fits=fits)
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
        return chosen, counts

    def made(
        self,
        chosen: list[Neighbours],
        records: Mapping[str, Record],
        corrupted: np.ndarray,
        *,
        corrupted_masks: np.ndarray | None,
        counts: Mapping[str, int],
        summary: Mapping[str, Any],
    ) -> MadePairs:
        """The pairs with these clean states.

        :param corrupted: (n_pairs, n_entries)
        :param corrupted_masks: (n_pairs, n_actions)
        :param counts: of ``neighbours``
        """
        rows, distinct = [pair.row for pair in chosen], self.distinct()
        kept = self.decisive[distinct]
        clusters = {input_id: name for input_id in records if (name := self.inputs.clusters.get(input_id)) is not None}
        by_action = np.bincount(greedy_actions(kept), minlength=kept.shape[1])
        described = {
            "pairs": len(records),
            **counts,
            "clusters": len(set(clusters.values())) if clusters else None,
            "states": len(kept),
            "near_ties": int(near_ties(kept).sum()),
            "unclear": int((~self.wanted.clear(kept)).sum()),
            "states_by_action": by_action.tolist(),
            "action_changes": action_changes(records.values()),
        }
        return MadePairs(
            records=records,
            clean=self.table.observations(self.table.values[rows]),
            corrupted=self.table.observations(corrupted),
            clean_masks=self.masks_of(rows),
            corrupted_masks=corrupted_masks,
            clusters=clusters,
            summary={**described, **summary},
        )

    def masks_of(self, rows: Sequence[int]) -> np.ndarray | None:
        """The action masks of some states, (n_rows, n_actions); None without masks."""
        masks = self.inputs.action_masks
        return None if masks is None else masks[list(rows)]

    def _by_cluster(self, rows: np.ndarray) -> dict[str | None, list[int]]:
        found: dict[str | None, list[int]] = {}
        for row in rows.tolist():
            found.setdefault(self.inputs.clusters.get(self.inputs.ids[row]), []).append(row)
        return found

    def _why_none(self, distinct: np.ndarray) -> str:
        """Why there is no pair."""
        scores, wanted = self.decisive[distinct], self.wanted
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
