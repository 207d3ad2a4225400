"""Edits of any MiniGrid world: one thing is removed, added, moved or changed, or the agent is moved or turned."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain, product

from minigrid.core.constants import COLOR_TO_IDX, IDX_TO_COLOR, IDX_TO_OBJECT, OBJECT_TO_IDX, STATE_TO_IDX
from minigrid.core.world_object import WorldObj
from minigrid.minigrid_env import MiniGridEnv

from Neuron_Selection.ObservationTooling.grid_worlds.layouts import HEADINGS, Cell

Thing = tuple[str, str, int]
"""Type, colour and state of an object, such as ``("door", "yellow", 2)``, a locked one."""

KINDS = (
    "thing_removed", "thing_added", "thing_moved", "colour_changed", "door_changed", "agent_moved", "agent_turned",
)  # fmt: skip
TYPES = ("wall", "floor", "door", "key", "ball", "box", "goal", "lava")
_COLOURED = ("door", "key", "ball", "box", "floor")


@dataclass(frozen=True, kw_only=True, slots=True)
class WorldEdit:
    """One edit.

    ``kind``: one of ``KINDS``, or of a special kind of world. ``cells``: the edited ones; ``contents``: what is there
    after the edit, None for nothing. ``agent``: its cell and heading after the edit, None if it stays.
    """

    kind: str
    cells: tuple[Cell, ...] = ()
    contents: tuple[Thing | None, ...] = ()
    agent: tuple[int, int, int] | None = None


@contextmanager
def edited(base: MiniGridEnv, edit: WorldEdit) -> Iterator[None]:
    """Inside the block the world is edited; afterwards it is as before, with the same objects."""
    before = [base.grid.get(*cell) for cell in edit.cells]
    agent = base.agent_pos, base.agent_dir
    try:
        for cell, thing in zip(edit.cells, edit.contents, strict=True):
            base.grid.set(*cell, _made(thing))
        if edit.agent is not None:
            x, y, heading = edit.agent
            base.agent_pos, base.agent_dir = (x, y), heading
        yield
    finally:
        for cell, original in zip(edit.cells, before, strict=True):
            base.grid.set(*cell, original)
        base.agent_pos, base.agent_dir = agent


def things_in(base: MiniGridEnv) -> dict[Cell, Thing]:
    """What is where in the current grid, outer walls included; objects of other types are left out."""
    found = {}
    for place, thing in enumerate(base.grid.grid):
        if thing is not None and thing.type in TYPES:
            kind, colour, state = thing.encode()
            cell = (place % base.width, place // base.width)
            found[cell] = (IDX_TO_OBJECT[kind], IDX_TO_COLOR[colour], int(state))
    return found


def possible_world_edits(base: MiniGridEnv) -> Iterator[WorldEdit]:
    """All edits of the current world, kind by kind.

    The outer walls and what is on the agent's cell are not edited. Only things that are like one of this world are
    added. A thing moves to, and is added on, a cell without anything; so does the agent.
    """
    everything = things_in(base)
    agent = (int(base.agent_pos[0]), int(base.agent_pos[1]))
    inner = [(x, y) for y in range(1, base.height - 1) for x in range(1, base.width - 1) if (x, y) != agent]
    things = {cell: everything[cell] for cell in inner if cell in everything}
    empty = [cell for cell in inner if base.grid.get(*cell) is None]
    return chain(
        _replaced("thing_removed", [(cell, None) for cell in things]),
        _replaced("thing_added", product(empty, sorted(set(everything.values())))),
        (
            WorldEdit(kind="thing_moved", cells=(cell, other), contents=(None, thing))
            for (cell, thing), other in product(things.items(), empty)
        ),
        _replaced("colour_changed", [(cell, new) for cell, thing in things.items() for new in _recoloured(thing)]),
        _replaced("door_changed", [(cell, new) for cell, thing in things.items() for new in _other_doors(thing)]),
        _agent_edits(base, agent, empty),
    )


def _replaced(kind: str, changes: Iterable[tuple[Cell, Thing | None]]) -> Iterator[WorldEdit]:
    return (WorldEdit(kind=kind, cells=(cell,), contents=(thing,)) for cell, thing in changes)


def _recoloured(thing: Thing) -> list[Thing]:
    kind, colour, state = thing
    return [(kind, other, state) for other in COLOR_TO_IDX if other != colour] if kind in _COLOURED else []


def _other_doors(thing: Thing) -> list[Thing]:
    kind, colour, state = thing
    return [(kind, colour, other) for other in STATE_TO_IDX.values() if other != state] if kind == "door" else []


def _agent_edits(base: MiniGridEnv, agent: Cell, empty: Iterable[Cell]) -> Iterator[WorldEdit]:
    heading = int(base.agent_dir)
    for cell in empty:
        yield WorldEdit(kind="agent_moved", agent=(*cell, heading))
    for turned in range(len(HEADINGS)):
        if turned != heading:
            yield WorldEdit(kind="agent_turned", agent=(*agent, turned))


def _made(thing: Thing | None) -> WorldObj | None:
    kind, colour, state = thing or ("empty", "grey", 0)
    return WorldObj.decode(OBJECT_TO_IDX[kind], COLOR_TO_IDX[colour], state)
