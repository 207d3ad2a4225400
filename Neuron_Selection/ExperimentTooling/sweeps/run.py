"""Run a sweep and save it, as ``run_experiments.py`` does."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from Neuron_Selection.ExperimentTooling.sweeps.plan import SweepPlan, plan_sweep
from Neuron_Selection.ExperimentTooling.sweeps.records import write_by_input
from Neuron_Selection.ExperimentTooling.sweeps.sweep import Progress, write_sweep
from Neuron_Selection.FileFormats.agent_zip.agent_folder import CLEAN, CORRUPTED, RESULTS, output_folder
from Neuron_Selection.FileFormats.provenance import check_outputs, is_up_to_date
from Neuron_Selection.FileFormats.results.patching_results import results_path
from Neuron_Selection.FileFormats.results.results_by_input import stored_folder
from Neuron_Selection.FileFormats.results.sweep import stored_sweep
from Neuron_Selection.FileFormats.storage.atomic_files import refuse_link
from Neuron_Selection.PatchingTooling.opened_agent import OpenedAgent

PREFIX = "sweep"


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class SweepRun:
    """A sweep file and what it reports.

    ``header``: the metadata of the file, None in a dry run. ``was_up_to_date``: an earlier run had written it.
    ``folders``: direction to the folder of results by input that was written now.
    """

    plan: SweepPlan
    path: Path
    header: Mapping[str, Any] | None
    was_up_to_date: bool
    folders: Mapping[str, Path]


def run_sweep(
    agent: OpenedAgent,
    *,
    definitions: str | Sequence[Mapping[str, Any]] | None = None,
    clean: Any = CLEAN,
    corrupted: Any = CORRUPTED,
    direction: str | None = None,
    ablate: str | None = None,
    reference_inputs: Any = None,
    seed: int | None = None,
    input_ids: Sequence[str] | None = None,
    by_input: bool = False,
    output_prefix: str | None = None,
    output_dir: str | None = None,
    overwrite: bool = False,
    dry_run: bool = False,
    progress: Progress | None = None,
) -> SweepRun:
    """Patch or ablate every hidden neuron (or every patch of ``definitions``) on every pair, and write the sweep.

    The parameters are the flags of ``run_experiments.py``; inputs may be arrays, and definitions a list of patches.

    :param dry_run: check everything and write nothing
    :param progress: wraps the blocks of inputs and their number
    :raises SuiteError: arguments that cannot be used together, or an output of a different run
    """
    plan = plan_sweep(
        agent,
        definitions=definitions,
        clean=clean,
        corrupted=corrupted,
        direction=direction,
        ablate=ablate,
        reference_inputs=reference_inputs,
        seed=seed,
        input_ids=input_ids,
    )
    out = output_folder(output_dir, agent.folder.folder / RESULTS)
    named = results_path(out, output_prefix or PREFIX)
    path = named.with_name(f"{named.name.removesuffix('.json')}.npz")
    command = {"script": "run_experiments.py", **plan.described}
    metadata = agent.metadata(plan.decisive, command=command)
    stored = stored_sweep(path)
    done = is_up_to_date(stored, metadata, overwrite=overwrite)
    place = out
    if output_prefix and by_input:
        place = named.with_name(named.stem)
        refuse_link(place)
    folders = {
        one: place / one
        for one in (plan.directions if by_input else ())
        if not is_up_to_date(stored_folder(place / one), metadata, overwrite=overwrite)
    }
    check_outputs([path], [*(Path(inputs.where) for inputs in plan.inputs.values()), agent.folder.zip_path])
    header = stored.complete if done else None
    if not dry_run:
        if header is None:
            header = write_sweep(path, agent, plan, metadata=metadata, progress=progress)
        if folders:
            write_by_input(path, folders, metadata=metadata)
    return SweepRun(plan=plan, path=path, header=header, was_up_to_date=done, folders=folders)
