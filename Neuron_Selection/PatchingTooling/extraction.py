"""Inputs files in, activations files out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from Neuron_Selection.errors import InputError, UsageError, shown
from Neuron_Selection.FileFormats.activations import (
    activation_paths,
    activations_name,
    save_activations,
    stored_activations,
)
from Neuron_Selection.FileFormats.agent_zip.agent_folder import INPUTS
from Neuron_Selection.FileFormats.inputs import Inputs, load_inputs
from Neuron_Selection.FileFormats.provenance import check_outputs, is_up_to_date

if TYPE_CHECKING:
    from Neuron_Selection.PatchingTooling.experiment import PatchingExperiment


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class ExtractionPlan:
    """One inputs file, the layers to record, and where the two files go."""

    inputs: Inputs
    layers: list[str]
    npz_path: Path
    readable_path: Path
    metadata: dict[str, Any]
    is_up_to_date: bool


def plan_extraction(
    experiment: PatchingExperiment,
    inputs: Sequence[str] | None,
    *,
    folder: Path,
    layers: Sequence[str] | None,
    overwrite: bool,
) -> list[ExtractionPlan]:
    """Check every file, layer and output before anything runs.

    :param inputs: inputs files; None means every ``*_inputs.json`` of the agent's ``activation_inputs/``
    :param folder: where the activations go
    :raises SuiteError: two inputs files whose activations would have one name, or an output of a different run
    """
    place = experiment.folder.folder / INPUTS
    if inputs is None:
        inputs = [str(path) for path in sorted(place.glob("*_inputs.json"))]
        if not inputs:
            raise InputError(place, found="no *_inputs.json", expected="one, or --inputs FILE")
    paths = [experiment.folder.find(name, INPUTS) for name in inputs]
    names = [activations_name(path) for path in paths]
    for number, name in enumerate(names):
        if name in names[:number]:
            raise UsageError(f"--inputs: found two files whose activations would be called {shown(name)}, expected one")
    space = experiment.agent_zip.observation_space
    inputs_of = [load_inputs(path, space) for path in paths]  # before the layers, which may need the network built
    chosen = experiment.layer_table.chosen(layers)
    plans = []
    for path, name, loaded in zip(paths, names, inputs_of, strict=True):
        npz_path, readable_path = activation_paths(folder, name)
        check_outputs([npz_path, readable_path], [*paths, experiment.folder.zip_path])
        metadata = experiment.metadata(
            {
                "task": "extraction",
                "inputs": {"name": path.name, "sha256": loaded.sha256},
                "layers": chosen,
                "stored_dtype": experiment.stored_dtype.name,
            },
            command={"script": "activation_extraction.py", "inputs": str(path), "layers": chosen},
        )
        done = is_up_to_date(stored_activations(npz_path, readable_path), metadata, overwrite=overwrite)
        plans.append(
            ExtractionPlan(
                inputs=loaded,
                layers=chosen,
                npz_path=npz_path,
                readable_path=readable_path,
                metadata=metadata,
                is_up_to_date=done,
            )
        )
    return plans


def extract_activations(experiment: PatchingExperiment, plan: ExtractionPlan) -> dict[str, Any]:
    """Run one plan, unless its files are up to date.

    :return: a summary: what was recorded and where it lies
    """
    if not plan.is_up_to_date:
        recorded = experiment.activations(plan.inputs, layers=plan.layers)
        values = {layer: array.astype(experiment.stored_dtype, copy=False) for layer, array in recorded.items()}
        kinds = {layer: experiment.layer_table.layers[layer].kind for layer in plan.layers}
        metadata = {**plan.metadata, "layer_kinds": kinds}
        save_activations(plan.npz_path, plan.readable_path, plan.inputs.ids, values, metadata=metadata)
    return {
        "npz": str(plan.npz_path),
        "readable": str(plan.readable_path),
        "inputs": len(plan.inputs.ids),
        "layers": len(plan.layers),
        "written": not plan.is_up_to_date,
    }
