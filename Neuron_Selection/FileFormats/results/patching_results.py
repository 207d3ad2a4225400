"""Results of patching: ``{input id: {...}}`` or ``{experiment: {patch_configuration, results: {id: {...}}}}``.

Such a file holds ids or experiments only; its metadata is in ``<stem>.meta.json`` next to it, with its SHA-256. The
metadata is renamed into place first, so that an interrupted run leaves no results without metadata.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, TypeAlias

import msgspec
from msgspec import Meta

from Neuron_Selection.errors import InputError, UsageError, shown
from Neuron_Selection.FileFormats.hashed_files import save_hashed, stored_hashed
from Neuron_Selection.FileFormats.provenance import (
    StoredOutput,
    check_format,
    meta_path,
)
from Neuron_Selection.FileFormats.storage.atomic_files import read_bytes, sha256_of
from Neuron_Selection.FileFormats.storage.document_checks import Index, checked_document
from Neuron_Selection.FileFormats.storage.json_files import json_bytes, parse_edited_json, read_edited_json

_RESERVED = {"CON", "PRN", "AUX", "NUL", *(f"{port}{n}" for port in ("COM", "LPT") for n in range(1, 10))}
_TAKEN = ("denoising", "noising", "by_input", "results")  # folders of results by input, and results.csv
_Row: TypeAlias = Annotated[list[float], Meta(min_length=1)]
_Output: TypeAlias = Annotated[list[_Row], Meta(min_length=1, max_length=1)]  # [[one Q-value per action]]


class _Result(msgspec.Struct):
    baseline_output: _Output
    baseline_action: Index
    patched_output: _Output
    patched_action: Index
    action_changed: Any  # a boolean, or in published files "True" or "False"


def results_path(folder: Path, output_prefix: str) -> Path:
    """``<folder>/<output_prefix>.json``.

    :raises UsageError: a prefix that is not a plain file name on every operating system
    """
    plain = output_prefix.isprintable() and not set(output_prefix) & set('/\\:*?"<>|')
    if not plain or output_prefix in ("", ".", "..") or output_prefix.split(".", maxsplit=1)[0].upper() in _RESERVED:
        raise UsageError(field="output prefix", found=shown(output_prefix), expected="a plain file name")
    if output_prefix.endswith(".meta"):
        raise UsageError(f"{shown(output_prefix)} must not end in .meta, as metadata files do", field="output prefix")
    if len(f"{output_prefix}.meta.json".encode()) > 255:
        raise UsageError(
            field="output prefix", found=f"{len(output_prefix)} characters", expected="a shorter file name"
        )
    return folder / f"{output_prefix}.json"


def patching_results_path(folder: Path, output_prefix: str) -> Path:
    """``results_path`` without the names whose ``.meta.json`` belongs to other results in the same folder.

    :raises UsageError: such a name
    """
    if output_prefix in _TAKEN:
        raise UsageError(f"{shown(output_prefix)} is reserved for other results", field="output prefix")
    return results_path(folder, output_prefix)


def save_patching_results(path: Path, results: Mapping[str, Any], *, metadata: Mapping[str, Any]) -> Path:
    """Write the results and their metadata, and return the path of the results."""
    save_hashed(path, {"results": path}, {"results": json_bytes(results)}, metadata=metadata)
    return path


def stored_results(path: Path) -> StoredOutput:
    """A results file as it is on disk now."""
    return stored_hashed(path, {"results": path})


def load_patching_results(path: Path) -> dict[str, dict[str, Any]]:
    """Load all results of a file as ``{experiment: {input id: result}}``; a single experiment has the name "".

    ``action_changed`` is a boolean, even if a published file stores the text "True" or "False".

    :raises InputError: an invalid key or value, or metadata that belong to other results
    """
    data = read_bytes(path, hint="activation_patching.py makes it")
    if meta_path(path).exists():
        metadata = read_edited_json(meta_path(path))
        check_format(metadata if isinstance(metadata, dict) else {}, meta_path(path))
        if metadata.get("results_sha256") != sha256_of(data):
            raise InputError(
                meta_path(path), problem=f"does not belong to {path.name}", hint="run activation_patching.py again"
            )
    document = parse_edited_json(data, path)
    if not isinstance(document, dict) or not document:
        raise InputError(path, found=shown(document), expected="an object of results")
    loaded: dict[str, dict[str, Any]] = {}
    for key, entry in document.items():
        if not isinstance(entry, dict):
            raise InputError(path, shown(key), found=shown(entry), expected="a result")
        if not isinstance(entry.get("results"), dict):
            loaded.setdefault("", {})[key] = _checked(entry, path, shown(key))
        elif not isinstance(
            entry["results"].get("baseline_action", {}), dict
        ):  # published by input: one result per experiment
            input_id = entry.get("input_id", "")
            if not isinstance(input_id, str):
                raise InputError(path, f"{shown(key)}.input_id", found=shown(input_id), expected="text")
            loaded[key] = {input_id: _checked(entry["results"], path, shown(key))}
        else:
            loaded[key] = {
                input_id: _checked(result, path, f"{shown(key)}.{shown(input_id)}")
                for input_id, result in entry["results"].items()
            }
    return loaded


def _checked(result: Any, path: Path, field: str) -> dict[str, Any]:
    checked = checked_document(result, _Result, path, field=field)
    n_actions = len(checked.baseline_output[0])
    for key, action in (("baseline_action", checked.baseline_action), ("patched_action", checked.patched_action)):
        if action >= n_actions:
            raise InputError(
                path, f"{field}.{key}", found=shown(action), expected=f"an action from 0 to {n_actions - 1}"
            )
    changed = checked.action_changed
    if not isinstance(changed, bool) and changed not in ("True", "False"):
        raise InputError(path, f"{field}.action_changed", found=shown(changed), expected="true or false")
    return {**result, "action_changed": changed in (True, "True")}
