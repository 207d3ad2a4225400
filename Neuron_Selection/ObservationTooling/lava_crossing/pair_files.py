"""Files of pairs: both inputs files of an agent folder, and ``pairs.json`` with the edits."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from Neuron_Selection.errors import InputError, shown
from Neuron_Selection.FileFormats.agent_zip.agent_folder import CLEAN, CORRUPTED, INPUTS, output_folder
from Neuron_Selection.FileFormats.agent_zip.spaces import BoxSpace
from Neuron_Selection.FileFormats.inputs import load_inputs, save_inputs
from Neuron_Selection.FileFormats.storage.atomic_files import write_atomically
from Neuron_Selection.FileFormats.storage.document_checks import checked_document
from Neuron_Selection.FileFormats.storage.json_files import json_bytes, read_edited_json
from Neuron_Selection.ObservationTooling.egocentric_view import ENCODING, LENGTH
from Neuron_Selection.ObservationTooling.grid_worlds.layouts import Cell
from Neuron_Selection.ObservationTooling.lava_crossing.edits import CONTENTS, Edit, Kind
from Neuron_Selection.ObservationTooling.lava_crossing.input_ids import parse_input_id
from Neuron_Selection.ObservationTooling.lava_crossing.pairs import Pair

PLACES = {
    "clean": f"{INPUTS}/{CLEAN}",
    "corrupted": f"{INPUTS}/{CORRUPTED}",
    "pairs": f"{INPUTS}/pairs.json",
    "encoding": "encoding.json",
}
"""The files of a folder of pairs."""

_SPACE = BoxSpace(
    shape=(LENGTH,), dtype=np.dtype(np.float32), low=np.zeros(LENGTH, np.float32), high=np.ones(LENGTH, np.float32)
)


class PairRecord(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The entry of a pair in ``pairs.json``."""

    edit: Kind
    cells: tuple[Cell, ...]
    clean_action: int
    corrupted_action: int
    clean_q_values: tuple[float, ...]
    corrupted_q_values: tuple[float, ...]


def refuse_to_replace(folder: Path) -> None:
    """Check that a folder contains no pairs yet.

    :raises InputError: naming the first file found
    """
    for place in PLACES.values():
        if (folder / place).exists():
            raise InputError(folder / place, problem="already exists; pass --overwrite to replace it")


def save_pairs(folder: Path, pairs: Sequence[Pair]) -> list[Path]:
    """Write pairs into an agent folder; an input's cluster is its environment seed.

    :return: the files written
    """
    paths = {name: folder / place for name, place in PLACES.items()}
    output_folder(None, folder / INPUTS)
    clusters = {pair.input_id: str(pair.place.seed) for pair in pairs}
    save_inputs(paths["clean"], {pair.input_id: pair.clean for pair in pairs}, clusters=clusters)
    save_inputs(paths["corrupted"], {pair.input_id: pair.corrupted for pair in pairs}, clusters=clusters)
    lines = [f"{json.dumps(pair.input_id)}: {json.dumps(msgspec.to_builtins(_record(pair)))}" for pair in pairs]
    write_atomically(paths["pairs"], ("{\n" + ",\n".join(lines) + "\n}\n").encode())
    write_atomically(paths["encoding"], json_bytes(ENCODING))
    return list(paths.values())


def load_pairs(folder: Path) -> list[Pair]:
    """Load pairs written by ``save_pairs``.

    :raises InputError: a file with other content, or files that do not belong together
    """
    paths = {name: folder / place for name, place in PLACES.items()}
    clean, corrupted = load_inputs(paths["clean"], _SPACE), load_inputs(paths["corrupted"], _SPACE)
    document = read_edited_json(paths["pairs"])
    if not isinstance(document, dict):
        raise InputError(paths["pairs"], found=shown(document), expected="an object {id: {'edit': ...}}")
    records = {input_id: _read_record(paths["pairs"], input_id, value) for input_id, value in document.items()}
    for name, ids in (("corrupted", corrupted.ids), ("pairs", tuple(records))):
        if ids != clean.ids:
            raise InputError(paths[name], problem=f"does not list the ids of {paths['clean'].name}, in that order")
    pairs = []
    rows = zip(np.asarray(clean.observations), np.asarray(corrupted.observations), strict=True)
    for (clean_row, corrupted_row), (input_id, record) in zip(rows, records.items(), strict=True):
        pairs.append(
            Pair(
                place=parse_input_id(input_id),
                edit=Edit(kind=record.edit, cells=record.cells),
                clean=clean_row,
                corrupted=corrupted_row,
                clean_q_values=np.array(record.clean_q_values),
                corrupted_q_values=np.array(record.corrupted_q_values),
            )
        )
    return pairs


def _read_record(path: Path, input_id: str, value: Any) -> PairRecord:
    record = checked_document(value, PairRecord, path, field=shown(input_id))
    expected = len(CONTENTS[record.edit])
    if len(record.cells) != expected:
        raise InputError(path, f"{shown(input_id)}.cells", found=f"{len(record.cells)} cells", expected=str(expected))
    return record


def _record(pair: Pair) -> PairRecord:
    clean_action, corrupted_action = pair.actions
    return PairRecord(
        edit=pair.edit.kind,
        cells=pair.edit.cells,
        clean_action=clean_action,
        corrupted_action=corrupted_action,
        clean_q_values=tuple(round(float(q), 6) for q in pair.clean_q_values),
        corrupted_q_values=tuple(round(float(q), 6) for q in pair.corrupted_q_values),
    )
