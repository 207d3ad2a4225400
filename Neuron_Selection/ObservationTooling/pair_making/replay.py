"""Bring a world into the state of a record again, and check the edit that the record names."""

from __future__ import annotations

from typing import Any

import gymnasium
from minigrid.core.constants import COLOR_TO_IDX, STATE_TO_IDX

from Neuron_Selection.errors import InputError, UsageError, shown
from Neuron_Selection.FileFormats.pairs_file import EditRecord
from Neuron_Selection.ObservationTooling.environments.registered import environment_errors
from Neuron_Selection.ObservationTooling.grid_worlds.world import base_of
from Neuron_Selection.ObservationTooling.grid_worlds.world_edits import TYPES, WorldEdit


def replayed_edit(env: gymnasium.Env[Any, Any], record: EditRecord, *, where: str) -> WorldEdit:
    """Take the actions of a record from the start of its seed; its edit, which is not applied.

    :param env: in its wrappers
    :param where: the record, for messages
    :raises InputError: another action space, an episode that ends before, or an edit that this world cannot have
    """
    n_actions = getattr(env.action_space, "n", 0)
    if any(action >= n_actions for action in record.actions):
        raise InputError(where, "actions", found=str(max(record.actions)), expected=f"numbers below {n_actions}")
    with environment_errors(where):
        env.reset(seed=record.seed)
        for step, action in enumerate(record.actions):
            _, _, terminated, truncated, _ = env.step(action)
            if terminated or truncated:
                raise UsageError(f"the episode ends after {step + 1} of {len(record.actions)} actions", field=where)
    base = base_of(env)
    places = [*record.cells, *([] if record.agent is None else [record.agent[:2]])]
    for x, y in places:
        if x >= base.width or y >= base.height:
            raise InputError(where, "cells", found=f"{x}, {y}", expected=f"a cell of {base.width} x {base.height}")
    for thing in record.contents:
        if thing is not None and not (
            thing[0] in TYPES and thing[1] in COLOR_TO_IDX and thing[2] in STATE_TO_IDX.values()
        ):
            raise InputError(where, "contents", found=shown(" ".join(map(str, thing))), expected="type, colour, state")
    if len(record.cells) != len(record.contents):
        raise InputError(where, "contents", found=str(len(record.contents)), expected=f"{len(record.cells)}, as cells")
    return WorldEdit(kind=record.edit, cells=record.cells, contents=record.contents, agent=record.agent)
