"""One row for each of many agents, from the files in its folder; the network is not built."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from Neuron_Selection.FileFormats.agent_zip.agent_folder import AgentFolder, find_agent
from Neuron_Selection.FileFormats.agent_zip.agent_zip import read_agent_zip
from Neuron_Selection.FileFormats.provenance import meta_path, stored_document
from Neuron_Selection.FileFormats.results.minimal_sets_file import MINIMAL_SET_FILES, load_curves
from Neuron_Selection.FileFormats.results.results_table import load_results_table
from Neuron_Selection.FileFormats.results.rollouts_file import load_rollouts
from Neuron_Selection.FileFormats.storage.atomic_files import is_there, sha256_of_file
from Neuron_Selection.PatchingTooling.agent.algorithms import algorithm_in
from ReportTooling.results.steps import STEPS, Step, metadata_beside

COLUMNS = (
    "agent", "group", "algorithm", "parameters", "neurons", "dead_neurons", "pairs", "contrast_pairs",
    "sufficient_neurons", "necessary_neurons", "random_neurons", "top_neuron", "top_effect", "top_share", "success",
    "rank_correlation", "not_run",
)  # fmt: skip
NEEDED = ("sweep", "analysis", "minimal_sets", "rollouts")
"""The steps that the columns come from, and the sweep that the analysis needs."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class AgentRow:
    """An agent in the comparison.

    :param values: column to value, None where a step was not run
    :param curves: rows of ``minimal_sets_curves.csv``
    :param not_run: the steps that were not run, or for other weights
    :param recorded: the commands of the steps that were run
    :param files: the files read to their SHA-256
    """

    folder: AgentFolder
    values: Mapping[str, Any]
    curves: Sequence[Mapping[str, Any]]
    not_run: Sequence[Step]
    recorded: Sequence[object]
    files: Mapping[str, str]


def agent_row(path: str | Path, *, name: str, group: str) -> AgentRow:
    """The row of the agent in a folder.

    :param name: by which it is called in the comparison
    :raises InputError: the folder has no agent, or a damaged result
    """
    folder = find_agent(path)
    agent = read_agent_zip(folder.zip_path)
    values: dict[str, Any] = dict.fromkeys(COLUMNS)
    values |= {
        "agent": name,
        "group": group,
        "algorithm": algorithm_in(agent),
        "parameters": sum(array.size for array in agent.network_tensors.values()),
    }
    files = {str(folder.zip_path): agent.sha256}
    not_run, curves, recorded = [], [], []
    for step in _chosen_steps(folder.folder):
        file = folder.folder / step.file
        if not is_there(file) or _weights_of(step, file) not in (None, agent.weights_sha256):
            not_run.append(step)
            continue
        recorded.append((stored_document(meta_path(file)) or {}).get("command"))
        if step.name == "analysis":
            values |= _of_table(load_results_table(file))
        elif step.name == "minimal_sets":
            values |= _of_sets(MINIMAL_SET_FILES.load(file))
            curves = load_curves(file)
        elif step.name == "rollouts":
            values |= _of_episodes(load_rollouts(file))
        if step.name != "sweep":
            files[str(file)] = sha256_of_file(file)
    if "analysis" not in [step.name for step in not_run]:
        not_run = [step for step in not_run if step.name != "sweep"]  # the analysis does not need it any more
    values["not_run"] = " ".join(step.name for step in not_run)
    return AgentRow(folder=folder, values=values, curves=curves, not_run=not_run, recorded=recorded, files=files)


def _chosen_steps(folder: Path) -> list[Step]:
    """The needed steps; exact behaviour instead of sampled episodes, where it was computed."""
    steps = {step.name: step for step in STEPS}
    exact = steps["exact"]
    return [
        replace(exact, name="rollouts") if name == "rollouts" and is_there(folder / exact.file) else steps[name]
        for name in NEEDED
    ]


def _of_episodes(document: Mapping[str, Any]) -> dict[str, Any]:
    """Success of the unchanged agent, and the correlation of one-step importance and behaviour."""
    links = [of.get("importance") for of in document.get("link", {}).values()]
    known = [link for link in links if link and link["spearman"] is not None]
    return {
        "success": document["baseline"]["success"],
        "rank_correlation": max(known, key=lambda link: int(link["n"]))["spearman"] if known else None,
    }


def _weights_of(step: Step, path: Path) -> object:
    if step.name == "sweep":  # its metadata are inside; the analysis has the same
        return None
    run = metadata_beside(path, script=step.script).get("run")
    return run.get("weights_sha256") if isinstance(run, Mapping) else None


def _of_table(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Counts and the strongest neuron; random sets, which have no q, are left out where others have one."""
    ranked = [row for row in rows if row["q"] is not None] or list(rows)
    effects: dict[str, list[float]] = {}
    flags: dict[str, list[bool]] = {}
    for row in ranked:
        effects.setdefault(row["patch"], []).append(abs(row["effect"] or 0.0))
        flags.setdefault(row["patch"], []).append(bool(row["flag"]))
    importance = {patch: sum(sizes) / len(sizes) for patch, sizes in effects.items()}
    best = max(importance, key=lambda patch: importance[patch])
    total = sum(importance.values())
    contrast = rows[0]["contrast_pairs"]
    return {
        "neurons": len(effects),
        "dead_neurons": sum(all(of_patch) for of_patch in flags.values()),
        "pairs": int(rows[0]["n"]),
        "contrast_pairs": None if contrast is None else int(contrast),
        "top_neuron": best if total else None,
        "top_effect": importance[best] if total else None,
        "top_share": importance[best] / total if total else None,
    }


def _of_sets(document: Mapping[str, Any]) -> dict[str, Any]:
    """The median sizes of minimal sets, each of the layer that needs fewest neurons."""
    found: dict[str, Any] = {}
    for direction, column in (("denoising", "sufficient_neurons"), ("noising", "necessary_neurons")):
        sites = [site for site in document.get(direction, {}).values() if site["summary"]["median_size"] is not None]
        if sites:
            best = min(sites, key=lambda site: float(site["summary"]["median_size"]))
            found[column] = best["summary"]["median_size"]
            random = [curve["median_size"] for curve in best["curves"] if curve["ranking"] == "random"]
            if column == "sufficient_neurons" and random:
                found["random_neurons"] = random[0]
    return found
