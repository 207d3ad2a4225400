"""Finite worlds from MiniGrid environments whose grids hold walls, lava and goals only, such as lava crossings."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from minigrid.minigrid_env import MiniGridEnv

from Neuron_Selection.ObservationTooling.finite_worlds.finite_world import FiniteWorld
from Neuron_Selection.ObservationTooling.grid_worlds.environments import agent_cell, layout_of_seed
from Neuron_Selection.ObservationTooling.grid_worlds.layouts import GOAL, Cell, Layout
from Neuron_Selection.ObservationTooling.state_tables import ENDS, states_of, successors_of, visited_states

LAYOUT_SEEDS = 2000
"""Seeds whose layouts make up the world: all 42 of LavaCrossingS9N1 are found in the first 300."""


def world_of_grids(env: MiniGridEnv, *, n_actions: int, observe: Callable[[Any], Any]) -> FiniteWorld:
    """Every layout of the first seeds, cell and heading.

    Episodes start in the start state of each layout, all layouts alike. The reward is 1 on the goal and 0 elsewhere:
    MiniGrid's own, which falls with the number of steps, is no function of the state.

    :param observe: from MiniGrid's observation to that behind the wrappers
    :raises UsageError: a grid with other objects
    """
    seeds: dict[Layout, int] = {}
    starts: dict[Layout, tuple[Cell, int]] = {}
    for seed in range(LAYOUT_SEEDS):
        layout = layout_of_seed(env, seed)
        if seeds.setdefault(layout, seed) == seed:
            starts[layout] = agent_cell(env), int(env.agent_dir)
    states = states_of(seeds)
    start = np.array([(cell, heading) == starts[layout] for layout, cell, heading in states]) / len(seeds)
    seen: Any = env  # MiniGrid's own type hints are incomplete
    observations = [observe(seen.gen_obs()) for _ in visited_states(env, states)]
    successors = successors_of(env, states, n_actions=n_actions)[..., None]
    return FiniteWorld(
        observations=observations,
        successors=successors,
        probabilities=np.ones(successors.shape),
        rewards=(successors == ENDS[GOAL]).astype(np.float64),
        start=start,
        labels=tuple(f"{seeds[layout]}-{x},{y},{heading}" for layout, (x, y), heading in states),
        groups=tuple(f"seed {seeds[layout]}" for layout, _, _ in states),
        horizon=env.max_steps,
        remark=f"{len(seeds)} layouts of the seeds 0 to {LAYOUT_SEEDS - 1}; reward 1 on the goal, 0 elsewhere",
    )
