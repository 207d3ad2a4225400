"""Names of an agent's input entries, from the ``encoding.json`` in its folder."""

from __future__ import annotations

import warnings
from pathlib import Path

import msgspec

from Neuron_Selection.errors import SuiteWarning
from Neuron_Selection.FileFormats.storage.atomic_files import is_there
from Neuron_Selection.FileFormats.storage.document_checks import checked_document
from Neuron_Selection.FileFormats.storage.json_files import read_edited_json

ENCODING = "encoding.json"


class _View(msgspec.Struct, frozen=True, kw_only=True):
    rows: int
    columns: int


class _Encoding(msgspec.Struct, frozen=True, kw_only=True):
    """A grid of cells with one entry a channel, row by row, then one entry a heading."""

    view: _View
    channels: list[str]
    headings: list[str]


def load_entry_names(folder: Path, n_entries: int) -> list[str] | None:
    """What each entry of an observation means, as ``row 0, column 3, lava`` and ``heading up``.

    :param folder: the agent's
    :return: (n_entries,); None without ``encoding.json``, and with a warning if it describes another number of entries
    :raises InputError: not such a file
    """
    path = folder / ENCODING
    if not is_there(path):
        return None
    encoding = checked_document(read_edited_json(path), _Encoding, path)
    cells = [(row, column) for row in range(encoding.view.rows) for column in range(encoding.view.columns)]
    names = [f"row {row}, column {column}, {channel}" for row, column in cells for channel in encoding.channels]
    names += [f"heading {heading}" for heading in encoding.headings]
    if len(names) != n_entries:
        message = f"{path}: describes {len(names)} entries, but the network reads {n_entries}; entries have no names"
        warnings.warn(SuiteWarning(message), stacklevel=2)
        return None
    return names
