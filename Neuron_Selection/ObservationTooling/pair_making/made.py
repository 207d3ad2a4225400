"""Pairs that were made, whatever the method: their records, their observations, and how many there could be."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from Neuron_Selection.AnalysisTooling.measures.decisions import action_margins, allowed_scores, greedy_actions
from Neuron_Selection.FileFormats.observations import Observations
from Neuron_Selection.FileFormats.pairs_file import Record
from Neuron_Selection.ObservationTooling.pair_making.entries import EntryTable

_NAMES_LISTED = 1000  # of the groups in which two inputs differ


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class MadePairs:
    """Pairs, ready to be written.

    ``records``: id to record, in the order of the rows of ``clean`` and ``corrupted``. ``clean_masks``,
    ``corrupted_masks``: (n_pairs, n_actions), None without action masks. ``clusters``: id to cluster, for the ids that
    have one. ``summary``: counts, for the metadata.
    """

    records: Mapping[str, Record]
    clean: Observations
    corrupted: Observations
    clusters: Mapping[str, str]
    summary: Mapping[str, Any]
    clean_masks: np.ndarray | None = None
    corrupted_masks: np.ndarray | None = None


def decisions_of(
    clean_scores: np.ndarray, corrupted_scores: np.ndarray, *, masks: np.ndarray | None = None
) -> dict[str, Any]:
    """The fields of a record on the decisions of its pair.

    :param clean_scores: (n_actions,), like ``corrupted_scores``, of the network
    :param masks: the action masks of both sides, (2, n_actions)
    """
    both = np.stack([clean_scores, corrupted_scores]).astype(np.float64)
    allowed = allowed_scores(both, masks)
    actions, margins = greedy_actions(allowed).tolist(), action_margins(allowed).tolist()
    scores = [tuple(row) for row in both.tolist()]
    values = {"action": actions, "margin": margins, "q_values": scores}
    return {f"{side}_{name}": pair[place] for name, pair in values.items()
            for place, side in enumerate(("clean", "corrupted"))}  # fmt: skip


def names_of_groups(table: EntryTable, groups: np.ndarray) -> tuple[str, ...] | None:
    """The names of some groups of a table; None if they are more than a thousand."""
    return tuple(table.group_names[group] for group in groups) if len(groups) <= _NAMES_LISTED else None


def action_changes(records: Iterable[Record]) -> dict[str, int]:
    """How many pairs lead from which action to which, such as ``{"0 -> 1": 12}``."""
    changes = Counter((record.clean_action, record.corrupted_action) for record in records)
    return {f"{before} -> {after}": count for (before, after), count in sorted(changes.items())}
