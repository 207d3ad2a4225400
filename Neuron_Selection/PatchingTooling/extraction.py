"""Record activations: inputs files in, activations files out."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

from Neuron_Selection.errors import InputError, UsageError, shown
from Neuron_Selection.FileFormats.activations import (
    activation_paths,
    activations_name,
    save_activations,
    stored_activations,
)
from Neuron_Selection.FileFormats.agent_zip.agent_folder import ACTIVATIONS, INPUTS, VISITED, output_folder
from Neuron_Selection.FileFormats.inputs import Inputs
from Neuron_Selection.FileFormats.provenance import check_outputs, is_up_to_date
from Neuron_Selection.PatchingTooling.opened_agent import OpenedAgent


@dataclass(frozen=True, kw_only=True, slots=True)
class ExtractedActivations:
    """The activations files of one inputs file; ``was_up_to_date``: an earlier run had written them."""

    inputs_path: Path
    npz_path: Path
    readable_path: Path
    n_inputs: int
    layers: tuple[str, ...]
    was_up_to_date: bool


Progress: TypeAlias = Callable[[Sequence[Any]], Iterable[Any]]


def extract_activations(
    agent: OpenedAgent,
    *,
    inputs: Sequence[str] | None = None,
    layers: Sequence[str] | None = None,
    output_dir: str | None = None,
    overwrite: bool = False,
    progress: Progress = iter,
) -> list[ExtractedActivations]:
    """Record the outputs of layers for every input of inputs files; every file is checked before a network runs.

    :param inputs: inputs files; None means every ``*_inputs.json`` of the agent's ``activation_inputs/`` except
        ``visited_inputs.json``, which may list tens of thousands of states
    :param layers: names; None means every layer with parameters or an activation function
    :param output_dir: None means the agent's ``activation_logging/``
    :param overwrite: replace activations of a different run
    :param progress: iterates over the files
    :return: one record for each inputs file
    :raises SuiteError: two inputs files whose activations would have one name, or an output of a different run
    """
    place = agent.folder.folder / INPUTS
    if inputs is None:
        inputs = [str(path) for path in sorted(place.glob("*_inputs.json")) if path.name != VISITED]
        if not inputs:
            raise InputError(place, problem="contains no *_inputs.json", hint="--inputs names inputs files")
    paths = [agent.folder.find(name, INPUTS) for name in inputs]
    names = [activations_name(path) for path in paths]
    for number, name in enumerate(names):
        if name in names[:number]:
            raise UsageError(f"the activations of two files would both be called {shown(name)}", field="--inputs")
    loaded = [agent.inputs_in(path) for path in paths]  # layers may need the network
    chosen = agent.layer_table.chosen(layers)
    folder = output_folder(output_dir, agent.folder.folder / ACTIVATIONS)
    for name in names:
        check_outputs(activation_paths(folder, name), [*paths, agent.folder.zip_path])
    jobs = [(one, *activation_paths(folder, name)) for one, name in zip(loaded, names, strict=True)]
    planned = [_metadata(agent, one, chosen) for one in loaded]
    done = [
        is_up_to_date(stored_activations(npz_path, readable_path), metadata, overwrite=overwrite)
        for (_, npz_path, readable_path), metadata in zip(jobs, planned, strict=True)
    ]
    extracted = []
    for (one, npz_path, readable_path), metadata, is_done in progress(list(zip(jobs, planned, done, strict=True))):
        if not is_done:
            _record(agent, one, chosen, npz_path=npz_path, readable_path=readable_path, metadata=metadata)
        extracted.append(
            ExtractedActivations(
                inputs_path=Path(one.where),
                npz_path=npz_path,
                readable_path=readable_path,
                n_inputs=len(one.ids),
                layers=tuple(chosen),
                was_up_to_date=is_done,
            )
        )
    return extracted


def _metadata(agent: OpenedAgent, inputs: Inputs, layers: list[str]) -> dict[str, Any]:
    run = {
        "task": "extraction",
        "inputs": inputs.described,
        "layers": layers,
        "stored_dtype": agent.stored_dtype.name,
    }
    command = {"script": "activation_extraction.py", "inputs": inputs.where, "layers": layers}
    return agent.metadata(run, command=command)


def _record(
    agent: OpenedAgent,
    inputs: Inputs,
    layers: list[str],
    *,
    npz_path: Path,
    readable_path: Path,
    metadata: dict[str, Any],
) -> None:
    recorded = agent.network.activations(inputs.observations, layers)
    values = {layer: array.astype(agent.stored_dtype, copy=False) for layer, array in recorded.items()}
    kinds = {layer: agent.layer_table.layers[layer].kind for layer in layers}
    save_activations(npz_path, readable_path, inputs.ids, values, metadata={**metadata, "layer_kinds": kinds})
