"""What ``run_experiments.py`` does: a sweep planned, run unless up to date, and told input by input on request."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from Neuron_Selection.ExperimentTooling.engine_choice import open_for_experiments
from Neuron_Selection.ExperimentTooling.sweeps.plan import SweepPlan, plan_sweep
from Neuron_Selection.ExperimentTooling.sweeps.records import write_by_input
from Neuron_Selection.ExperimentTooling.sweeps.sweep import Progress, write_sweep
from Neuron_Selection.FileFormats.agent_zip.agent_folder import RESULTS, output_folder
from Neuron_Selection.FileFormats.provenance import check_outputs, is_up_to_date
from Neuron_Selection.FileFormats.results.patching_results import results_path
from Neuron_Selection.FileFormats.results.results_by_input import stored_folder
from Neuron_Selection.FileFormats.results.sweep import stored_sweep
from Neuron_Selection.FileFormats.storage.atomic_files import refuse_link
from Neuron_Selection.PatchingTooling.experiment import PatchingExperiment

PREFIX = "sweep"


@dataclass(frozen=True, kw_only=True, slots=True)
class SweepRequest:
    """What was asked for."""

    definitions: str | None
    clean: str
    corrupted: str
    direction: str | None
    ablate: str | None
    reference_inputs: str | None
    seed: int | None
    input_ids: Sequence[str] | None
    by_input: bool
    output_prefix: str | None
    output_dir: str | None
    overwrite: bool


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class SweepJob:
    """A plan and where its results go. ``stored``: what the file that is there says, None where it is to be made.

    ``folders``: direction to the folder of results by input that is to be made.
    """

    experiment: PatchingExperiment
    engine_reason: str
    plan: SweepPlan
    path: Path
    folders: Mapping[str, Path]
    metadata: Mapping[str, Any]
    stored: Mapping[str, Any] | None


def plan_sweep_job(
    agent_path: str, options: Mapping[str, Any], request: SweepRequest, *, command: Mapping[str, Any]
) -> SweepJob:
    """Check all that was asked for, and what lies where the results shall go.

    :param options: what ``open_for_experiments`` takes
    :raises SuiteError: flags that do not go together, or an output of a different run
    """
    experiment, reason = open_for_experiments(agent_path, **options)
    plan = plan_sweep(
        experiment,
        definitions=request.definitions,
        clean=request.clean,
        corrupted=request.corrupted,
        direction=request.direction,
        ablate=request.ablate,
        reference_inputs=request.reference_inputs,
        seed=request.seed,
        input_ids=request.input_ids,
    )
    out = output_folder(request.output_dir, experiment.folder.folder / RESULTS)
    named = results_path(out, request.output_prefix or PREFIX)
    path = named.with_name(f"{named.name.removesuffix('.json')}.npz")
    metadata = experiment.metadata(plan.decisive, command=command)
    stored = stored_sweep(path)
    done = is_up_to_date(stored, metadata, overwrite=request.overwrite)
    by_input = out
    if request.output_prefix and request.by_input:
        by_input = named.with_name(named.stem)
        refuse_link(by_input)
    wanted = {direction: by_input / direction for direction in plan.directions} if request.by_input else {}
    folders = {
        direction: folder
        for direction, folder in wanted.items()
        if not is_up_to_date(stored_folder(folder), metadata, overwrite=request.overwrite)
    }
    inputs = [Path(one.where) for one in plan.inputs.values()]
    check_outputs([path], [*inputs, experiment.folder.zip_path])
    return SweepJob(
        experiment=experiment,
        engine_reason=reason,
        plan=plan,
        path=path,
        folders=folders,
        metadata=metadata,
        stored=stored.complete if done else None,
    )


def run_sweep_job(job: SweepJob, *, progress: Progress | None = None) -> Mapping[str, Any]:
    """Run what is not done yet; what the sweep file says of itself."""
    told = job.stored
    if told is None:
        told = write_sweep(job.path, job.experiment, job.plan, metadata=job.metadata, progress=progress)
    if job.folders:
        write_by_input(job.path, job.folders, metadata=job.metadata)
    return told
