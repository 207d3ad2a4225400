"""Provenance of files: the run that wrote them, and whether they are what a planned run would write.

Every run writes metadata with its files: versions, the agent's fingerprint, the command, and under ``run`` the settings
that decide the content. They are inside the file, or in ``<stem>.meta.json`` next to it, with the SHA-256 of the file.
"""

from __future__ import annotations

import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from Neuron_Selection import __version__
from Neuron_Selection.errors import InputError, shown
from Neuron_Selection.FileFormats.agent_zip.agent_zip import AgentZip
from Neuron_Selection.FileFormats.storage.atomic_files import refuse_link, sha256_of_file
from Neuron_Selection.FileFormats.storage.json_files import read_edited_json

FORMAT = 1
CHUNK_ROWS = 64  # rows of every forward pass, which decide the last bits of its results
_DECISIVE = ("format", "suite_version", "libraries", "run")


def run_metadata(
    *, command: Mapping[str, Any], run: Mapping[str, Any], agent: AgentZip | None, libraries: Sequence[str]
) -> dict[str, Any]:
    """The metadata of one run's files.

    :param command: what was typed or called, for people; paths as they were given
    :param run: every setting and fingerprint that decides the content; runs that agree in it write the same bytes
    :param agent: None if files are analysed without their agent
    :param libraries: distributions whose versions decide the content
    """
    described: dict[str, Any] = {"agent": None}
    decisive: dict[str, Any] = {}
    if agent is not None:
        paths = {"path": str(agent.path), "real_path": str(agent.path.resolve())}
        described = {"agent": {**paths, "sb3_version": agent.sb3_version}}
        decisive = {"agent_sha256": agent.sha256, "weights_sha256": agent.weights_sha256}
    return {
        "format": FORMAT,
        "suite_version": __version__,
        "libraries": {"python": platform.python_version()} | {name: installed_version(name) for name in libraries},
        "command": dict(command),
        **described,
        "run": {**decisive, **run},
    }


def decisive_of(metadata: Mapping[str, Any]) -> dict[str, Any]:
    """The part of a run's metadata that decides what it writes."""
    return {key: metadata[key] for key in _DECISIVE}


@dataclass(frozen=True, kw_only=True, slots=True)
class StoredOutput:
    """The output files of a run as they are on disk now.

    ``complete``: the metadata of the run that wrote them, None unless all files are there as it wrote them.
    ``unfinished``: the metadata of a run that was interrupted before it had written all files.
    """

    files: tuple[Path, ...]
    complete: Mapping[str, Any] | None
    unfinished: Mapping[str, Any] | None = None


def stored_output(metadata: Mapping[str, Any] | None, files: Mapping[str, Path]) -> StoredOutput:
    """Compare files with the hashes in their metadata.

    :param metadata: None if there is none
    :param files: key of the metadata to the file whose SHA-256 is stored under it
    """
    existing = {key: path for key, path in files.items() if path.exists()}
    unchanged = metadata_of_files(metadata, existing)
    is_complete = len(existing) == len(files)
    return StoredOutput(
        files=tuple(files.values()),
        complete=unchanged if is_complete else None,
        unfinished=None if is_complete else unchanged,
    )


def is_up_to_date(stored: StoredOutput, planned: Mapping[str, Any], *, overwrite: bool) -> bool:
    """Whether the files already hold what the planned run would write; an interrupted run of the same kind is resumed.

    :param planned: the metadata of that run
    :raises InputError: a file was written by a different run, and ``overwrite`` is off
    """
    existing = [path for path in stored.files if path.exists()]
    if overwrite or not existing or _agree(stored.unfinished, planned):
        return False
    if _agree(stored.complete, planned):
        return True
    before, now = _agent_in(stored.complete or stored.unfinished), _agent_in(planned)
    if before is not None and now is not None and before[0] != now[0]:
        raise InputError(
            existing[0],
            problem=f"already exists and was written for a different agent ({before[1]}); pass --overwrite to replace "
            "it, or choose another output folder",
        )
    raise different_run_error(existing[0])


def different_run_error(path: Path) -> InputError:
    """The error for an output file that was written by a different run."""
    return InputError(path, problem="already exists and was written by a different run; pass --overwrite to replace it")


def check_outputs(outputs: Sequence[Path], inputs: Sequence[Path]) -> None:
    """Check that a run writes neither to a file that it reads nor through a link.

    :raises SuiteError: naming the file
    """
    read = {path.resolve() for path in inputs}
    for path in outputs:
        if path.resolve() in read:
            raise InputError(path, problem="is both an input and an output of this run")
        refuse_link(path)


def meta_path(path: Path) -> Path:
    """The path of the metadata file that belongs to ``path``."""
    return path.with_name(f"{path.stem}.meta.json")


def stored_document(path: Path) -> dict[str, Any] | None:
    """The object in a JSON file, or None if there is none."""
    try:
        document = read_edited_json(path)
    except InputError:
        return None
    return document if isinstance(document, dict) else None


def stored_json_metadata(path: Path) -> dict[str, Any] | None:
    """The ``metadata`` in a JSON file, or None if there is none."""
    metadata = (stored_document(path) or {}).get("metadata")
    return metadata if isinstance(metadata, dict) else None


def metadata_of_files(metadata: Mapping[str, Any] | None, files: Mapping[str, Path]) -> dict[str, Any] | None:
    """``metadata`` if every file is there as it was written, else None.

    :param files: key of the metadata to the file whose SHA-256 is stored under it
    """
    if metadata is None:
        return None
    try:
        unchanged = all(metadata.get(key) == sha256_of_file(path) for key, path in files.items())
    except InputError:
        return None
    return dict(metadata) if unchanged else None


def check_format(metadata: Mapping[str, Any], where: object) -> None:
    """Check the version of the metadata's format, and that its parts are objects.

    :raises InputError: metadata of another shape, or in a format that this version of the suite does not know
    """
    found = metadata.get("format")
    if not isinstance(found, int) or isinstance(found, bool) or not 1 <= found <= FORMAT:
        raise InputError(
            where,
            "metadata.format",
            found=shown(found),
            expected=f"a whole number, at most {FORMAT}",
            hint="written by a newer suite" if isinstance(found, int) else "",
        )
    for key in ("run", "command", "agent"):
        if metadata.get(key) is not None and not isinstance(metadata[key], Mapping):
            raise InputError(where, f"metadata.{key}", found=shown(metadata[key]), expected="an object")


def fingerprint_in(metadata: object, where: object) -> str | None:
    """The fingerprint of the network that a file's ``metadata`` names; None if it names none.

    :raises InputError: metadata of another shape, or in a newer format
    """
    run = metadata.get("run", {}) if isinstance(metadata, Mapping) else None
    fingerprint = run.get("weights_sha256") if isinstance(run, Mapping) else None
    if not isinstance(metadata, Mapping) or not isinstance(run, Mapping):
        field, value = ("metadata.run", run) if isinstance(metadata, Mapping) else ("metadata", metadata)
        raise InputError(where, field, found=shown(value), expected="an object")
    if fingerprint is not None and not isinstance(fingerprint, str):
        raise InputError(where, "metadata.run.weights_sha256", found=shown(fingerprint), expected="text")
    if "format" in metadata:
        check_format(metadata, where)
    return fingerprint


def vecnormalize_in(run: object) -> str | None:
    """The SHA-256 of the ``vecnormalize.pkl`` with which a run normalised observations; None if it did not.

    :param run: ``run`` of a file's metadata
    """
    described = run.get("vecnormalize") if isinstance(run, Mapping) else None
    sha256 = described.get("sha256") if isinstance(described, Mapping) else None
    return sha256 if isinstance(sha256, str) else None


@cache
def installed_version(distribution: str) -> str:
    """The version of a distribution, ``none`` if it is not installed; the distribution is not imported."""
    if distribution == "numpy":
        return str(np.__version__)  # importlib.metadata takes 20 ms to import, a tenth of a whole sweep
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version(distribution)
    except PackageNotFoundError:
        return "none"


def _agree(stored: Mapping[str, Any] | None, planned: Mapping[str, Any]) -> bool:
    return stored is not None and all(stored.get(key) == planned[key] for key in _DECISIVE)


def _agent_in(metadata: Mapping[str, Any] | None) -> tuple[str, str] | None:
    """The hash of an agent's zip and its name, if the metadata hold both."""
    run, agent = ((metadata or {}).get(key) for key in ("run", "agent"))
    if not isinstance(run, Mapping) or not isinstance(agent, Mapping):
        return None
    sha256, path = run.get("agent_sha256"), agent.get("path")
    if not isinstance(sha256, str) or not isinstance(path, str):
        return None
    return sha256, shown(Path(path).name, quoted=False)
