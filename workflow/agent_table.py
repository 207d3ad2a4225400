"""The agents of a workflow: their folders, and the flags of each from a table."""

from __future__ import annotations

import csv
import glob
import shlex
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from Neuron_Selection.errors import SuiteError, SuiteWarning, UntrustedError

LOADING = ("device", "dtype", "trust", "features_extractor", "activation_fn", "policy", "vecnormalize")
ENVIRONMENT = ("env", "env_kwargs", "wrapper", "frame_stack")


class TableError(ValueError):
    """A table or a pattern that the user has to correct."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Agent:
    """One agent folder.

    :param loading: words of ``AGENT_FLAGS``
    :param environment: flags that name its environment; empty if its inputs are given as files
    """

    folder: str
    loading: str = ""
    environment: str = ""


def find_agents(patterns: str | Sequence[str], table: str | None) -> dict[str, Agent]:
    """The folders that match, each with its flags; folder to agent, in the order of their names.

    :param patterns: glob patterns of folders; without any, the folders in the table
    :param table: a CSV file with the column ``folder`` and one column for each flag, or None
    :raises TableError: a pattern without a match, a row of no such folder, an unknown column, a brace in a name
    """
    rows = _rows(table) if table else {}
    folders = set() if patterns else set(rows)
    for pattern in patterns.split() if isinstance(patterns, str) else patterns:
        matches = {str(Path(match)) for match in glob.glob(pattern) if Path(match).is_dir()}  # noqa: PTH207 - absolute ones too
        if not matches:
            raise TableError(f"agents: no folder matches {pattern!r} in {Path.cwd()}")
        folders |= matches
    unused = sorted(set(rows) - folders)
    if unused:
        raise TableError(f"{table}: {unused[0]!r} matches none of the patterns in agents")
    braces = sorted(folder for folder in folders if "{" in folder or "}" in folder)
    if braces:
        raise TableError(
            f"agents: found {braces[0]!r}, expected a folder name without braces, which snakemake reserves"
        )
    return {folder: rows.get(folder, Agent(folder=folder)) for folder in sorted(folders)}


def _rows(table: str) -> dict[str, Agent]:
    found: dict[str, Agent] = {}
    with Path(table).open(newline="", encoding="utf-8-sig") as file:
        for number, row in enumerate(csv.DictReader(file), start=2):
            where = f"{table}: line {number}"
            unknown = sorted(str(name) for name in set(row) - {"folder", *LOADING, *ENVIRONMENT})
            if unknown or not row.get("folder"):
                expected = ", ".join(("folder", *LOADING, *ENVIRONMENT))
                found_columns = f"found column {unknown[0]!r}" if unknown else "found no folder"
                raise TableError(f"{where}: {found_columns}, expected {expected}")
            folder = str(Path(row["folder"]))
            if not Path(folder).is_dir():
                raise TableError(f"{where}: no such folder: {folder}")
            if folder in found:
                raise TableError(f"{where}: {folder} is listed twice")
            found[folder] = Agent(folder=folder, loading=_flags(row, LOADING), environment=_flags(row, ENVIRONMENT))
    return found


def _flags(row: dict[str, str], names: Sequence[str]) -> str:
    """Cells as flags; a cell is split into words as in a shell."""
    return shlex.join(word for name in names if row.get(name) for word in (f"--{name}", *shlex.split(row[name])))


@cache
def has_smallest_flips(folder: str) -> bool:
    """Whether ``find_smallest_flips.py`` applies to an agent: an MLP of Stable-Baselines3's own classes."""
    from Neuron_Selection.PatchingTooling.opened_agent import OpenedAgent
    from Parameter_Selection.PerturbationTooling.exact_flips.supported_networks import flips_can_be_found

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SuiteWarning)
        try:
            return flips_can_be_found(OpenedAgent(folder))
        except UntrustedError:
            return False
        except SuiteError:
            return True  # the script itself reports what is wrong with the agent
