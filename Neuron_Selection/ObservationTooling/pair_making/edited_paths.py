"""Pairs on an agent's path through a world: a state, and the same state after an edit that changes the decision."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from Neuron_Selection.AnalysisTooling.measures.decisions import allowed_scores, greedy_actions
from Neuron_Selection.errors import UsageError
from Neuron_Selection.FileFormats.observations import Observations, rows_of
from Neuron_Selection.ObservationTooling.grid_worlds.layouts import Cell
from Neuron_Selection.ObservationTooling.grid_worlds.world import World
from Neuron_Selection.ObservationTooling.grid_worlds.world_edits import WorldEdit, edited
from Neuron_Selection.ObservationTooling.pair_making.decisions import WantedDecisions

Scores = Callable[[Observations], np.ndarray]
"""A batch of n observations to scores, (n, n_actions)."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class EditedState:
    """A state of the world of ``seed``, after ``actions``, and one edit of it that changes the decision.

    ``cell``, ``heading``: of the agent before the edit. ``clean``, ``corrupted``: batches of one observation.
    ``clean_scores``, ``corrupted_scores``: (n_actions,), of the network. ``change``: the greedy actions before and
    after the edit. ``masks``: the allowed actions before and after it, (2, n_actions); None without masks.
    """

    seed: int
    actions: tuple[int, ...]
    cell: Cell
    heading: int
    edit: WorldEdit
    clean: Observations
    corrupted: Observations
    clean_scores: np.ndarray
    corrupted_scores: np.ndarray
    change: tuple[int, int]
    masks: np.ndarray | None = None

    @property
    def clean_bytes(self) -> bytes:
        """What identifies the clean input."""
        parts = self.clean.values() if isinstance(self.clean, dict) else [self.clean]
        return b"".join(part.tobytes() for part in parts)


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class PathState:
    """A state on the path: the edits that were run there, and the pairs that they gave."""

    cell: Cell
    heading: int
    n_edits: int
    pairs: Sequence[EditedState]


def walk(
    world: World,
    scores: Scores,
    edits_of: Callable[[World], Sequence[WorldEdit]],
    wanted: WantedDecisions,
    *,
    seed: int,
) -> Iterator[PathState]:
    """Follow the greedy policy from the start of a seed to the end of the episode or the first repeated state.

    :param edits_of: the edits of the current state that are run
    :raises UsageError: observations depend on more than the state of the world
    """
    observation = world.reset(seed)
    actions: list[int] = []
    visited = set()
    is_running = True
    while is_running and (state := world.state()) not in visited:
        visited.add(state)
        clean = world.observe()
        if not _equal(observation, clean):
            raise UsageError(
                "method environment: observations depend on earlier steps (stacked frames, or a wrapper with memory), "
                "so an edited world cannot be observed by itself; use method nearest or features"
            )
        edits = edits_of(world)
        own_mask = world.action_mask()
        seen = [(clean, own_mask), *(_observed(world, edit) for edit in edits)]
        batch = joined([observed for observed, _ in seen])
        masks = None if own_mask is None else np.stack([mask for _, mask in seen if mask is not None])
        raw = scores(batch)
        values = allowed_scores(raw, masks)
        greedy = greedy_actions(values)
        action = int(greedy[0])
        (x, y), heading = map(int, world.base.agent_pos), int(world.base.agent_dir)
        changed = wanted.flipped(values, action) & wanted.allow_clean(values[:1])
        if masks is not None:  # in experiments the target's mask holds in both runs
            changed &= wanted.flipped(allowed_scores(raw, masks[0]), action)
            unedited = allowed_scores(raw[:1], masks)
            changed &= wanted.clear(unedited) & (greedy_actions(unedited) != greedy)
        pairs = [
            EditedState(
                seed=seed, actions=tuple(actions), cell=(x, y), heading=heading, edit=edits[row - 1], clean=clean,
                corrupted=rows_of(batch, slice(row, row + 1)), clean_scores=raw[0], corrupted_scores=raw[row],
                change=(action, int(greedy[row])), masks=None if masks is None else masks[[0, row]],
            )
            for row in np.flatnonzero(changed).tolist()
        ]  # fmt: skip
        yield PathState(cell=(x, y), heading=heading, n_edits=len(edits), pairs=pairs)
        observation, is_running = world.step(action)
        actions.append(action)


def joined(batches: Sequence[Observations]) -> Observations:
    """One batch of several."""
    if isinstance(batches[0], dict):
        return {key: np.concatenate([batch[key] for batch in batches]) for key in batches[0]}
    return np.concatenate([np.asarray(batch) for batch in batches])


def _observed(world: World, edit: WorldEdit) -> tuple[Observations, np.ndarray | None]:
    with edited(world.base, edit):
        return world.observe(), world.action_mask()


def _equal(first: Observations, second: Observations) -> bool:
    if isinstance(first, dict) and isinstance(second, dict):
        return all(np.array_equal(first[key], second[key]) for key in first)
    return np.array_equal(np.asarray(first), np.asarray(second))
