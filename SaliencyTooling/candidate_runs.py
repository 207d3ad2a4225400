"""The third step of the saliency pipeline: candidate weights, from a summary and averages; files in, file out."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from Neuron_Selection.errors import InputError, UsageError
from Neuron_Selection.FileFormats.agent_zip.agent_zip import AgentZip
from Neuron_Selection.FileFormats.definitions import load_definitions
from Neuron_Selection.FileFormats.provenance import (
    check_outputs,
    different_run_error,
    fingerprint_in,
    run_metadata,
    stored_document,
    stored_json_metadata,
)
from Neuron_Selection.FileFormats.results.cross_metric_summary import load_cross_metric_summary
from Neuron_Selection.FileFormats.storage.atomic_files import read_bytes, sha256_of
from Neuron_Selection.FileFormats.storage.json_files import json_bytes, parse_edited_json
from Neuron_Selection.FileFormats.weights.average_gradients import MAGNITUDE, AverageGradients, load_average_gradients
from Neuron_Selection.FileFormats.weights.candidate_weights import CANDIDATES_FILE, save_candidate_weights
from SaliencyTooling.candidate_neurons import CandidateNeuron, candidate_neurons
from SaliencyTooling.weight_scores import refuse_margin_of_one_action, scores_of, weight_matrices
from SaliencyTooling.weight_selection import select_weights


@dataclass(frozen=True, kw_only=True, slots=True)
class Selection:
    """What is asked for. ``definitions`` finds the definitions file; it is called only if a key needs it.

    ``score``: gradient, margin or weight_x_gradient.
    """

    cross_metric_path: Path
    definitions: Callable[[], Path]
    score: str
    k: int
    m: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Chosen:
    """The important neurons, and all that decided on them, for the metadata."""

    neurons: list[CandidateNeuron]
    run: dict[str, Any]


def choose_neurons(selection: Selection, parameters: Mapping[str, np.ndarray], *, weights_sha256: str | None) -> Chosen:
    """The neurons whose weights are to be ranked. Nothing is computed or written: what is wrong is found here.

    :param parameters: the network's, or arrays of their shapes
    :param weights_sha256: fingerprint of that network, None if unknown
    :raises SuiteError: nothing asked for, a summary of another agent, or of neurons that have no weights here
    """
    if selection.k == 0 and selection.m == 0:
        raise UsageError("k and m: found 0 and 0, expected at least one weight to select")
    summary = load_cross_metric_summary(selection.cross_metric_path)
    if summary.weights_sha256 and weights_sha256 and summary.weights_sha256 != weights_sha256:
        found, expected = f"a summary of the agent {summary.weights_sha256[:12]}", f"of this one, {weights_sha256[:12]}"
        raise InputError(selection.cross_metric_path, "weights_sha256", found=found, expected=expected)
    opened: list[str] = []

    def definitions() -> list[dict[str, Any]]:
        path = selection.definitions()
        opened.append(sha256_of(read_bytes(path)))
        return load_definitions(path)

    rows_of = {name: len(array) for name, array in weight_matrices(parameters).items()}
    neurons = candidate_neurons(summary, rows_of, definitions=definitions)
    run = {
        "task": "candidates",
        "cross_metric_sha256": sha256_of(read_bytes(selection.cross_metric_path)),
        "definitions_sha256": opened[0] if opened else None,
        "weights_sha256": weights_sha256,
        "score": selection.score,
        "k": selection.k,
        "m": selection.m,
    }
    return Chosen(neurons=neurons, run=run)


def check_candidates(
    selection: Selection, folder: Path, agent: AgentZip, parameters: Mapping[str, np.ndarray], *, overwrite: bool
) -> None:
    """Raise for all that step 3 would refuse, before the steps that it follows have run.

    :param parameters: of the agent
    """
    refuse_margin_of_one_action(selection.score, agent.action_space)
    chosen = choose_neurons(selection, parameters, weights_sha256=agent.weights_sha256)
    path = folder / CANDIDATES_FILE
    check_outputs([path], [selection.cross_metric_path])
    if path.exists() and not overwrite:
        stored = (stored_json_metadata(path) or {}).get("run")
        if not isinstance(stored, dict) or any(stored.get(key) != value for key, value in chosen.run.items()):
            raise different_run_error(path)


def write_candidates(
    selection: Selection, average_path: Path, folder: Path, *, agent: AgentZip | None, overwrite: bool
) -> tuple[Path, dict[str, Any], bool]:
    """Step 3: the weights to change, chosen from the rows of the important neurons.

    :param agent: where weights are read from, for weight_x_gradient
    :return: the file, its metadata, and whether it was written now
    """
    path = folder / CANDIDATES_FILE
    check_outputs([path], [selection.cross_metric_path, average_path])
    average = load_average_gradients(average_path)
    told = _fingerprint(average, agent, average_path)
    chosen = choose_neurons(selection, average.means[MAGNITUDE], weights_sha256=told)
    matrices = weight_matrices(average.means[MAGNITUDE])
    scores = scores_of(average, matrices, selection.score, agent=agent, where=average_path)
    document = select_weights(chosen.neurons, scores, matrices, k=selection.k, m=selection.m)
    run = {**chosen.run, "average_sha256": sha256_of(read_bytes(average_path))}
    command = {
        "task": "candidates",
        "cross_metric_path": str(selection.cross_metric_path),
        "average_gradients_path": str(average_path),
    }
    metadata = run_metadata(command=command, run=run, agent=None, libraries=("numpy",))
    document["metadata"] |= {**metadata, "agent": average.metadata.get("agent")}
    if path.exists() and not overwrite:
        if _decisive(stored_document(path)) != _decisive(parse_edited_json(json_bytes(document), path)):
            raise different_run_error(path)
        return path, document["metadata"], False
    save_candidate_weights(path, document)
    return path, document["metadata"], True


def _fingerprint(average: AverageGradients, agent: AgentZip | None, where: Path) -> str | None:
    told = fingerprint_in(average.metadata, where)
    if agent is None:
        return told
    if told is not None and told != agent.weights_sha256:
        found, expected = f"averages of another agent, {told[:12]}", f"of this one, {agent.weights_sha256[:12]}"
        raise InputError(where, "metadata.run.weights_sha256", found=found, expected=expected)
    return agent.weights_sha256


def _decisive(document: Mapping[str, Any] | None) -> Any:
    """All of a document but what was typed and where the agent lay."""
    if document is None or not isinstance(document.get("metadata"), dict):
        return None
    kept = {key: value for key, value in document["metadata"].items() if key not in ("command", "agent")}
    return {**document, "metadata": kept}
