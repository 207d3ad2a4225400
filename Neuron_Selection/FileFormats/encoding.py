"""``encoding.json`` of an agent folder: names of the entries of its observations, and of its actions.

``{"entries": ["position", "velocity"], "actions": ["left", "right"]}``; for a Dict space ``entries`` is an object
``{key: [names]}``. Instead of ``entries``, ``view`` (rows and columns), ``channels`` and ``headings`` describe a vector
of cells, row by row and channel by channel, and a one-hot heading. Every part is optional.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from Neuron_Selection.errors import InputError, shown
from Neuron_Selection.FileFormats.agent_zip.spaces import (
    DictSpace,
    DiscreteSpace,
    LeafSpace,
    MultiDiscreteSpace,
    Space,
)
from Neuron_Selection.FileFormats.storage.atomic_files import is_there
from Neuron_Selection.FileFormats.storage.json_files import read_edited_json

ENCODING = "encoding.json"


@dataclass(frozen=True, kw_only=True, slots=True)
class View:
    """A grid of cells at the start of a vector: entry (row * columns + column) * n_channels + channel.

    ``agent``: row and column of the cell from which the agent looks towards row 0, None if it is unknown.
    """

    rows: int
    columns: int
    channels: tuple[str, ...]
    agent: tuple[int, int] | None = None

    @property
    def n_entries(self) -> int:
        """How many entries of the vector are cells."""
        return self.rows * self.columns * len(self.channels)


@dataclass(frozen=True, kw_only=True, slots=True)
class Encoding:
    """What the numbers of an agent's observations mean.

    ``entries``, ``cells``: by key of a Dict space, "" for another space, one name per entry; ``cells``: the names of
    the cells that entries belong to. ``view``: of a vector that is not in a Dict. ``actions``: one name per action.
    """

    entries: Mapping[str, tuple[str, ...]]
    cells: Mapping[str, tuple[str, ...]]
    view: View | None
    actions: tuple[str, ...] | None


def load_encoding(path: Path, space: Space, n_actions: int) -> Encoding | None:
    """Load an ``encoding.json``; None if there is none.

    :raises InputError: names that are not text, not unique, or not as many as the space has entries
    """
    if not is_there(path):
        return None
    document = read_edited_json(path)
    if not isinstance(document, dict):
        raise InputError(path, found=shown(document), expected="an object {'entries': [...], 'actions': [...]}")
    if not {"entries", "view", "actions"} & set(document):
        keys = ", ".join(map(shown, document)) or "no keys"
        raise InputError(path, found=keys, expected="at least one of entries, view and actions")
    view = _view_in(document, path)
    entries: dict[str, tuple[str, ...]] = {}
    cells: dict[str, tuple[str, ...]] = {}
    if "entries" in document:
        given = document["entries"] if isinstance(space, DictSpace) else {"": document["entries"]}
        if not isinstance(given, dict):
            raise InputError(path, "entries", found=shown(given), expected="an object {key: [names]}")
        entries = {key: _names(names, path, f"entries.{key}".rstrip(".")) for key, names in given.items()}
    elif view is not None:
        headings = _names(document.get("headings", []), path, "headings")
        places = [f"row {row}, column {column}" for row in range(view.rows) for column in range(view.columns)]
        entries[""] = tuple(f"{place}: {channel}" for place in places for channel in view.channels)
        entries[""] += tuple(f"heading {name}" for name in headings)
        cells[""] = tuple(place for place in places for _ in view.channels) + ("heading",) * len(headings)
    _check_lengths(entries, space, path)
    actions = _names(document["actions"], path, "actions") if "actions" in document else None
    if actions is not None and len(actions) != n_actions:
        raise InputError(path, "actions", found=f"{len(actions)} names", expected=f"{n_actions}, one for each action")
    return Encoding(entries=entries, cells=cells, view=None if "entries" in document else view, actions=actions)


def _view_in(document: Mapping[str, Any], path: Path) -> View | None:
    if "view" not in document:
        return None
    view = document["view"]
    rows, columns = (view.get(side) if isinstance(view, dict) else None for side in ("rows", "columns"))
    if not (type(rows) is int and type(columns) is int and 1 <= rows <= 10_000 and 1 <= columns <= 10_000):
        raise InputError(path, "view", found=shown(view), expected="an object with the whole numbers rows and columns")
    channels = _names(document.get("channels"), path, "channels")
    if "agent" not in view:
        return View(rows=rows, columns=columns, channels=channels)
    agent = view["agent"]
    row, column = (agent.get(side) if isinstance(agent, dict) else None for side in ("row", "column"))
    if not (type(row) is int and type(column) is int and 0 <= row < rows and 0 <= column < columns):
        expected = f"an object with a row from 0 to {rows - 1} and a column from 0 to {columns - 1}"
        raise InputError(path, "view.agent", found=shown(agent), expected=expected)
    return View(rows=rows, columns=columns, channels=channels, agent=(row, column))


def _names(value: Any, path: Path, field: str) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(name, str) and name.isprintable() for name in value):
        raise InputError(path, field, found=shown(value), expected="a list of names")
    if len(set(value)) < len(value):
        twice = next(name for name in value if value.count(name) > 1)
        raise InputError(path, field, found=f"{shown(twice)} more than once", expected="different names")
    return tuple(value)


def _check_lengths(entries: Mapping[str, Sequence[str]], space: Space, path: Path) -> None:
    spaces = space.spaces if isinstance(space, DictSpace) else {"": space}
    for key, names in entries.items():
        field = f"entries.{key}".rstrip(".")
        if key not in spaces:
            raise InputError(path, field, problem=f"is not a key of the observation space; keys: {', '.join(spaces)}")
        expected = _n_entries(spaces[key])
        if len(names) != expected:
            raise InputError(path, field, found=f"{len(names)} names", expected=f"{expected}, one for each entry")


def _n_entries(space: LeafSpace) -> int:
    if isinstance(space, DiscreteSpace):
        return 1
    return space.nvec.size if isinstance(space, MultiDiscreteSpace) else int(np.prod(space.shape))
