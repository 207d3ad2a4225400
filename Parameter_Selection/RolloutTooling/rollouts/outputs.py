"""Results of runs, and what sampled and exact runs share: discount factor, importance, files."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from Neuron_Selection.errors import UsageError
from Neuron_Selection.FileFormats.agent_zip.agent_folder import RESULTS
from Neuron_Selection.FileFormats.provenance import fingerprint_in, installed_version, meta_path, stored_document
from Neuron_Selection.FileFormats.results.results_table import load_importances
from Neuron_Selection.FileFormats.storage.atomic_files import sha256_of_file
from Neuron_Selection.PatchingTooling.opened_agent import OpenedAgent

DEFAULT_GAMMA = 0.99


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Rollouts:
    """The document, the files by content, and whether an earlier run had written them.

    ``rows``: of the table, the baseline first.
    """

    document: Mapping[str, Any]
    files: Mapping[str, Path]
    was_up_to_date: bool

    @property
    def rows(self) -> list[dict[str, Any]]:
        """Column to value, the baseline first."""
        return [self.document["baseline"], *self.document["experiments"]]


def discount_factor(agent: OpenedAgent, gamma: float | None) -> float:
    """The given discount factor, else that of the agent's training, else 0.99.

    :raises UsageError: not from 0 to below 1
    """
    chosen = gamma if gamma is not None else agent.agent_zip.gamma
    chosen = DEFAULT_GAMMA if chosen is None else chosen
    if not 0 <= chosen < 1:
        of_agent = " of the agent's training; --gamma gives another" if gamma is None else ""
        raise UsageError(field="gamma", found=f"{chosen:g}{of_agent}", expected="a number from 0 to below 1")
    return chosen


def one_step_importances(agent: OpenedAgent) -> tuple[dict[str, float], dict[str, Any] | None]:
    """Patch spec to importance in the agent's ``patching_results/results.csv``, and what decides them.

    A table of another agent, or one without its metadata, is not used.
    """
    path = agent.folder.folder / RESULTS / "results.csv"
    metadata = stored_document(meta_path(path))
    if metadata is None or not path.exists() or fingerprint_in(metadata, path) != agent.agent_zip.weights_sha256:
        return {}, None
    return load_importances(path), {"name": path.name, "sha256": sha256_of_file(path)}


def library_versions() -> dict[str, str]:
    """The versions of libraries that decide episodes and statistics, for the metadata."""
    return {name: installed_version(name) for name in ("gymnasium", "minigrid", "scipy")}
