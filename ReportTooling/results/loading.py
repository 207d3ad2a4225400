"""Load whatever results are in an agent's folder."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from Neuron_Selection.AnalysisTooling.effect_matrices import EffectMatrix, effect_matrices
from Neuron_Selection.FileFormats.agent_zip.agent_folder import RESULTS
from Neuron_Selection.FileFormats.encoding import ENCODING, Encoding, load_encoding
from Neuron_Selection.FileFormats.provenance import stored_json_metadata
from Neuron_Selection.FileFormats.results.attribution_file import ATTRIBUTION_FILES, load_attribution
from Neuron_Selection.FileFormats.results.circuit_file import Circuit, load_circuit
from Neuron_Selection.FileFormats.results.cross_metric_summary import (
    SUMMARY_FILE,
    CrossMetricSummary,
    load_cross_metric_summary,
)
from Neuron_Selection.FileFormats.results.edges_file import load_edge_curve, load_edges
from Neuron_Selection.FileFormats.results.interactions_file import INTERACTION_FILES, load_interactions
from Neuron_Selection.FileFormats.results.minimal_sets_file import MINIMAL_SET_FILES, load_curves
from Neuron_Selection.FileFormats.results.results_table import load_results_table
from Neuron_Selection.FileFormats.results.rollouts_file import ROLLOUTS, load_frames_of, load_rollouts
from Neuron_Selection.FileFormats.results.sweep import opened_sweep
from Neuron_Selection.FileFormats.storage.atomic_files import is_there, sha256_of_file
from Neuron_Selection.FileFormats.weights.candidate_weights import load_candidate_weights
from Neuron_Selection.FileFormats.weights.perturbation_results import load_perturbation_results
from Neuron_Selection.PatchingTooling.agent.algorithms import algorithm_in
from Neuron_Selection.PatchingTooling.opened_agent import OpenedAgent
from Parameter_Selection.PerturbationTooling.exact_flips.supported_networks import flips_can_be_found
from ReportTooling.results.pairs import Pairs, load_pairs
from ReportTooling.results.steps import STEPS, Step, metadata_beside


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Results:
    """An agent and what has been found about it; None or empty where a step was not run.

    :param actions: a name for each action
    :param matrices: of the sweep, by direction and layer
    :param rows: of ``results.csv``
    :param curves: rows of ``minimal_sets_curves.csv``
    :param edge_curve: rows of ``edges_curve.csv``
    :param frames: step to PNG, of the episode that ``run_rollouts.py`` shows
    :param files: the files that were read, relative to the folder, to their SHA-256
    :param metadata: step to the metadata of its file
    :param missing: the steps that were not run
    :param outdated: the files that belong to another agent, and are not shown
    """

    agent: OpenedAgent
    algorithm: str
    encoding: Encoding | None
    actions: tuple[str, ...]
    pairs: Pairs | None
    matrices: Sequence[EffectMatrix]
    rows: Sequence[Mapping[str, Any]]
    summary: CrossMetricSummary | None
    minimal_sets: Mapping[str, Any]
    curves: Sequence[Mapping[str, Any]]
    edges: Mapping[str, Any] | None
    edge_curve: Sequence[Mapping[str, Any]]
    circuit: Circuit | None
    interactions: Mapping[str, Any]
    interaction_rows: Sequence[Mapping[str, Any]]
    attribution: Mapping[str, Any]
    attribution_rows: Sequence[Mapping[str, Any]]
    candidates: Mapping[str, Any] | None
    perturbations: Mapping[str, Any] | None
    flips: Mapping[str, Any] | None
    exact: Mapping[str, Any] | None
    rollouts: Mapping[str, Any] | None
    frames: Mapping[int, bytes]
    files: Mapping[str, str]
    metadata: Mapping[str, Mapping[str, Any]]
    missing: Sequence[Step]
    outdated: Sequence[Step]

    @property
    def scores(self) -> str:
        """What the scores are called, ``Q-values`` or ``logits``."""
        return self.agent.architecture.head.scores


def load_results(agent: OpenedAgent) -> Results:
    """Load the results in an agent's folder.

    :raises InputError: a file of another kind than its name, or a damaged one
    """
    encoding = load_encoding(
        agent.folder.folder / ENCODING, agent.agent_zip.observation_space, agent.architecture.n_actions
    )
    names = encoding.actions if encoding is not None and encoding.actions is not None else None
    actions = names or tuple(f"action {number}" for number in range(agent.architecture.n_actions))
    found = _Found(folder=agent.folder.folder, weights_sha256=agent.agent_zip.weights_sha256)
    found.read(ENCODING)
    pairs = load_pairs(agent, actions)
    if pairs is None:
        found.missing += [step for step in STEPS[:2] if not is_there(agent.folder.folder / step.file)]
    else:
        for name in ("clean_inputs.json", "corrupted_inputs.json", "pairs.json"):
            found.read(f"activation_inputs/{name}")
    sweep = found.step("sweep", effect_matrices, _sweep_metadata)
    rows = found.step("analysis", load_results_table)
    sets = found.step("minimal_sets", MINIMAL_SET_FILES.load)
    edges = found.step("edges", load_edges)
    interactions = found.step("interactions", INTERACTION_FILES.load)
    attribution = found.step("attribution", ATTRIBUTION_FILES.load)
    candidates = found.step("candidates", load_candidate_weights, stored_json_metadata)
    perturbations = found.step("perturbations", load_perturbation_results, stored_json_metadata)
    flips = found.step("flips", load_perturbation_results, stored_json_metadata)
    if not flips_can_be_found(agent):
        found.missing = [step for step in found.missing if step.name != "flips"]
    exact = found.step("exact", load_rollouts)
    rollouts = found.step("rollouts", load_rollouts)
    folder = agent.folder.folder / RESULTS
    return Results(
        agent=agent,
        algorithm=algorithm_in(agent.agent_zip),
        encoding=encoding,
        actions=actions,
        pairs=pairs,
        matrices=sweep or (),
        rows=rows or (),
        summary=load_cross_metric_summary(folder / SUMMARY_FILE) if rows is not None else None,
        minimal_sets=sets or {},
        curves=load_curves(folder / "minimal_sets.json") if sets is not None else (),
        edges=edges,
        edge_curve=load_edge_curve(folder / "edges.json") if edges is not None else (),
        circuit=load_circuit(folder / "circuit.json") if edges is not None else None,
        interactions=interactions or {},
        interaction_rows=load_interactions(folder / "interactions.json") if interactions is not None else (),
        attribution=attribution or {},
        attribution_rows=load_attribution(folder / "attribution.json") if attribution is not None else (),
        candidates=candidates,
        perturbations=perturbations,
        flips=flips,
        exact=exact,
        rollouts=rollouts,
        frames=_frames(agent.folder.folder / ROLLOUTS / "rollouts.json", rollouts),
        files=found.files,
        metadata=found.metadata,
        missing=found.missing,
        outdated=found.outdated,
    )


@dataclass(kw_only=True, slots=True)
class _Found:
    folder: Path
    weights_sha256: str
    files: dict[str, str] = field(default_factory=dict)
    metadata: dict[str, Mapping[str, Any]] = field(default_factory=dict)
    missing: list[Step] = field(default_factory=list)
    outdated: list[Step] = field(default_factory=list)

    def step(
        self,
        name: str,
        load: Callable[[Path], Any],
        metadata_inside: Callable[[Path], Mapping[str, Any] | None] | None = None,
    ) -> Any:
        """The content of a step's file, None if it is missing or belongs to another agent.

        :param metadata_inside: reads the metadata of a file that contains them; None if they are next to it
        """
        step = next(step for step in STEPS if step.name == name)
        path = self.folder / step.file
        if not is_there(path):
            self.missing.append(step)
            return None
        if metadata_inside is None:
            metadata: Mapping[str, Any] = metadata_beside(path, script=step.script)
        else:
            metadata = metadata_inside(path) or {}
        run = metadata.get("run")
        fingerprint = run.get("weights_sha256") if isinstance(run, Mapping) else None
        if fingerprint not in (None, self.weights_sha256):
            self.outdated.append(step)
            return None
        content = load(path)
        self.metadata[name] = metadata
        for file in (step.file, *step.beside):
            self.read(file)
        return content

    def read(self, name: str) -> None:
        """Record the hash of a file, if it is there."""
        if is_there(self.folder / name):
            self.files[name] = sha256_of_file(self.folder / name)


def _frames(path: Path, rollouts: Mapping[str, Any] | None) -> dict[int, bytes]:
    """Six frames of the shown episode: its start, and those around the first difference."""
    shown = (rollouts or {}).get("shown")
    if not isinstance(shown, Mapping) or not isinstance(shown.get("parting"), int):
        return {}
    first = shown["parting"]
    return load_frames_of(path, sorted({0, max(first - 1, 0), first, first + 1, first + 3, first + 8}))


def _sweep_metadata(path: Path) -> Mapping[str, Any]:
    with opened_sweep(path) as sweep:
        return sweep.header.metadata
