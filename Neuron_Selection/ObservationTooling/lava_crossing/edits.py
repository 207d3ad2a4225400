"""The four edits of a grid that turn a clean input into a corrupted one."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, cast

from Neuron_Selection.ObservationTooling.grid_worlds.layouts import FREE, GOAL, LAVA, Cell, Layout, rivers
from Neuron_Selection.ObservationTooling.grid_worlds.world_edits import Thing, WorldEdit

Kind = Literal["lava_removed", "lava_added", "goal_moved", "gap_moved"]
CONTENTS: dict[Kind, tuple[str, ...]] = {
    "lava_removed": (FREE,),
    "lava_added": (LAVA,),
    "goal_moved": (FREE, GOAL),
    "gap_moved": (LAVA, FREE),
}
"""The new contents of the cells of each kind of edit, in order."""

THINGS: dict[str, Thing | None] = {FREE: None, LAVA: ("lava", "red", 0), GOAL: ("goal", "green", 0)}


@dataclass(frozen=True, kw_only=True, slots=True)
class Edit:
    """One edit: its kind, and its cells (for a move, the old and the new one)."""

    kind: Kind
    cells: tuple[Cell, ...]


def apply_edit(layout: Layout, edit: Edit) -> Layout:
    """The layout after the edit."""
    return layout.changed(dict(zip(edit.cells, CONTENTS[edit.kind], strict=True)))


def world_edit(edit: Edit) -> WorldEdit:
    """The edit as one of a MiniGrid world."""
    return WorldEdit(kind=edit.kind, cells=edit.cells, contents=tuple(THINGS[new] for new in CONTENTS[edit.kind]))


def lava_edit(edit: WorldEdit) -> Edit:
    """The edit of which ``world_edit`` made this one."""
    return Edit(kind=cast("Kind", edit.kind), cells=edit.cells)


def possible_edits(layout: Layout, kind: Kind, *, agent: Cell) -> Iterator[Edit]:
    """All edits of a kind that do not change the agent's cell."""
    free = [cell for cell in layout.cells(FREE) if cell != agent]
    cells: list[tuple[Cell, ...]]
    if kind == "lava_removed":
        cells = [(cell,) for cell in layout.cells(LAVA)]
    elif kind == "lava_added":
        cells = [(cell,) for cell in free]
    elif kind == "goal_moved":
        cells = [(goal, cell) for goal in layout.cells(GOAL) for cell in free]
    else:
        cells = [(gap, cell) for gap, lava in rivers(layout).items() if gap != agent for cell in lava]
    return (Edit(kind=kind, cells=choice) for choice in cells)
