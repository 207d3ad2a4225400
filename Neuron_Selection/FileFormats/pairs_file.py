"""Files of pairs: ``clean_inputs.json``, ``corrupted_inputs.json``, and ``pairs.json`` with one record per pair.

``pairs.meta.json`` holds the metadata of the run, and the SHA-256 of the three files.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, TypeAlias

import msgspec
import numpy as np

from Neuron_Selection.errors import InputError, shown
from Neuron_Selection.FileFormats.agent_zip.agent_folder import CLEAN, CORRUPTED
from Neuron_Selection.FileFormats.agent_zip.spaces import Space
from Neuron_Selection.FileFormats.hashed_files import save_hashed, stored_hashed
from Neuron_Selection.FileFormats.inputs import Inputs, inputs_bytes, load_inputs
from Neuron_Selection.FileFormats.observations import Observations, rows_of
from Neuron_Selection.FileFormats.provenance import StoredOutput, meta_path, stored_document
from Neuron_Selection.FileFormats.storage.document_checks import Index, checked_document
from Neuron_Selection.FileFormats.storage.json_files import read_edited_json

PAIRS = "pairs.json"
_HINT = "make_pairs.py makes it"
Grouping: TypeAlias = Literal["entries", "cells", "keys"]
Cell: TypeAlias = tuple[Index, Index]
Thing: TypeAlias = tuple[str, str, Index]
"""Type, colour and state of an object in a MiniGrid world."""


class _Decisions(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The decisions of a pair: greedy actions, their margins, and the scores, which are Q-values or logits."""

    clean_action: Index
    corrupted_action: Index
    clean_margin: float
    corrupted_margin: float
    clean_q_values: tuple[float, ...]
    corrupted_q_values: tuple[float, ...]


class NearestRecord(_Decisions, frozen=True, kw_only=True, tag_field="method", tag="nearest"):
    """The corrupted input is the visited input ``donor``.

    ``differing_entries``: in how many of ``n_entries`` they differ; ``differs``: the names of the groups that do, null
    if they are more than a thousand. ``distance``: in standard deviations of the entries.
    """

    donor: str
    differing_entries: Index
    n_entries: Index
    distance: float
    differs: tuple[str, ...] | None


class FeaturesRecord(_Decisions, frozen=True, kw_only=True, tag_field="method", tag="features"):
    """The corrupted input is the clean one with the groups ``taken`` from the visited input ``donor``.

    ``differing_groups``: in how many groups clean and donor differ; ``share_of_features``: how many of these are taken.
    ``is_smallest``: whether all smaller sets were run. ``visited``: whether the result is a visited input.
    """

    donor: str
    group: Grouping
    taken: tuple[str, ...]
    differing_groups: Index
    share_of_features: float
    is_smallest: bool
    visited: bool


class EditRecord(_Decisions, frozen=True, kw_only=True, tag_field="method", tag="environment"):
    """The corrupted input is observed after one edit of the world, in the state after ``actions`` from ``seed``.

    ``cells`` have the new ``contents``, null for nothing; ``agent`` is where the edit puts the agent, null if it does
    not.
    """

    env: str
    seed: Index
    actions: tuple[Index, ...]
    edit: str
    cells: tuple[Cell, ...]
    contents: tuple[Thing | None, ...]
    agent: tuple[Index, Index, Annotated[int, msgspec.Meta(ge=0, le=3)]] | None
    differing_entries: Index
    differs: tuple[str, ...] | None


Record: TypeAlias = NearestRecord | FeaturesRecord | EditRecord
_KINDS: dict[str, type[Record]] = {"nearest": NearestRecord, "features": FeaturesRecord, "environment": EditRecord}


@dataclass(frozen=True, kw_only=True, slots=True)
class PairFiles:
    """The files of pairs in ``folder``; ``metadata``: of the run that wrote them, empty if there are none."""

    folder: Path
    records: Mapping[str, Record]
    clean: Inputs
    corrupted: Inputs
    metadata: Mapping[str, Any]

    def of_run(self, key: str) -> Any:
        """A setting of that run, None if it is unknown."""
        run = self.metadata.get("run")
        return run.get(key) if isinstance(run, dict) else None


def pair_paths(folder: Path) -> dict[str, Path]:
    """The files of pairs in a folder."""
    return {"clean": folder / CLEAN, "corrupted": folder / CORRUPTED, "pairs": folder / PAIRS}


def save_pair_files(
    folder: Path,
    records: Mapping[str, Record],
    *,
    clean: Observations,
    corrupted: Observations,
    masks: Mapping[str, np.ndarray | None],
    clusters: Mapping[str, str],
    normalised_with: str | None,
    metadata: Mapping[str, Any],
) -> None:
    """Write all four files.

    :param records: id to record, in the order of the rows of ``clean`` and ``corrupted``
    :param masks: of ``clean`` and ``corrupted``, (n_pairs, n_actions); None without action masks
    :param clusters: id to cluster, for the ids that have one
    :param normalised_with: the SHA-256 of the VecNormalize file with which the observations were normalised
    """
    paths = pair_paths(folder)
    lines = [f"{json.dumps(name, ensure_ascii=False)}: {_line(record)}" for name, record in records.items()]
    contents = {"pairs": ("{\n" + ",\n".join(lines) + "\n}\n").encode()}
    for side, batch in (("clean", clean), ("corrupted", corrupted)):
        rows = {input_id: rows_of(batch, row) for row, input_id in enumerate(records)}
        contents[side] = inputs_bytes(
            rows, masks=masks[side], clusters=clusters, normalised_with=normalised_with, where=paths[side]
        )
    save_hashed(paths["pairs"], paths, contents, metadata=metadata)


def stored_pairs(folder: Path) -> StoredOutput:
    """The three files as they are on disk now."""
    paths = pair_paths(folder)
    return stored_hashed(paths["pairs"], paths)


def are_made_pairs(folder: Path) -> bool:
    """Whether the records of a folder have a method: ``make_pairs.py`` wrote them, not ``generate_pairs.py``.

    :raises InputError: no such file, or not an object of objects
    """
    return any("method" in record for record in _documents(folder / PAIRS).values())


def load_pair_files(folder: Path, space: Space, *, has_masks: bool = False) -> PairFiles:
    """Load the files of pairs written by ``save_pair_files``.

    :param space: the agent's observation space
    :param has_masks: the agent was trained with action masks
    :raises InputError: a field of another type, or files that do not belong together
    """
    paths = pair_paths(folder)
    records: dict[str, Record] = {}
    for name, value in _documents(paths["pairs"]).items():
        field, method = shown(name), value.get("method")
        if not isinstance(method, str) or method not in _KINDS:
            found, expected = shown(method), f"one of {', '.join(_KINDS)}"
            raise InputError(paths["pairs"], f"{field}.method", found=found, expected=expected)
        records[name] = checked_document(value, _KINDS[method], paths["pairs"], field=field)
    n_masked = len(next(iter(records.values())).clean_q_values) if has_masks else None
    clean, corrupted = (load_inputs(paths[side], space, n_masked=n_masked) for side in ("clean", "corrupted"))
    for inputs in (clean, corrupted):
        if inputs.ids != tuple(records):
            problem = f"does not list the ids of {PAIRS}, in that order"
            raise InputError(inputs.where, problem=problem, hint="run make_pairs.py again")
    metadata = stored_document(meta_path(paths["pairs"])) or {}
    return PairFiles(folder=folder, records=records, clean=clean, corrupted=corrupted, metadata=metadata)


def _documents(path: Path) -> dict[str, dict[str, Any]]:
    document = read_edited_json(path, hint=_HINT)
    if not isinstance(document, dict) or not document:
        raise InputError(path, found=shown(document), expected="an object {id: {'method': ...}}")
    for name, value in document.items():
        if not isinstance(value, dict):
            raise InputError(path, shown(name), found=shown(value), expected="an object")
    return document


def _line(record: Record) -> str:
    """A record as JSON, its decisions last."""
    fields = msgspec.to_builtins(record)
    decisions = {name: fields.pop(name) for name in _Decisions.__struct_fields__}
    return json.dumps({**fields, **decisions}, ensure_ascii=False, allow_nan=False)
