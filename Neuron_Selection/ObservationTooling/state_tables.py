"""Tables of all states of some layouts: observations, and the successor of each action."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import product

import numpy as np
import numpy.typing as npt
from minigrid.minigrid_env import MiniGridEnv

from Neuron_Selection.ObservationTooling.egocentric_view import ACTIONS, LENGTH, observe
from Neuron_Selection.ObservationTooling.grid_worlds.environments import agent_cell, place
from Neuron_Selection.ObservationTooling.grid_worlds.layouts import FREE, GOAL, HEADINGS, LAVA, Cell, Layout

ENDS = {GOAL: -1, LAVA: -2}


@dataclass(frozen=True, kw_only=True, slots=True)
class StateTable:
    """All free cells and headings of some layouts.

    ``states``: n of (layout, cell, heading). ``observations``: (n, 151). ``successors``: (n, 3), the state after
    each action, -1 if the episode ends on the goal, -2 if it ends in lava.
    """

    states: tuple[tuple[Layout, Cell, int], ...]
    observations: npt.NDArray[np.float32]
    successors: npt.NDArray[np.int64]


def tabulate_states(env: MiniGridEnv, layouts: Iterable[Layout]) -> StateTable:
    """Try every action in every state in the environment (a millisecond per state)."""
    states = tuple(
        (layout, cell, heading)
        for layout in layouts
        for cell, heading in product(layout.cells(FREE), range(len(HEADINGS)))
    )
    rows = {state: row for row, state in enumerate(states)}
    observations = np.zeros((len(states), LENGTH), np.float32)
    successors = np.zeros((len(states), len(ACTIONS)), np.int64)
    for row, (layout, cell, heading) in enumerate(states):
        observations[row] = observe(env, layout, cell=cell, heading=heading)
        for action in range(len(ACTIONS)):
            place(env, layout, cell=cell, heading=heading)
            env.step(action)
            ended_on = layout.content(agent_cell(env))
            successors[row, action] = (
                ENDS[ended_on] if ended_on in ENDS else rows[layout, agent_cell(env), int(env.agent_dir)]
            )
    return StateTable(states=states, observations=observations, successors=successors)


def follow_policy(table: StateTable, actions: npt.NDArray[np.int64]) -> npt.NDArray[np.str_]:
    """Follow a policy from every state to its end.

    :param actions: (n,), the action of the policy in each state
    :return: (n,), ``goal``, ``lava`` or, if the episode never ends, ``loop``
    """
    ends = table.successors[np.arange(len(actions)), actions]
    for _ in range(len(actions).bit_length()):  # each iteration doubles the number of steps
        ends = np.where(ends < 0, ends, ends[np.maximum(ends, 0)])
    return np.where(ends == ENDS[GOAL], "goal", np.where(ends == ENDS[LAVA], "lava", "loop"))
