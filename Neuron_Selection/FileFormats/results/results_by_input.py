"""Results organised by input: one file per input in a folder, ``{experiment: {patch_configuration, results, ...}}``.

A file is named after its id, with all characters but letters and digits replaced by ``_``; the id itself is stored
inside. One metadata file, ``<folder>.meta.json`` next to the folder, holds the SHA-256 of all files, so that every
``*.json`` in the folder is a file of results.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from Neuron_Selection.errors import InputError
from Neuron_Selection.FileFormats.provenance import StoredOutput, check_format, stored_document
from Neuron_Selection.FileFormats.results.patching_results import load_patching_results
from Neuron_Selection.FileFormats.storage.atomic_files import read_bytes, refuse_link, sha256_of, write_atomically
from Neuron_Selection.FileFormats.storage.json_files import json_bytes, large_json_bytes, read_edited_json

_NAME_LIMIT = 150
_UNFINISHED = "unfinished"  # key in the metadata of a run that has not written all its files


def file_names(ids: Sequence[str]) -> dict[str, str]:
    """A file name for each id; if ids would share a name, part of their hash is appended.

    Names that differ in case only count as shared, since some file systems ignore case.
    """
    plain = {input_id: re.sub(r"[^0-9A-Za-z]", "_", input_id)[:_NAME_LIMIT] for input_id in ids}
    shared = Counter(name.casefold() for name in plain.values())

    def name_of(input_id: str) -> str:
        name = plain[input_id]
        if shared[name.casefold()] > 1 or len(input_id) > _NAME_LIMIT:
            name += "_" + sha256_of(input_id.encode())[:12]
        return f"{name}.json"

    return {input_id: name_of(input_id) for input_id in ids}


def folder_meta_path(folder: Path) -> Path:
    """The path of the metadata of a folder of results."""
    return folder.with_name(f"{folder.name}.meta.json")


def save_by_input(folder: Path, by_input: Mapping[str, Mapping[str, Any]], *, metadata: Mapping[str, Any]) -> None:
    """Write one file per input, and remove files of an earlier run for other inputs.

    The metadata are written before the first file, marked ``unfinished``, and again without the mark after the last
    one. Readers refuse the files of an interrupted run, and the same run can finish them.
    """
    for name in file_names(list(by_input)).values():
        refuse_link(folder / name)
    before = _listed(folder)
    write_atomically(folder_meta_path(folder), json_bytes({**metadata, _UNFINISHED: True, "files": before}))
    written: dict[str, str] = {}
    for input_id, name in file_names(list(by_input)).items():
        data = large_json_bytes(by_input[input_id])
        write_atomically(folder / name, data)
        written[name] = sha256_of(data)
    for name in before.keys() - written.keys():
        (folder / name).unlink(missing_ok=True)
    write_atomically(folder_meta_path(folder), json_bytes({**metadata, "files": written}))


def stored_folder(folder: Path) -> StoredOutput:
    """A folder of results as it is on disk now; a folder without results counts as missing.

    :raises UsageError: the folder is a link
    """
    refuse_link(folder)
    place = folder if any(folder.glob("*.json")) else folder_meta_path(folder)
    recorded = stored_document(folder_meta_path(folder)) or {}
    try:
        complete = load_folder_metadata(folder) or None
    except InputError:
        complete = None
    return StoredOutput(
        files=(place,), complete=complete, unfinished=recorded if recorded.get(_UNFINISHED) is True else None
    )


def load_folder_metadata(folder: Path) -> dict[str, Any]:
    """Load the metadata next to a folder of results; empty if there are none, as for published results.

    :raises InputError: the files in the folder are not those that were written with the metadata
    """
    if not folder_meta_path(folder).exists():
        return {}
    metadata, files = read_edited_json(folder_meta_path(folder)), _listed(folder)
    if isinstance(metadata, dict) and metadata.get(_UNFINISHED):
        raise InputError(
            folder_meta_path(folder),
            problem="belongs to a run that was interrupted",
            hint="the same command finishes it",
        )
    hint = f"run again with --overwrite, or, for results from elsewhere, remove {folder.name}.meta.json"
    if not isinstance(metadata, dict) or not files:
        raise InputError(folder_meta_path(folder), "files", "lists no result files", hint=hint)
    check_format(metadata, folder_meta_path(folder))
    present = {path.name for path in folder.glob("*.json")}
    for name in sorted(present | files.keys()):
        if name not in files:
            raise InputError(folder / name, problem="was written by a different run", hint=hint)
        if name not in present:
            raise InputError(folder / name, problem="no such file, but the run wrote it", hint=hint)
        if sha256_of(read_bytes(folder / name)) != files[name]:
            raise InputError(folder / name, problem="was changed after it was written", hint=hint)
    return metadata


def load_by_input(path: Path) -> tuple[str, dict[str, dict[str, Any]]]:
    """Load one file: the input's id (the stem if a published file has none), and the record of each experiment.

    :raises InputError: no experiments, or experiments of several inputs
    """
    loaded = load_patching_results(path)
    ids = {input_id for by_id in loaded.values() for input_id in by_id}
    if len(ids) != 1 or "" in loaded or not all(loaded.values()):
        raise InputError(path, found=f"results of {len(ids)} inputs", expected="experiments of one input")
    (input_id,) = ids
    return input_id or path.stem, {name: by_id[input_id] for name, by_id in loaded.items()}


def _listed(folder: Path) -> dict[str, str]:
    """The files in the metadata next to the folder; none without metadata."""
    try:
        metadata = read_edited_json(folder_meta_path(folder))
    except InputError:
        return {}
    files = metadata.get("files") if isinstance(metadata, dict) else None
    names = files if isinstance(files, dict) else {}
    return {name: str(sha256) for name, sha256 in names.items() if re.fullmatch(r"\w+\.json", name)}
