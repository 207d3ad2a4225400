"""Results organised by input: one file an input in a folder, ``{experiment: {patch_configuration, results, ...}}``.

The files are named after their ids with every other character than letters and digits turned to ``_``, so the true id
stands inside. The metadata of all of them lies beside the folder, in ``<folder>.meta.json``, with their sha256: one
beside each would double the files, and tools that read every ``*.json`` of the folder would trip over it.
"""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from Neuron_Selection.errors import InputError, shown
from Neuron_Selection.FileFormats.atomic_files import read_bytes, sha256_of, write_atomically
from Neuron_Selection.FileFormats.json_files import json_bytes, large_json_bytes, read_edited_json

_NAME_LIMIT = 150


def file_names(ids: Sequence[str]) -> dict[str, str]:
    """A file name for each id; ids that would share one get a part of their hash behind it.

    Names that differ in case only count as shared: some disks do not tell them apart.
    """
    plain = {input_id: re.sub(r"[^0-9A-Za-z]", "_", input_id)[:_NAME_LIMIT] for input_id in ids}
    shared = Counter(name.casefold() for name in plain.values())

    def name_of(input_id: str) -> str:
        name = plain[input_id]
        if shared[name.casefold()] > 1 or len(input_id) > _NAME_LIMIT:
            name += "_" + hashlib.sha256(input_id.encode()).hexdigest()[:12]
        return f"{name}.json"

    return {input_id: name_of(input_id) for input_id in ids}


def folder_meta_path(folder: Path) -> Path:
    """Where the metadata of a folder of results lies."""
    return folder.with_name(f"{folder.name}.meta.json")


def save_by_input(folder: Path, by_input: Mapping[str, Mapping[str, Any]], *, metadata: Mapping[str, Any]) -> None:
    """Write one file an input, then the metadata; files of an earlier run that are no longer named go."""
    before = _listed(folder)
    written: dict[str, str] = {}
    for input_id, name in file_names(list(by_input)).items():
        data = large_json_bytes(by_input[input_id])
        write_atomically(folder / name, data)
        written[name] = sha256_of(data)
    for name in before.keys() - written.keys():
        (folder / name).unlink(missing_ok=True)
    write_atomically(folder_meta_path(folder), json_bytes({**metadata, "files": written}))


def stored_folder_metadata(folder: Path) -> dict[str, Any] | None:
    """The metadata beside a folder of results, or None where its files are not all there as they were written."""
    try:
        metadata = read_edited_json(folder_meta_path(folder))
        files = _listed(folder)
        present = {path.name for path in folder.glob("*.json")}
        if not files or present != set(files):
            return None
        unchanged = all(sha256_of(read_bytes(folder / name)) == sha256 for name, sha256 in files.items())
    except InputError:
        return None
    return metadata if unchanged and isinstance(metadata, dict) else None


def load_by_input(path: Path) -> tuple[str, dict[str, Any]]:
    """One file: the input's true id (the file's stem where a published file does not say), and its experiments.

    :raises InputError: no experiments, or experiments of several inputs
    """
    document = read_edited_json(path)
    if not isinstance(document, dict) or not document:
        raise InputError(path, found=shown(document), expected="an object of experiments")
    ids: set[str] = set()
    for name, experiment in document.items():
        results = experiment.get("results") if isinstance(experiment, dict) else None
        if not isinstance(results, dict) or "baseline_output" not in results:
            raise InputError(path, shown(name), found="no results of one input", expected="them under 'results'")
        input_id = experiment.get("input_id", path.stem)
        if not isinstance(input_id, str):
            raise InputError(path, f"{shown(name)}.input_id", found=shown(input_id), expected="text")
        ids.add(input_id)
    if len(ids) > 1:
        raise InputError(path, "input_id", found=f"{len(ids)} of them", expected="one a file")
    return ids.pop(), document


def _listed(folder: Path) -> dict[str, str]:
    """The files that the metadata beside the folder names; none where there is no metadata."""
    try:
        metadata = read_edited_json(folder_meta_path(folder))
    except InputError:
        return {}
    files = metadata.get("files") if isinstance(metadata, dict) else None
    names = files if isinstance(files, dict) else {}
    return {name: str(sha256) for name, sha256 in names.items() if re.fullmatch(r"\w+\.json", name)}
