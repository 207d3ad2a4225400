"""Tables of all states of some layouts: observations, and the successor of each action."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import product
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
from minigrid.minigrid_env import MiniGridEnv

from Neuron_Selection.ObservationTooling.egocentric_view import ACTIONS, LENGTH, observe_now
from Neuron_Selection.ObservationTooling.grid_worlds.environments import agent_cell, place
from Neuron_Selection.ObservationTooling.grid_worlds.layouts import FREE, GOAL, HEADINGS, LAVA, Cell, Layout

ENDS = {GOAL: -1, LAVA: -2}
State: TypeAlias = tuple[Layout, Cell, int]
"""Layout, cell and heading."""


@dataclass(frozen=True, kw_only=True, slots=True)
class StateTable:
    """All free cells and headings of some layouts.

    ``states``: n of (layout, cell, heading). ``observations``: (n, 151). ``successors``: (n, 3), the state after
    each action, -1 if the episode ends on the goal, -2 if it ends in lava.
    """

    states: tuple[State, ...]
    observations: npt.NDArray[np.float32]
    successors: npt.NDArray[np.int64]


def tabulate_states(env: MiniGridEnv, layouts: Iterable[Layout]) -> StateTable:
    """Try every action in every state in the environment."""
    states = states_of(layouts)
    return StateTable(
        states=states,
        observations=np.array([observe_now(env) for _ in visited_states(env, states)], np.float32).reshape(-1, LENGTH),
        successors=successors_of(env, states, n_actions=len(ACTIONS)),
    )


def states_of(layouts: Iterable[Layout]) -> tuple[State, ...]:
    """All free cells and headings of some layouts."""
    return tuple(
        (layout, cell, heading)
        for layout in layouts
        for cell, heading in product(layout.cells(FREE), range(len(HEADINGS)))
    )


def visited_states(env: MiniGridEnv, states: Sequence[State]) -> Iterator[int]:
    """The number of each state in turn, with the environment in that state; a grid is built once for its states."""
    before: Layout | None = None
    for number, (layout, cell, heading) in enumerate(states):
        if layout is before:
            env.agent_pos, env.agent_dir, env.step_count = cell, heading, 0
        else:
            place(env, layout, cell=cell, heading=heading)
        before = layout
        yield number


def successors_of(env: MiniGridEnv, states: Sequence[State], *, n_actions: int) -> npt.NDArray[np.int64]:
    """The state after each action, (n, n_actions), as in ``StateTable``; every action is taken in the environment."""
    rows = {state: row for row, state in enumerate(states)}
    successors = np.zeros((len(states), n_actions), np.int64)
    with _without_views(env):
        for action in range(n_actions):
            for row in visited_states(env, states):
                layout = states[row][0]
                env.step(action)
                ended_on = layout.content(agent_cell(env))
                successors[row, action] = (
                    ENDS[ended_on] if ended_on in ENDS else rows[layout, agent_cell(env), int(env.agent_dir)]
                )
    return successors


@contextmanager
def _without_views(env: MiniGridEnv) -> Iterator[None]:
    """Inside the block, steps do not compute the agent's view, which takes most of their time."""
    env.gen_obs = dict  # type: ignore[method-assign]
    try:
        yield
    finally:
        del env.gen_obs


def follow_policy(table: StateTable, actions: npt.NDArray[np.int64]) -> npt.NDArray[np.str_]:
    """Follow a policy from every state to its end.

    :param actions: (n,), the action of the policy in each state
    :return: (n,), ``goal``, ``lava`` or, if the episode never ends, ``loop``
    """
    ends = table.successors[np.arange(len(actions)), actions]
    for _ in range(len(actions).bit_length()):  # each iteration doubles the number of steps
        ends = np.where(ends < 0, ends, ends[np.maximum(ends, 0)])
    return np.where(ends == ENDS[GOAL], "goal", np.where(ends == ENDS[LAVA], "lava", "loop"))
