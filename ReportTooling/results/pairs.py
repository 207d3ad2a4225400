"""The pairs of an agent: both inputs, the decisions in them, and what kind of pair each is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from Neuron_Selection.AnalysisTooling.measures.decisions import allowed_scores, greedy_actions
from Neuron_Selection.errors import InputError
from Neuron_Selection.FileFormats.agent_zip.agent_folder import CLEAN, CORRUPTED, INPUTS
from Neuron_Selection.FileFormats.inputs import Inputs
from Neuron_Selection.FileFormats.storage.atomic_files import is_there
from Neuron_Selection.FileFormats.storage.json_files import read_edited_json
from Neuron_Selection.PatchingTooling.opened_agent import OpenedAgent


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Pairs:
    """The pairs, in the order of the files.

    :param clean_scores, corrupted_scores: (n, n_actions), minus infinity for actions that a mask forbids
    :param kinds: of each pair, from ``pairs.json``; empty if that file names none
    :param changes: of each pair, its actions as ``left to right``
    """

    clean: Inputs
    corrupted: Inputs
    clean_scores: np.ndarray
    corrupted_scores: np.ndarray
    kinds: tuple[str, ...]
    changes: tuple[str, ...]

    @property
    def ids(self) -> tuple[str, ...]:
        """Their ids."""
        return self.clean.ids

    @property
    def has_contrast(self) -> np.ndarray:
        """Which pairs lead to different actions, (n,)."""
        different: np.ndarray = greedy_actions(self.clean_scores) != greedy_actions(self.corrupted_scores)
        return different

    @property
    def groups(self) -> tuple[str, ...]:
        """What pairs are grouped by: their kinds if there are several, else their changes of action."""
        return self.kinds if len(set(self.kinds)) > 1 else self.changes


def load_pairs(agent: OpenedAgent, actions: Sequence[str]) -> Pairs | None:
    """The pairs in an agent's folder; None without both files.

    :raises InputError: inputs that do not fit the agent, or files that do not list the same ids
    """
    folder = agent.folder.folder / INPUTS
    if not all(is_there(folder / name) for name in (CLEAN, CORRUPTED)):
        return None
    clean, corrupted = (agent.inputs_in(folder / name) for name in (CLEAN, CORRUPTED))
    if set(clean.ids) != set(corrupted.ids):
        raise InputError(folder / CORRUPTED, problem=f"does not list the ids of {CLEAN}")
    corrupted = corrupted.selected(clean.ids)
    scores = [allowed_scores(agent.network.scores(one.observations), one.action_masks) for one in (clean, corrupted)]
    before, after = map(greedy_actions, scores)
    path = folder / "pairs.json"
    return Pairs(
        clean=clean,
        corrupted=corrupted,
        clean_scores=scores[0],
        corrupted_scores=scores[1],
        kinds=_kinds(read_edited_json(path), clean.ids) if is_there(path) else (),
        changes=tuple(f"{actions[a]} to {actions[b]}" for a, b in zip(before, after, strict=True)),
    )


def _kinds(document: Any, ids: Sequence[str]) -> tuple[str, ...]:
    """The kind of each pair: its edit, else the method that made it."""
    if not isinstance(document, Mapping):
        return ()
    records = [document.get(input_id) for input_id in ids]
    found = [record.get("edit", record.get("method")) if isinstance(record, Mapping) else None for record in records]
    kinds = tuple(kind.replace("_", " ") for kind in found if isinstance(kind, str))
    return kinds if len(kinds) == len(ids) else ()
