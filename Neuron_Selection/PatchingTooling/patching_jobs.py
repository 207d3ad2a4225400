"""What ``activation_patching.py`` does: runs planned from what was asked for, run unless up to date, and saved."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from Neuron_Selection.errors import UsageError
from Neuron_Selection.FileFormats.agent_zip.agent_folder import CLEAN, CORRUPTED, RESULTS, output_folder
from Neuron_Selection.FileFormats.definitions import load_definitions, load_random_sets
from Neuron_Selection.FileFormats.directions import TARGETS, directions_of
from Neuron_Selection.FileFormats.provenance import check_outputs, is_up_to_date, meta_path
from Neuron_Selection.FileFormats.results.patching_results import (
    patching_results_path,
    results_path,
    save_patching_results,
    stored_results,
)
from Neuron_Selection.FileFormats.results.results_by_input import (
    save_by_input,
    stored_folder,
)
from Neuron_Selection.FileFormats.storage.atomic_files import refuse_link
from Neuron_Selection.PatchingTooling.patching.plan import PatchingPlan

if TYPE_CHECKING:
    from Neuron_Selection.PatchingTooling.experiment import PatchingExperiment


@dataclass(frozen=True, kw_only=True, slots=True)
class PatchingRequest:
    """What was asked for. Either ``direction``, or a target with stored activations or an ablation."""

    target_input: str | None
    source_activations: str | None
    ablate: str | None
    reference_inputs: str | None
    seed: int | None
    direction: str | None
    clean: str | None
    corrupted: str | None
    patch_spec: Sequence[str] | None
    patches_file: str | None
    input_ids: Sequence[str] | None
    allow_mismatch: bool
    output_prefix: str | None
    output_dir: str | None
    by_input: bool
    overwrite: bool


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class PatchingJob:
    """One plan and where its results go; ``done`` is the summary of results that are up to date."""

    plan: PatchingPlan
    path: Path
    by_input: bool
    command: Mapping[str, Any]
    done: list[dict[str, Any]] | None


def plan_jobs(
    experiment: PatchingExperiment, request: PatchingRequest, *, command: Mapping[str, Any]
) -> list[PatchingJob]:
    """Check all that was asked for, and what lies where the results shall go.

    :raises SuiteError: flags that do not go together, or an output of a different run
    """
    _check_flags(request)
    listed = None if request.patches_file is None else experiment.folder.find(request.patches_file, ".")
    specs: list[Any] = list(request.patch_spec or ()) if listed is None else list(load_definitions(listed))
    random_sets = () if listed is None else load_random_sets(listed)
    folder = output_folder(request.output_dir, experiment.folder.folder / RESULTS)
    plans = [replace(plan, random_sets=random_sets) for plan in _plans(experiment, request, specs)]
    jobs = [
        _job(experiment, request, plan, _path(request, folder, plan, alone=len(plans) == 1), command) for plan in plans
    ]
    named = [plan.target.where for plan in plans] + [name for plan in plans for name in plan.source.files]
    read = [*map(Path, named), experiment.folder.zip_path, *([] if listed is None else [listed])]
    check_outputs([path for job in jobs for path in (job.path, meta_path(job.path))], read)
    return jobs


def run_job(experiment: PatchingExperiment, job: PatchingJob) -> list[dict[str, Any]]:
    """Run a job unless it is done; the summary of each of its experiments."""
    if job.done is not None:
        return job.done
    results = experiment.run_plan(job.plan, command=job.command)
    if job.by_input:
        save_by_input(job.path, results.by_input(), metadata=results.metadata)
    else:
        save_patching_results(job.path, results, metadata=results.metadata)
    summary: list[dict[str, Any]] = results.metadata["summary"]
    return summary


def _check_flags(request: PatchingRequest) -> None:
    """Raise for flags that miss each other, and for those that would have no say."""
    if (request.patch_spec is None) == (request.patches_file is None):
        raise UsageError("found both or none of --patch_spec and --patches_file, expected one")
    if request.direction is not None:
        way = "--direction"
    elif request.target_input is None:
        raise UsageError("found no --target_input, expected it, or --direction with --clean and --corrupted")
    elif (request.source_activations is None) == (request.ablate is None):
        raise UsageError("found both or none of --source_activations and --ablate, expected one")
    else:
        way = "--ablate" if request.ablate is not None else "--source_activations"
    names, expected = _WITHOUT_SAY[way]
    for name in names:
        value = getattr(request, name)
        if value is not None and value is not False:  # a seed of 0 is given as well
            raise UsageError(f"found --{name} beside {way}, expected {expected}")


_WITHOUT_SAY = {
    "--direction": (
        ("target_input", "source_activations", "ablate", "reference_inputs", "seed", "allow_mismatch"),
        "--clean and --corrupted with it",
    ),
    "--source_activations": (
        ("clean", "corrupted", "reference_inputs", "seed"),
        "it with --direction (--clean, --corrupted) or --ablate (--reference_inputs, --seed)",
    ),
    "--ablate": (("clean", "corrupted", "allow_mismatch"), "--target_input, and --reference_inputs for mean and noise"),
}


def _plans(experiment: PatchingExperiment, request: PatchingRequest, specs: list[Any]) -> list[PatchingPlan]:
    if request.direction is None:
        source: Any = request.source_activations
        if request.ablate is not None:
            source = experiment.ablated_source(request.ablate, request.reference_inputs, seed=request.seed or 0)
            if request.reference_inputs is not None and not source.ablation.needs_reference:
                raise UsageError(f"found --reference_inputs, expected none with --ablate {source.ablation.kind}")
            if request.seed is not None and not source.ablation.is_drawn:
                raise UsageError(f"found --seed, expected none with --ablate {source.ablation.kind}: nothing is drawn")
        return [
            experiment.plan_patching(
                request.target_input,
                specs,
                source=source,
                input_ids=request.input_ids,
                allow_mismatch=request.allow_mismatch,
            )
        ]
    clean, corrupted = experiment.inputs(request.clean or CLEAN), experiment.inputs(request.corrupted or CORRUPTED)
    runs = {"clean": clean, "corrupted": corrupted}
    plans = []
    for direction in directions_of(request.direction):
        target, source = (runs[run] for run in TARGETS[direction])
        plans.append(
            experiment.plan_patching(
                target,
                specs,
                source=experiment.recorded_source(source),
                input_ids=request.input_ids,
                direction=direction,
            )
        )
    return plans


def _path(request: PatchingRequest, folder: Path, plan: PatchingPlan, *, alone: bool) -> Path:
    """The results file, or with ``--by_input`` the folder of results."""
    if request.by_input:
        named = folder
        if request.output_prefix:
            named = results_path(folder, request.output_prefix).with_suffix("")
            refuse_link(named)
        return named / (plan.direction or "by_input")
    prefix = request.output_prefix or "patching"
    return patching_results_path(folder, prefix if alone else f"{prefix}_{plan.direction}")


def _job(
    experiment: PatchingExperiment,
    request: PatchingRequest,
    plan: PatchingPlan,
    path: Path,
    command: Mapping[str, Any],
) -> PatchingJob:
    planned = experiment.metadata(plan.decisive, command=command)
    stored = stored_folder(path) if request.by_input else stored_results(path)
    done = is_up_to_date(stored, planned, overwrite=request.overwrite)
    summary = stored.complete["summary"] if done and stored.complete is not None else None
    return PatchingJob(plan=plan, path=path, by_input=request.by_input, command=command, done=summary)
