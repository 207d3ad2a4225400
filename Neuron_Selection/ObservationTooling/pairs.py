"""Generate pairs of inputs that differ by one edit of the grid and in the agent's decision."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
from minigrid.minigrid_env import MiniGridEnv

from Neuron_Selection.AnalysisTooling.measures.decisions import action_margins, greedy_actions
from Neuron_Selection.errors import SuiteError, UsageError
from Neuron_Selection.ObservationTooling.egocentric_view import observe, observe_now
from Neuron_Selection.ObservationTooling.grid_worlds.edits import CONTENTS, Edit, apply_edit, possible_edits
from Neuron_Selection.ObservationTooling.grid_worlds.environments import agent_cell, first_seeds, make_environment
from Neuron_Selection.ObservationTooling.grid_worlds.input_ids import InputId, format_input_id
from Neuron_Selection.ObservationTooling.grid_worlds.layouts import Cell, Layout, distances_to_goal

QFunction = Callable[[npt.NDArray[np.float32]], npt.NDArray[Any]]
"""Inputs (n, 151) to Q-values (n, n_actions)."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Pair:
    """A clean input, the edit that corrupts it, and the agent's Q-values for both inputs.

    ``clean``, ``corrupted``: (151,); ``clean_q_values``, ``corrupted_q_values``: (n_actions,).
    """

    place: InputId
    edit: Edit
    clean: npt.NDArray[np.float32]
    corrupted: npt.NDArray[np.float32]
    clean_q_values: npt.NDArray[Any]
    corrupted_q_values: npt.NDArray[Any]

    @property
    def input_id(self) -> str:
        """The key of this pair in every file."""
        return format_input_id(self.place)

    @property
    def actions(self) -> tuple[int, int]:
        """The greedy actions on the clean and on the corrupted input."""
        return int(self.clean_q_values.argmax()), int(self.corrupted_q_values.argmax())


def generate_pairs(
    env_id: str, q_values: QFunction, *, n_pairs: int, env_seeds: range, min_margin: float = 0.02, seed: int = 1
) -> list[Pair]:
    """Find pairs on the agent's greedy paths.

    Of the seeds that share a layout only the first is used, so that clusters by seed are independent.

    :param min_margin: smallest lead of the greedy action in both inputs; 0.02 leaves out ties that any change can break
    :raises SuiteError: a margin that is negative or not finite, or fewer than ``n_pairs`` pairs on the paths
    """
    if not 0 <= min_margin < np.inf:
        raise UsageError(field="min_margin", found=f"{min_margin:g}", expected="a finite number from 0")
    env = make_environment(env_id)
    random = np.random.default_rng(seed)
    candidates: list[list[Pair]] = []
    for layout, env_seed in first_seeds(env, env_seeds).items():
        if len(candidates) == n_pairs:  # one pair per seed is the widest spread
            break
        found = list(
            _pairs_of_seed(env, q_values, env_id=env_id, env_seed=env_seed, layout=layout, min_margin=min_margin)
        )
        if found:
            candidates.append([found[row] for row in random.permutation(len(found))])
    chosen = _choose(candidates, n_pairs)
    if len(chosen) < n_pairs:
        raise SuiteError(
            field="pairs",
            found=str(len(chosen)),
            expected=str(n_pairs),
            hint="try more environment seeds or a smaller margin",
        )
    return chosen


def greedy_path(env: MiniGridEnv, q_values: QFunction, *, env_seed: int) -> list[tuple[Cell, int]]:
    """The states (cell, heading) visited from the start of a seed, up to the end or the first repeated state."""
    env.reset(seed=env_seed)
    path: list[tuple[Cell, int]] = []
    ended = False
    while not ended and (agent_cell(env), int(env.agent_dir)) not in path:
        path.append((agent_cell(env), int(env.agent_dir)))
        action = q_values(observe_now(env)[None])[0].argmax()
        _, _, terminated, truncated, _ = env.step(int(action))
        ended = terminated or truncated
    return path


def _pairs_of_seed(
    env: MiniGridEnv, q_values: QFunction, *, env_id: str, env_seed: int, layout: Layout, min_margin: float
) -> Iterator[Pair]:
    """All pairs on the greedy path of one seed."""
    for cell, heading in greedy_path(env, q_values, env_seed=env_seed):
        edits = [
            edit
            for kind in CONTENTS
            for edit in possible_edits(layout, kind, agent=cell)
            if cell in distances_to_goal(apply_edit(layout, edit))
        ]
        layouts = [layout, *(apply_edit(layout, edit) for edit in edits)]
        inputs = np.stack([observe(env, layout, cell=cell, heading=heading) for layout in layouts])
        values = q_values(inputs)
        actions = greedy_actions(values)
        clear = action_margins(values) >= min_margin
        for row in np.flatnonzero((actions != actions[0]) & clear & clear[0]):
            yield Pair(
                place=InputId(env_id=env_id, seed=env_seed, cell=cell, heading=heading, number=0),
                edit=edits[row - 1],
                clean=inputs[0],
                corrupted=inputs[row],
                clean_q_values=values[0],
                corrupted_q_values=values[row],
            )


def _choose(candidates: Iterable[list[Pair]], n_pairs: int) -> list[Pair]:
    """Take one pair per seed in turn, preferring rare kinds of edits, then rare actions; no clean input twice."""
    chosen: list[Pair] = []
    taken: Counter[Any] = Counter()
    waiting = deque(candidates)
    while waiting and len(chosen) < n_pairs:
        fresh = [pair for pair in waiting.popleft() if not taken[pair.clean.tobytes()]]
        if fresh:
            pair = min(fresh, key=lambda pair: (taken[pair.edit.kind], taken[pair.actions]))
            taken.update([pair.edit.kind, pair.actions, pair.clean.tobytes()])
            chosen.append(replace(pair, place=replace(pair.place, number=len(chosen))))
            waiting.append(fresh)
    return chosen
