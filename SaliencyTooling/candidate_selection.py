"""Candidate weights: the weights of important neurons that have the greatest average gradients."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from Neuron_Selection.errors import InputError, UsageError, shown
from Neuron_Selection.FileFormats.agent_zip.agent_folder import (
    CLEAN,
    GRADIENTS,
    RESULTS,
    AgentFolder,
    find_agent,
    output_folder,
)
from Neuron_Selection.FileFormats.agent_zip.agent_zip import AgentZip, read_agent_zip
from Neuron_Selection.FileFormats.agent_zip.spaces import DiscreteSpace
from Neuron_Selection.FileFormats.definitions import load_definitions
from Neuron_Selection.FileFormats.provenance import (
    check_outputs,
    different_run_error,
    fingerprint_in,
    run_metadata,
    stored_document,
    stored_json_metadata,
)
from Neuron_Selection.FileFormats.results.cross_metric_summary import (
    SUMMARY_FILE,
    load_cross_metric_summary,
)
from Neuron_Selection.FileFormats.storage.atomic_files import read_bytes, sha256_of
from Neuron_Selection.FileFormats.storage.json_files import json_bytes, parse_edited_json
from Neuron_Selection.FileFormats.weights.average_gradients import (
    AVERAGE_FILE,
    MAGNITUDE,
    AverageGradients,
    load_average_gradients,
)
from Neuron_Selection.FileFormats.weights.candidate_weights import CANDIDATES_FILE, save_candidate_weights
from Neuron_Selection.next_command import handed_on
from Neuron_Selection.PatchingTooling.opened_agent import OpenedAgent
from SaliencyTooling.gradient_runs import (
    AveragedGradients,
    ComputedGradients,
    Progress,
    average_gradients,
    compute_gradients,
    plan_averages,
)
from SaliencyTooling.weight_ranking import (
    SCORES,
    CandidateNeuron,
    candidate_neurons,
    no_margin,
    rank_weights,
    score_weights,
    weight_matrices,
)

USEFUL_NEURONS = "Neuron_Selection/ExperimentTooling/Definitions/useful_neurons.json"


@dataclass(frozen=True, kw_only=True, slots=True)
class StoredAgent:
    """An agent whose weights are read and whose network is not built, so that custom classes need no flag."""

    folder: AgentFolder
    agent_zip: AgentZip


def read_stored_agent(agent_path: str | Path) -> StoredAgent:
    """The agent in a folder or a zip."""
    folder = find_agent(agent_path)
    return StoredAgent(folder=folder, agent_zip=read_agent_zip(folder.zip_path))


@dataclass(frozen=True, kw_only=True, slots=True)
class SelectedWeights:
    """Result of ``select_weights``.

    ``written``: False where the file was up to date. ``neurons``, ``weights``: how many. ``metadata``: of the file.
    """

    files: tuple[Path, ...]
    written: bool
    neurons: int
    weights: int
    metadata: Mapping[str, Any]


def select_weights(
    agent: OpenedAgent | StoredAgent | None = None,
    *,
    cross_metric_path: str | Path = SUMMARY_FILE,
    average_gradients_path: str | Path = AVERAGE_FILE,
    useful_neurons_path: str | Path | None = None,
    k: int = 2,
    m: int = 4,
    score: str = "gradient",
    output_dir: str | Path | None = None,
    overwrite: bool = False,
    progress: Progress | None = None,
) -> SelectedWeights:
    """Write ``candidate_weights.json``: the k best weights of each important neuron, and the m best of all the rest.

    :param agent: required by ``weight_x_gradient``; bare file names are looked for in its folder first
    :param cross_metric_path: ``cross_metric_summary.json`` of analyze_metrics.py
    :param average_gradients_path: ``average_gradients.json`` of average.py
    :param useful_neurons_path: definitions that keys such as ``exp_62_q_net.0`` count in; None means the project's own
    :param score: ``gradient``, ``margin`` or ``weight_x_gradient``
    :param output_dir: None means the folder of the average gradients
    :param progress: such as ``tqdm.tqdm``; wraps the neurons
    :raises SuiteError: files of another agent or network, neurons without weights, averages without the score, or the
        candidates of a different run without ``overwrite``
    """
    average_path, summary = Path(average_gradients_path), Path(cross_metric_path)
    folder = agent.folder if agent is not None else None
    if folder is not None:
        summary = folder.find(str(cross_metric_path), RESULTS, hint="analyze_metrics.py makes it")
        average_path = folder.find(str(average_gradients_path), GRADIENTS, hint="average.py makes it")
    elif summary.resolve().parent.name == RESULTS:
        home = summary.resolve().parents[1]
        folder = AgentFolder(zip_path=home / "agent.zip", folder=home)
    path = output_folder(None if output_dir is None else str(output_dir), average_path.parent) / CANDIDATES_FILE
    check_outputs([path], [summary, average_path])
    average = load_average_gradients(average_path)
    magnitudes = weight_matrices(average.means[MAGNITUDE])
    agent_zip = None if agent is None else agent.agent_zip
    neurons, run = _choose_neurons(
        summary,
        useful_neurons_path,
        folder,
        parameters=magnitudes,
        weights_sha256=_fingerprint(average, agent_zip, average_path),
        settings={"score": score, "k": k, "m": m},
    )
    scores = score_weights(average, score, agent_zip=agent_zip, where=average_path)
    document = rank_weights(neurons, scores, magnitudes, k=k, m=m, progress=progress)
    metadata = run_metadata(
        command={
            "task": "candidates",
            "cross_metric_path": str(summary),
            "average_gradients_path": str(average_path),
        },
        run={**run, "average_sha256": sha256_of(read_bytes(average_path))},
        agent=None,
        libraries=("numpy",),
    )
    document["metadata"] |= {**metadata, "agent": average.metadata.get("agent")}
    up_to_date = path.exists() and not overwrite
    if up_to_date and _decisive(stored_document(path)) != _decisive(parse_edited_json(json_bytes(document), path)):
        raise different_run_error(path)
    if not up_to_date:
        save_candidate_weights(path, document)
    return SelectedWeights(
        files=(path,),
        written=not up_to_date,
        neurons=len(neurons),
        weights=len(document["weight_targets"]),
        metadata=document["metadata"],
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class GradientAnalysis:
    """Result of ``find_candidate_weights``: one of each step."""

    gradients: ComputedGradients
    averages: AveragedGradients
    candidates: SelectedWeights


def find_candidate_weights(
    agent: OpenedAgent,
    *,
    inputs: Any = CLEAN,
    useful_neurons_path: str | Path | None = None,
    k: int = 2,
    m: int = 4,
    score: str = "gradient",
    format: str = "json",  # noqa: A002 - named like the flag
    output_dir: str | Path | None = None,
    overwrite: bool = False,
    progress: Progress | None = None,
) -> GradientAnalysis:
    """Run ``compute_gradients``, ``average_gradients`` and ``select_weights``; each leaves an up-to-date file alone.

    The summary is the agent's ``patching_results/cross_metric_summary.json``; the parameters are those of the steps.

    :param output_dir: None means the agent's ``gradient_analysis/``
    :raises SuiteError: for everything that one of the steps would refuse, before the first file is written
    """
    output = output_folder(None if output_dir is None else str(output_dir), agent.folder.folder / GRADIENTS)
    summary = agent.folder.folder / RESULTS / SUMMARY_FILE
    chosen = agent.inputs(inputs)
    space = agent.agent_zip.action_space
    if score == "margin" and isinstance(space, DiscreteSpace) and space.n < 2:
        raise no_margin()
    _, run = _choose_neurons(
        summary,
        useful_neurons_path,
        agent.folder,
        parameters=agent.online_weights,
        weights_sha256=agent.agent_zip.weights_sha256,
        settings={"score": score, "k": k, "m": m},
    )
    path = output / CANDIDATES_FILE
    check_outputs([path], [summary])
    if path.exists() and not overwrite:
        stored = (stored_json_metadata(path) or {}).get("run")
        if not isinstance(stored, dict) or any(stored.get(key) != value for key, value in run.items()):
            raise different_run_error(path)
    plan_averages(agent, chosen, output / AVERAGE_FILE, overwrite=overwrite)
    gradients = compute_gradients(
        agent, inputs=chosen, output_dir=output, format=format, overwrite=overwrite, progress=progress
    )
    averages = average_gradients(agent, inputs=chosen, output_dir=output, overwrite=overwrite)
    candidates = select_weights(
        agent,
        cross_metric_path=handed_on(summary),
        average_gradients_path=handed_on(averages.files[0]),
        useful_neurons_path=useful_neurons_path,
        k=k,
        m=m,
        score=score,
        output_dir=output,
        overwrite=overwrite,
        progress=progress,
    )
    return GradientAnalysis(gradients=gradients, averages=averages, candidates=candidates)


def _fingerprint(average: AverageGradients, agent_zip: AgentZip | None, where: Path) -> str | None:
    recorded = fingerprint_in(average.metadata, where)
    if agent_zip is None:
        return recorded
    if recorded is not None and recorded != agent_zip.weights_sha256:
        raise InputError(
            where,
            "metadata.run.weights_sha256",
            f"the averages belong to another agent ({recorded[:12]}, this one is {agent_zip.weights_sha256[:12]})",
        )
    return agent_zip.weights_sha256


def _decisive(document: Mapping[str, Any] | None) -> Any:
    """A document without the command and the path of the agent."""
    if document is None or not isinstance(document.get("metadata"), dict):
        return None
    kept = {key: value for key, value in document["metadata"].items() if key not in ("command", "agent")}
    return {**document, "metadata": kept}


def _choose_neurons(
    summary_path: Path,
    useful_neurons_path: str | Path | None,
    folder: AgentFolder | None,
    *,
    parameters: Mapping[str, np.ndarray],
    weights_sha256: str | None,
    settings: Mapping[str, Any],
) -> tuple[list[CandidateNeuron], dict[str, Any]]:
    """The neurons whose weights are ranked, and everything that decides the selection, for the metadata.

    :param folder: where a bare name of the definitions is looked for first
    :param parameters: the network's, or arrays of their shapes
    :param weights_sha256: fingerprint of that network, None if unknown
    :param settings: score, k and m
    :raises SuiteError: no weights to select, a summary of another agent, or of neurons that have no weights
    """
    if settings["score"] not in SCORES:
        raise UsageError(field="score", found=shown(settings["score"]), expected=f"one of {', '.join(SCORES)}")
    if settings["k"] < 0 or settings["m"] < 0:
        raise UsageError(field="k and m", found=f"{settings['k']} and {settings['m']}", expected="whole numbers from 0")
    if settings["k"] == 0 and settings["m"] == 0:
        raise UsageError("--k and --m are both 0: no weight would be selected")
    summary = load_cross_metric_summary(summary_path)
    if summary.weights_sha256 and weights_sha256 and summary.weights_sha256 != weights_sha256:
        hashes = f"{summary.weights_sha256[:12]}, this one is {weights_sha256[:12]}"
        raise InputError(summary_path, "weights_sha256", f"the summary belongs to another agent ({hashes})")
    definitions: list[dict[str, Any]] = []
    definitions_sha256 = None
    if any(neuron.patch is None and neuron.position is not None for neuron in summary.neurons):
        if useful_neurons_path is None:
            path = Path(__file__).resolve().parents[1] / USEFUL_NEURONS
        else:
            path = folder.find(str(useful_neurons_path), ".") if folder else Path(useful_neurons_path)
        definitions_sha256 = sha256_of(read_bytes(path))
        definitions = load_definitions(path)
    rows_of = {name: len(array) for name, array in weight_matrices(parameters).items()}
    run = {
        "task": "candidates",
        "cross_metric_sha256": sha256_of(read_bytes(summary_path)),
        "definitions_sha256": definitions_sha256,
        "weights_sha256": weights_sha256,
        **settings,
    }
    return candidate_neurons(summary, rows_of, definitions=definitions), run
