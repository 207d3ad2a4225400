"""What produced a file: versions, the agent's fingerprint, the command, and the settings that decide its content."""

from __future__ import annotations

import platform
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from Neuron_Selection import __version__
from Neuron_Selection.errors import InputError, UsageError, shown
from Neuron_Selection.FileFormats.agent_zip.agent_zip import AgentZip
from Neuron_Selection.FileFormats.storage.atomic_files import refuse_link

FORMAT = 1
CHUNK_ROWS = 64  # rows of every forward pass; part of what decides the last bits
_DECISIVE = ("format", "suite_version", "libraries", "run")


def run_metadata(
    *, command: Mapping[str, Any], run: Mapping[str, Any], agent: AgentZip | None, libraries: Sequence[str]
) -> dict[str, Any]:
    """The metadata of one run's files.

    :param command: what was typed or called, for people; paths as they were given
    :param run: every setting and fingerprint that decides the content; two runs that agree in it write the same bytes
    :param agent: None where files are analysed without the agent behind them
    :param libraries: distributions whose versions count
    """
    told: dict[str, Any] = {"agent": None}
    decisive: dict[str, Any] = {}
    if agent is not None:
        paths = {"path": str(agent.path), "real_path": str(agent.path.resolve())}
        told = {"agent": {**paths, "sb3_version": agent.sb3_version}}
        decisive = {"agent_sha256": agent.sha256, "weights_sha256": agent.weights_sha256}
    return {
        "format": FORMAT,
        "suite_version": __version__,
        "libraries": {"python": platform.python_version()} | {name: installed_version(name) for name in libraries},
        "command": dict(command),
        **told,
        "run": {**decisive, **run},
    }


def is_up_to_date(
    path: Path,
    stored: Mapping[str, Any] | None,
    planned: Mapping[str, Any],
    *,
    overwrite: bool,
    unfinished: Mapping[str, Any] | None = None,
) -> bool:
    """Whether ``path`` already holds what the planned run would write.

    :param stored: the metadata of the file that is there, None where it has none
    :param unfinished: the metadata of a run that was interrupted before all of its files were written; the same run
        may finish them
    :raises UsageError: the file is of another run, and ``overwrite`` is off
    """
    if overwrite or not path.exists():
        return False
    if unfinished is not None and all(unfinished.get(key) == planned[key] for key in _DECISIVE):
        return False
    if stored is not None and all(stored.get(key) == planned[key] for key in _DECISIVE):
        return True
    before, now = _agent_in(stored or unfinished), _agent_in(planned)
    if before is not None and now is not None and before[0] != now[0]:
        raise UsageError(
            f"{path}: found the output of another agent ({before[1]}), expected none "
            "(--overwrite replaces it, an output folder of its own keeps both)"
        )
    raise of_another_run(path)


def decisive_of(metadata: Mapping[str, Any]) -> dict[str, Any]:
    """The part of a run's metadata that decides what it writes."""
    return {key: metadata[key] for key in _DECISIVE}


def _agent_in(metadata: Mapping[str, Any] | None) -> tuple[str, str] | None:
    """The hash of an agent's zip and its name, where metadata of whatever shape tell them."""
    run, agent = ((metadata or {}).get(key) for key in ("run", "agent"))
    if not isinstance(run, dict) or not isinstance(agent, dict):
        return None
    sha256, path = run.get("agent_sha256"), agent.get("path")
    if not isinstance(sha256, str) or not isinstance(path, str):
        return None
    return sha256, shown(Path(path).name, quoted=False)


def of_another_run(path: Path) -> UsageError:
    """What is raised where an output would replace another's."""
    return UsageError(f"{path}: found the output of another run, expected none (--overwrite replaces it)")


def check_outputs(outputs: Sequence[Path], inputs: Sequence[Path]) -> None:
    """Raise where a run would write over a file that it reads, or through a link."""
    read = {path.resolve() for path in inputs}
    for path in outputs:
        if path.resolve() in read:
            raise UsageError(f"{path}: found as input and as output, expected two files")
        refuse_link(path)


def check_format(metadata: Mapping[str, Any], where: object) -> None:
    """Refuse metadata of another shape, and those that a newer suite wrote in a form this one does not know."""
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
    """Of which network a file's ``metadata`` says it is; None where it does not tell.

    :raises InputError: metadata of another shape, or of a newer form
    """
    run = metadata.get("run", {}) if isinstance(metadata, Mapping) else None
    told = run.get("weights_sha256") if isinstance(run, Mapping) else None
    if not isinstance(metadata, Mapping) or not isinstance(run, Mapping):
        field, value = ("metadata.run", run) if isinstance(metadata, Mapping) else ("metadata", metadata)
        raise InputError(where, field, found=shown(value), expected="an object")
    if told is not None and not isinstance(told, str):
        raise InputError(where, "metadata.run.weights_sha256", found=shown(told), expected="text")
    if "format" in metadata:
        check_format(metadata, where)
    return told


@cache
def installed_version(distribution: str) -> str:
    """The version of a distribution; ``none`` where it is not installed. The distribution itself is not imported."""
    if distribution == "numpy":
        return str(np.__version__)  # importlib.metadata takes 20 ms to import, a tenth of a whole sweep
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version(distribution)
    except PackageNotFoundError:
        return "none"
