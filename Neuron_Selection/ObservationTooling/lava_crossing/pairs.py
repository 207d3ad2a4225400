"""Generate pairs of inputs that differ by one edit of the grid and in the agent's decision."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from Neuron_Selection.errors import SuiteError
from Neuron_Selection.FileFormats.observations import Observations
from Neuron_Selection.ObservationTooling.egocentric_view import EgocentricView
from Neuron_Selection.ObservationTooling.grid_worlds.environments import (
    agent_cell,
    current_layout,
    first_seeds,
    make_environment,
)
from Neuron_Selection.ObservationTooling.grid_worlds.layouts import distances_to_goal
from Neuron_Selection.ObservationTooling.grid_worlds.world import World
from Neuron_Selection.ObservationTooling.grid_worlds.world_edits import WorldEdit
from Neuron_Selection.ObservationTooling.lava_crossing.edits import (
    CONTENTS,
    Edit,
    apply_edit,
    lava_edit,
    possible_edits,
    world_edit,
)
from Neuron_Selection.ObservationTooling.lava_crossing.input_ids import InputId, format_input_id
from Neuron_Selection.ObservationTooling.pair_making.choice import choose
from Neuron_Selection.ObservationTooling.pair_making.decisions import WantedDecisions
from Neuron_Selection.ObservationTooling.pair_making.edited_paths import EditedState, walk

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
    wanted = WantedDecisions(min_margin=min_margin)
    world = lava_world(env_id)
    random = np.random.default_rng(seed)
    candidates: list[list[EditedState]] = []
    for env_seed in first_seeds(world.base, env_seeds).values():
        if len(candidates) == n_pairs:  # one pair per seed is the widest spread
            break
        states = walk(world, lambda inputs: q_values(np.asarray(inputs)), _edits, wanted, seed=env_seed)
        found = [pair for state in states for pair in state.pairs]
        if found:
            candidates.append([found[row] for row in random.permutation(len(found))])
    chosen = choose(
        candidates, n_pairs, traits=lambda pair: (pair.edit.kind, pair.change), clean=lambda pair: pair.clean_bytes
    )
    if len(chosen) < n_pairs:
        raise SuiteError(
            field="pairs",
            found=str(len(chosen)),
            expected=str(n_pairs),
            hint="try more environment seeds or a smaller margin",
        )
    return [_pair(env_id, number, state) for number, state in enumerate(chosen)]


def lava_world(env_id: str) -> World:
    """The world of an environment, observed as the example agents observe it."""
    env = EgocentricView(make_environment(env_id))

    def step(action: int) -> tuple[Observations, bool]:
        observation, _, terminated, truncated, _ = env.step(action)
        return observation[None], not (terminated or truncated)

    return World(env, reset=lambda seed: env.reset(seed=seed)[0][None], step=step)


def _edits(world: World) -> list[WorldEdit]:
    """All edits of the current grid that leave the goal within reach."""
    layout, cell = current_layout(world.base), agent_cell(world.base)
    return [
        world_edit(edit)
        for kind in CONTENTS
        for edit in possible_edits(layout, kind, agent=cell)
        if cell in distances_to_goal(apply_edit(layout, edit))
    ]


def _pair(env_id: str, number: int, state: EditedState) -> Pair:
    return Pair(
        place=InputId(env_id=env_id, seed=state.seed, cell=state.cell, heading=state.heading, number=number),
        edit=lava_edit(state.edit),
        clean=np.asarray(state.clean)[0],
        corrupted=np.asarray(state.corrupted)[0],
        clean_q_values=state.clean_scores,
        corrupted_q_values=state.corrupted_scores,
    )
