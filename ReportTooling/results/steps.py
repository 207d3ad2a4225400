"""The steps from an agent to a report, in their order: which script writes which file."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from Neuron_Selection.AnalysisTooling.analysis_run import SWEEP, TABLE
from Neuron_Selection.errors import InputError
from Neuron_Selection.FileFormats.agent_zip.agent_folder import CLEAN, GRADIENTS, INPUTS, RESULTS
from Neuron_Selection.FileFormats.environment_file import ENVIRONMENT_FILE, load_environment_record
from Neuron_Selection.FileFormats.provenance import meta_path, stored_document
from Neuron_Selection.FileFormats.results.cross_metric_summary import SUMMARY_FILE
from Neuron_Selection.FileFormats.results.rollouts_file import ROLLOUTS
from Neuron_Selection.FileFormats.storage.atomic_files import is_there
from Neuron_Selection.FileFormats.weights.candidate_weights import CANDIDATES_FILE
from Neuron_Selection.FileFormats.weights.perturbation_results import PERTURBATIONS
from Neuron_Selection.next_command import loading_of, next_command


def metadata_beside(path: Path, *, script: str) -> dict[str, Any]:
    """The metadata next to a result, without which nothing shows that it is as its script wrote it.

    :raises InputError: there are none
    """
    metadata = stored_document(meta_path(path))
    if metadata is None:
        hint = f"run {script.rpartition('/')[2]} again"
        raise InputError(meta_path(path), problem=f"is missing or damaged; it describes {path.name}", hint=hint)
    return metadata


@dataclass(frozen=True, kw_only=True, slots=True)
class Step:
    """A step.

    ``file``: what it writes, relative to the agent's folder; ``beside``: other files of it that pages are made from.
    ``answers``: the question it answers. ``flags``: of its suggested command. ``loads_agent``: it has the flags on how
    the agent is loaded.
    """

    name: str
    script: str
    file: str
    answers: str
    flags: tuple[str, ...] = ()
    beside: tuple[str, ...] = ()
    loads_agent: bool = True


_EPISODES = ("exact", "rollouts")  # they need an environment
STEPS = (
    Step(
        name="inputs",
        script="Neuron_Selection/ObservationTooling/record_inputs.py",
        file=f"{INPUTS}/visited_inputs.json",
        answers="Which states does the agent visit?",
        flags=("--env", "ENV"),
    ),
    Step(
        name="pairs",
        script="Neuron_Selection/ObservationTooling/make_pairs.py",
        file=f"{INPUTS}/{CLEAN}",
        answers="Which pairs of inputs lead to different actions?",
    ),
    Step(
        name="sweep",
        script="Neuron_Selection/ExperimentTooling/run_experiments.py",
        file=f"{RESULTS}/{SWEEP}",
        answers="What does each neuron, patched alone, change in each pair?",
    ),
    Step(
        name="analysis",
        script="Neuron_Selection/AnalysisTooling/analyze_metrics.py",
        file=f"{RESULTS}/{TABLE}",
        answers="Which neurons matter most, with which certainty?",
        beside=(f"{RESULTS}/{SUMMARY_FILE}",),
        loads_agent=False,
    ),
    Step(
        name="minimal_sets",
        script="Neuron_Selection/ExperimentTooling/find_minimal_sets.py",
        file=f"{RESULTS}/minimal_sets.json",
        answers="How many neurons does a decision need?",
        beside=(f"{RESULTS}/minimal_sets_curves.csv",),
    ),
    Step(
        name="edges",
        script="Neuron_Selection/ExperimentTooling/patch_edges.py",
        file=f"{RESULTS}/edges.json",
        answers="Through which connections do decisions come about?",
        beside=(f"{RESULTS}/edges_curve.csv", f"{RESULTS}/circuit.json"),
    ),
    Step(
        name="interactions",
        script="Neuron_Selection/ExperimentTooling/find_interactions.py",
        file=f"{RESULTS}/interactions.json",
        answers="Which neurons work together, or stand in for each other?",
        beside=(f"{RESULTS}/interactions.csv",),
    ),
    Step(
        name="attribution",
        script="Neuron_Selection/ExperimentTooling/attribute_neurons.py",
        file=f"{RESULTS}/attribution.json",
        answers="Do gradients find the same neurons?",
        beside=(f"{RESULTS}/attribution.csv",),
    ),
    Step(
        name="candidates",
        script="SaliencyTooling/initial_test.py",
        file=f"{GRADIENTS}/{CANDIDATES_FILE}",
        answers="Which weights feed the important neurons?",
    ),
    Step(
        name="perturbations",
        script="Parameter_Selection/PerturbationTooling/perturb_weights.py",
        file=f"{PERTURBATIONS}/results.json",
        answers="Do these weights change decisions more than random ones?",
    ),
    Step(
        name="flips",
        script="Parameter_Selection/PerturbationTooling/find_smallest_flips.py",
        file=f"{PERTURBATIONS}/smallest_flips.json",
        answers="What is the smallest change of a weight that changes a decision?",
    ),
    Step(
        name="exact",
        script="Parameter_Selection/RolloutTooling/run_rollouts.py",
        file=f"{ROLLOUTS}/rollouts_exact.json",
        answers="Does behaviour change, in every state of a world with finitely many?",
        flags=("--exact", "--neurons", "all"),
    ),
    Step(
        name="rollouts",
        script="Parameter_Selection/RolloutTooling/run_rollouts.py",
        file=f"{ROLLOUTS}/rollouts.json",
        answers="Does behaviour change, over whole episodes?",
        beside=(f"{ROLLOUTS}/rollouts_frames.zip",),
        flags=("--from", SUMMARY_FILE, "--frames"),
    ),
)


def step_command(step: Step, folder: Path, *, recorded: Iterable[object] = (), overwrite: bool = False) -> str:
    """The command of a step for the agent in a folder.

    :param recorded: the commands of other steps, whose flags on custom classes and VecNormalize are repeated
    """
    words = list(step.flags)
    if step.name in _EPISODES and not _environment_is_known(folder):
        words += ["--env", "ENV"]
    words += ["--overwrite"] if overwrite else []
    loaded = [loading_of(command) for command in recorded if isinstance(command, Mapping)]
    loading = next((one for one in loaded if any(vars(one).values())), None) if step.loads_agent else None
    return next_command(step.script, "--agent_path", folder, *words, loading=loading)


def _environment_is_known(folder: Path) -> bool:
    """Whether ``--env`` can be left out: an environment was recorded, and by an id, not by code."""
    path = folder / INPUTS / ENVIRONMENT_FILE
    return is_there(path) and ":" not in load_environment_record(path).env
