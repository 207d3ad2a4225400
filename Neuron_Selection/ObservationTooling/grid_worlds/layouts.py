"""Layouts of grid worlds, as text."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass

Cell = tuple[int, int]
"""(x, y); x grows to the right, y downwards, (0, 0) is a corner of the outer wall."""

FREE, WALL, LAVA, GOAL = ".", "#", "~", "G"
HEADINGS: tuple[Cell, ...] = ((1, 0), (0, 1), (-1, 0), (0, -1))
"""The step forward of headings 0 right, 1 down, 2 left, 3 up."""


@dataclass(frozen=True, slots=True)
class Layout:
    """A grid, one text row a grid row: ``.`` free, ``#`` wall, ``~`` lava, ``G`` goal."""

    rows: tuple[str, ...]

    def content(self, cell: Cell) -> str:
        """The content of a cell; cells outside the grid are walls."""
        x, y = cell
        return self.rows[y][x] if 0 <= y < len(self.rows) and 0 <= x < len(self.rows[y]) else WALL

    def cells(self, content: str) -> list[Cell]:
        """All cells with this content, row by row."""
        return [(x, y) for y, row in enumerate(self.rows) for x, found in enumerate(row) if found == content]

    def changed(self, contents: Mapping[Cell, str]) -> Layout:
        """The same grid with other contents on some of its cells."""
        return Layout(
            tuple(
                "".join(contents.get((x, y), content) for x, content in enumerate(row))
                for y, row in enumerate(self.rows)
            )
        )


def distances_to_goal(layout: Layout) -> dict[Cell, int]:
    """Steps to the nearest goal around walls and lava; cells that cannot reach a goal are left out."""
    distances = dict.fromkeys(layout.cells(GOAL), 0)
    waiting = deque(distances)
    while waiting:
        x, y = current = waiting.popleft()
        for dx, dy in HEADINGS:
            cell = (x + dx, y + dy)
            if cell not in distances and layout.content(cell) == FREE:
                distances[cell] = distances[current] + 1
                waiting.append(cell)
    return distances


def rivers(layout: Layout) -> dict[Cell, list[Cell]]:
    """The lava cells of every river, by its gap.

    A river is a row or column of lava from wall to wall with one free cell, its gap. Two simpler rules are wrong:
    cells with lava on both sides are not gaps if rivers cross or are next to a wall, and cells that separate the start
    from the goal when closed are all cells of a corridor.
    """
    found = {}
    width, height = len(layout.rows[0]), len(layout.rows)
    lines = [[(x, y) for x in range(1, width - 1)] for y in range(1, height - 1)]
    lines += [[(x, y) for y in range(1, height - 1)] for x in range(1, width - 1)]
    for line in lines:
        lava = [cell for cell in line if layout.content(cell) == LAVA]
        rest = [cell for cell in line if layout.content(cell) != LAVA]
        if len(rest) == 1 and layout.content(rest[0]) == FREE:
            found[rest[0]] = lava
    return found
