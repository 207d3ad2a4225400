"""Rebuild inputs in the environment from their ids and edits, and compare them bit for bit."""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from Neuron_Selection.errors import InputError, shown
from Neuron_Selection.ObservationTooling.egocentric_view import observe
from Neuron_Selection.ObservationTooling.grid_worlds.environments import layout_of_seed, make_environment
from Neuron_Selection.ObservationTooling.grid_worlds.layouts import FREE, Layout
from Neuron_Selection.ObservationTooling.lava_crossing.edits import Edit, apply_edit
from Neuron_Selection.ObservationTooling.lava_crossing.input_ids import InputId, format_input_id
from Neuron_Selection.ObservationTooling.lava_crossing.pairs import Pair

_environment = lru_cache(maxsize=4)(make_environment)


def layout_of(place: InputId) -> Layout:
    """The grid of an id's seed in its environment.

    :raises InputError: the cell of the id is not free
    """
    layout = layout_of_seed(_environment(place.env_id), place.seed)
    if layout.content(place.cell) != FREE:
        raise InputError(
            f"input id {format_input_id(place)!r}",
            found=f"{layout.content(place.cell)!r} on cell {place.cell[0]},{place.cell[1]}",
            expected="a free cell",
        )
    return layout


def rebuild_input(place: InputId, edit: Edit | None = None) -> npt.NDArray[np.float32]:
    """The agent's view in the state of an id, after an edit of the grid if one is given.

    :return: (151,)
    """
    layout = layout_of(place)
    if edit is not None:
        layout = apply_edit(layout, edit)
    return observe(_environment(place.env_id), layout, cell=place.cell, heading=place.heading)


def verify_pairs(pairs: Iterable[Pair], *, where: object) -> None:
    """Compare every clean and every corrupted input with the environment, bit for bit.

    :param where: the folder of the pairs, for messages
    :raises InputError: naming the first input that differs
    """
    for pair in pairs:
        for name, stored, edit in (("clean", pair.clean, None), ("corrupted", pair.corrupted, pair.edit)):
            rebuilt = rebuild_input(pair.place, edit)
            if stored.tobytes() != rebuilt.tobytes():
                raise InputError(
                    where,
                    f"{name} input {shown(pair.input_id)}",
                    f"differs from the rebuilt input in {int((stored != rebuilt).sum())} of {len(rebuilt)} numbers",
                )
