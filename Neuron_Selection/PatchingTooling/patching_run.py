"""Patch an agent and save the results, as ``activation_patching.py`` does."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

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
from Neuron_Selection.PatchingTooling.ablations import check_ablation_flags
from Neuron_Selection.PatchingTooling.opened_agent import OpenedAgent
from Neuron_Selection.PatchingTooling.patching_plan import PatchingPlan, ablated_source, plan_patching
from Neuron_Selection.PatchingTooling.patching_records import run_plan
from Neuron_Selection.PatchingTooling.sources import RecordedSource


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class PatchedFile:
    """One results file, or with ``by_input`` a folder of them.

    ``summaries``: counts over the inputs for each patch of the plan; None in a dry run. ``was_up_to_date``: an earlier
    run had written the results.
    """

    plan: PatchingPlan
    path: Path
    summaries: list[dict[str, Any]] | None
    was_up_to_date: bool


def patch(
    agent: OpenedAgent,
    *,
    target_input: Any = None,
    source_activations: Any = None,
    ablate: str | None = None,
    reference_inputs: Any = None,
    seed: int | None = None,
    direction: str | None = None,
    clean: Any = None,
    corrupted: Any = None,
    patch_spec: Sequence[str | Mapping[str, Any]] | None = None,
    patches_file: str | None = None,
    input_ids: Sequence[str] | None = None,
    allow_mismatch: bool = False,
    output_prefix: str | None = None,
    output_dir: str | None = None,
    by_input: bool = False,
    overwrite: bool = False,
    dry_run: bool = False,
) -> list[PatchedFile]:
    """Run patches on inputs and write the results; everything is checked before a network runs.

    Either ``direction`` (with ``clean`` and ``corrupted``), or ``target_input`` with ``source_activations`` or
    ``ablate``. The parameters are the flags of ``activation_patching.py``; inputs may be arrays as well.

    :param patch_spec: patches, each a spec or ``{layer: neurons}``; or ``patches_file``, a definitions file
    :param dry_run: check everything and write nothing
    :return: one record for each direction
    :raises SuiteError: arguments that cannot be used together, or an output of a different run
    """
    given = {
        "target_input": target_input,
        "source_activations": source_activations,
        "ablate": ablate,
        "reference_inputs": reference_inputs,
        "seed": seed,
        "direction": direction,
        "clean": clean,
        "corrupted": corrupted,
        "patch_spec": patch_spec,
        "patches_file": patches_file,
        "allow_mismatch": allow_mismatch or None,
    }
    _check_flags({flag: value for flag, value in given.items() if value is not None})
    listed = None if patches_file is None else agent.folder.find(patches_file, ".")
    specs: list[Any] = list(patch_spec or ()) if listed is None else list(load_definitions(listed))
    plan = partial(plan_patching, agent, patch_specs=specs, input_ids=input_ids, allow_mismatch=allow_mismatch)
    if direction is not None:
        runs = {"clean": agent.inputs(clean or CLEAN), "corrupted": agent.inputs(corrupted or CORRUPTED)}
        plans = [
            plan(target=runs[target], source=RecordedSource(inputs=runs[source]), direction=one)
            for one in directions_of(direction)
            for target, source in [TARGETS[one]]
        ]
    elif ablate is not None:
        ablated = ablated_source(agent, ablate, reference_inputs, seed=seed or 0)
        check_ablation_flags(ablated.ablation, has_reference=reference_inputs is not None, has_seed=seed is not None)
        plans = [plan(target=target_input, source=ablated)]
    else:
        plans = [plan(target=target_input, source=source_activations)]
    random_sets = () if listed is None else load_random_sets(listed)
    plans = [replace(one, random_sets=random_sets) for one in plans]
    folder = output_folder(output_dir, agent.folder.folder / RESULTS)
    paths = [_path(folder, output_prefix, one, by_input=by_input, alone=len(plans) == 1) for one in plans]
    named = [one.target.where for one in plans] + [name for one in plans for name in one.source.files]
    read = [*map(Path, named), agent.folder.zip_path, *([] if listed is None else [listed])]
    described = {"script": "activation_patching.py"}
    commands = [{**described, **one.described} for one in plans]
    done = [
        _stored_summaries(agent, one, path, command, by_input=by_input, overwrite=overwrite)
        for one, path, command in zip(plans, paths, commands, strict=True)
    ]
    check_outputs([output for path in paths for output in (path, meta_path(path))], read)
    files = []
    for one, path, command, summaries in zip(plans, paths, commands, done, strict=True):
        if summaries is None and not dry_run:
            results = run_plan(agent, one, command=command)
            if by_input:
                save_by_input(path, results.by_input(), metadata=results.metadata)
            else:
                save_patching_results(path, results, metadata=results.metadata)
            files.append(PatchedFile(plan=one, path=path, summaries=results.metadata["summary"], was_up_to_date=False))
        else:
            files.append(PatchedFile(plan=one, path=path, summaries=summaries, was_up_to_date=summaries is not None))
    return files


def _check_flags(given: Mapping[str, Any]) -> None:
    """Raise for flags that are missing, and for those that would have no effect."""
    if ("patch_spec" in given) == ("patches_file" in given):
        raise UsageError("exactly one of --patch_spec and --patches_file is required")
    if "direction" in given:
        way = "--direction"
    elif "target_input" not in given:
        raise UsageError("--target_input is required, or --direction with --clean and --corrupted")
    elif ("source_activations" in given) == ("ablate" in given):
        raise UsageError("exactly one of --source_activations and --ablate is required")
    else:
        way = "--ablate" if "ablate" in given else "--source_activations"
    names, hint = _WITHOUT_EFFECT[way]
    for name in names:
        if name in given:
            raise UsageError(f"--{name} cannot be used with {way}", hint=hint)


_WITHOUT_EFFECT = {
    "--direction": (
        ("target_input", "source_activations", "ablate", "reference_inputs", "seed", "allow_mismatch"),
        "use --clean and --corrupted",
    ),
    "--source_activations": (
        ("clean", "corrupted", "reference_inputs", "seed"),
        "--clean and --corrupted belong to --direction, --reference_inputs and --seed to --ablate",
    ),
    "--ablate": (("clean", "corrupted", "allow_mismatch"), "use --target_input"),
}


def _path(folder: Path, output_prefix: str | None, plan: PatchingPlan, *, by_input: bool, alone: bool) -> Path:
    """The results file, or with ``by_input`` the folder of results."""
    if by_input:
        named = folder
        if output_prefix:
            named = results_path(folder, output_prefix).with_suffix("")
            refuse_link(named)
        return named / (plan.direction or "by_input")
    prefix = output_prefix or "patching"
    return patching_results_path(folder, prefix if alone else f"{prefix}_{plan.direction}")


def _stored_summaries(
    agent: OpenedAgent,
    plan: PatchingPlan,
    path: Path,
    command: Mapping[str, Any],
    *,
    by_input: bool,
    overwrite: bool,
) -> list[dict[str, Any]] | None:
    """The summaries of results that are up to date, None where they are to be made.

    :raises InputError: the results of a different run exist
    """
    planned = agent.metadata(plan.decisive, command=command)
    stored = stored_folder(path) if by_input else stored_results(path)
    done = is_up_to_date(stored, planned, overwrite=overwrite)
    return stored.complete["summary"] if done and stored.complete is not None else None
