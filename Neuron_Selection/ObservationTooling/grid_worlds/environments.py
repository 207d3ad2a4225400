"""MiniGrid environments in a chosen state."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from minigrid.core.world_object import Goal, Lava, Wall, WorldObj
from minigrid.minigrid_env import MiniGridEnv

from Neuron_Selection.errors import UsageError, shown
from Neuron_Selection.ObservationTooling.environments.registered import (
    environment_errors,
    make_registered,
    registered_spec,
)
from Neuron_Selection.ObservationTooling.grid_worlds.layouts import FREE, GOAL, LAVA, WALL, Cell, Layout

OBJECTS: dict[str, Callable[[], WorldObj | None]] = {FREE: lambda: None, WALL: Wall, LAVA: Lava, GOAL: Goal}
CONTENTS = {"wall": WALL, "lava": LAVA, "goal": GOAL}


def make_environment(env_id: str) -> MiniGridEnv:
    """Make the bare MiniGrid environment of an id such as ``MiniGrid-LavaCrossingS9N1-v0``, without wrappers.

    Ids are read from untrusted files, so only environments registered by gymnasium and minigrid are made: no
    ``module:name``, for which gymnasium would import the module, and no entry point of another package.

    :raises SuiteError: an unknown id, one of another package, one that is not MiniGrid's, or one that cannot be made,
        for example because a package is missing
    """
    where = f"environment {shown(env_id)}"
    if ":" in env_id:
        raise UsageError("must not name a module", field=where)
    env = make_registered(registered_spec(env_id), {}, render_mode=None).unwrapped
    if not isinstance(env, MiniGridEnv):
        raise UsageError("is not a MiniGrid environment", field=where, hint=f"found {type(env).__name__}")
    return env


def layout_of_seed(env: MiniGridEnv, seed: int) -> Layout:
    """Start the episode of a seed and read its grid; the agent is then in its start position.

    :raises UsageError: the environment cannot be started, or its grid contains unknown objects
    """
    with environment_errors(f"environment {shown(env.spec.id if env.spec else type(env).__name__)}"):
        env.reset(seed=seed)
    return current_layout(env)


def current_layout(env: MiniGridEnv) -> Layout:
    """The current grid."""
    objects = {thing.type for thing in env.grid.grid if thing is not None} - set(CONTENTS)
    if objects:
        raise UsageError(field="grid", found=", ".join(sorted(objects)), expected=f"only {', '.join(CONTENTS)}")
    rows = [env.grid.grid[y * env.width : (y + 1) * env.width] for y in range(env.height)]
    return Layout(tuple("".join(FREE if thing is None else CONTENTS[thing.type] for thing in row) for row in rows))


def place(env: MiniGridEnv, layout: Layout, *, cell: Cell, heading: int) -> None:
    """Put the environment into a state: this grid, the agent on this cell with this heading, step 0."""
    for y, row in enumerate(layout.rows):
        for x, content in enumerate(row):
            env.grid.set(x, y, OBJECTS[content]())
    env.agent_pos, env.agent_dir, env.step_count = cell, heading, 0


def agent_cell(env: MiniGridEnv) -> Cell:
    """The cell of the agent."""
    x, y = env.agent_pos
    return int(x), int(y)


def first_seeds(env: MiniGridEnv, seeds: Iterable[int]) -> dict[Layout, int]:
    """The distinct layouts of some seeds, each with its first seed.

    Thousands of seeds may share a few layouts (42 for LavaCrossingS9N1). Inputs of two seeds with the same layout are
    not independent.
    """
    found: dict[Layout, int] = {}
    for seed in seeds:
        found.setdefault(layout_of_seed(env, seed), seed)
    return found
