"""Observations of any space as a table of numbers, one column per entry, with the entries' names."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np

from Neuron_Selection.errors import UsageError
from Neuron_Selection.FileFormats.agent_zip.spaces import BoxSpace, DictSpace, LeafSpace, Space, describe_space
from Neuron_Selection.FileFormats.encoding import Encoding
from Neuron_Selection.FileFormats.observations import Observations
from Neuron_Selection.FileFormats.pairs_file import Grouping


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Part:
    """The entries of one key of a Dict space, or of a whole other space, whose key is "".

    ``shape``: of one observation; ``columns``: its place in the table. ``channel_axis``: of an image, else None.
    """

    key: str
    shape: tuple[int, ...]
    dtype: np.dtype
    columns: slice
    channel_axis: int | None

    def cells(self) -> list[str]:
        """The name of each entry's cell in an image: row and column, of MiniGrid's images column and row."""
        axes = [axis for axis in range(3) if axis != self.channel_axis]
        prefix = f"{self.key}: " if self.key else ""
        return [f"{prefix}cell {index[axes[0]]},{index[axes[1]]}" for index in _indices(self.shape)]


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class EntryTable:
    """Observations as a table, and groups of its columns.

    ``values``: (n, n_entries), of a dtype that holds every part exactly. ``names``: (n_entries,). ``group_of``:
    (n_entries,), the number of each entry's group. ``group_names``: by number.
    """

    values: np.ndarray
    parts: tuple[Part, ...]
    names: tuple[str, ...]
    group_of: np.ndarray
    group_names: tuple[str, ...]

    def observations(self, values: np.ndarray) -> Observations:
        """Rows of such a table as observations of the space.

        :param values: (m, n_entries)
        """
        found = {
            part.key: np.ascontiguousarray(values[:, part.columns].reshape(-1, *part.shape).astype(part.dtype))
            for part in self.parts
        }
        is_dict = "" not in found
        return found if is_dict else found[""]

    def differing_groups(self, first: np.ndarray, second: np.ndarray) -> np.ndarray:
        """The numbers of the groups in which two rows differ, ascending."""
        return np.unique(self.group_of[first != second])

    def mixed(self, first: np.ndarray, second: np.ndarray, groups: np.ndarray) -> np.ndarray:
        """Rows of ``first`` with some groups taken from ``second``.

        :param first: (m, n_entries), like ``second``
        :param groups: (m, n_groups), whether a group is taken
        """
        return np.where(groups[:, self.group_of], second, first)


def tabulate(
    observations: Observations, space: Space, *, grouping: Grouping = "entries", encoding: Encoding | None = None
) -> EntryTable:
    """Make the table of a batch.

    :param grouping: ``entries``: each entry by itself; ``cells``: all channels of a cell of an image together, other
        entries by themselves; ``keys``: all entries of a key of a Dict together
    :param encoding: names of the entries, and cells of a view that is part of a vector
    :raises UsageError: cells of a space without images, or keys of a space that is not a Dict
    """
    spaces = space.spaces if isinstance(space, DictSpace) else {"": space}
    batches = observations if isinstance(observations, dict) else {"": observations}
    parts, start = [], 0
    for key, leaf in spaces.items():
        shape = batches[key].shape[1:]
        end = start + int(np.prod(shape))
        dtype, columns, axis = batches[key].dtype, slice(start, end), _channel_axis(leaf)
        parts.append(Part(key=key, shape=shape, dtype=dtype, columns=columns, channel_axis=axis))
        start = end
    values = np.concatenate([batches[part.key].reshape(len(batches[part.key]), -1) for part in parts], axis=1)
    names = [name for part in parts for name in _names_of(part, encoding)]
    labels = _labels(parts, names, space, grouping, encoding)
    number_of = {label: number for number, label in enumerate(dict.fromkeys(labels))}
    return EntryTable(
        values=values,
        parts=tuple(parts),
        names=tuple(names),
        group_of=np.array([number_of[label] for label in labels], np.intp),
        group_names=tuple(number_of),
    )


def _channel_axis(space: LeafSpace) -> int | None:
    """The axis of the channels: of an image the first, of another Box of three dimensions the shorter end."""
    if not isinstance(space, BoxSpace) or len(space.shape) != 3:
        return None
    return 0 if space.is_image or space.shape[0] <= space.shape[2] else 2


def _names_of(part: Part, encoding: Encoding | None) -> Sequence[str]:
    if encoding is not None and part.key in encoding.entries:
        return encoding.entries[part.key]
    if not part.shape:
        return [part.key or "observation"]
    if part.channel_axis is not None:
        channels = [index[part.channel_axis] for index in _indices(part.shape)]
        return [f"{cell}, channel {channel}" for cell, channel in zip(part.cells(), channels, strict=True)]
    if len(part.shape) == 1 and not part.key:
        return [f"entry {index}" for index in range(part.shape[0])]
    return [f"{part.key or 'entry '}[{', '.join(map(str, index))}]" for index in _indices(part.shape)]


def _labels(
    parts: Sequence[Part], names: Sequence[str], space: Space, grouping: Grouping, encoding: Encoding | None
) -> list[str]:
    """The name of each entry's group."""
    if grouping == "keys":
        if not isinstance(space, DictSpace):
            raise UsageError(f"--group keys requires a Dict observation space; this one is {describe_space(space)}")
        return [part.key for part in parts for _ in range(part.columns.start, part.columns.stop)]
    labels = list(names)
    if grouping == "entries":
        return labels
    described = {} if encoding is None else encoding.cells
    cells = {part: part.cells() for part in parts if part.channel_axis is not None}
    cells |= {part: list(described[part.key]) for part in parts if part.key in described}
    if not cells:
        raise UsageError(
            "--group cells requires an image, or a view described in encoding.json; the observation space is "
            f"{describe_space(space)}"
        )
    for part, of_part in cells.items():
        labels[part.columns] = of_part
    return labels


def _indices(shape: tuple[int, ...]) -> list[tuple[int, ...]]:
    return list(product(*map(range, shape)))
