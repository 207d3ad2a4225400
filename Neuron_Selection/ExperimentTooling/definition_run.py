"""Write a definitions file, as ``generate_definitions.py`` does."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from Neuron_Selection.errors import InputError, UsageError, shown
from Neuron_Selection.ExperimentTooling.definition_lists import (
    groups_of_neurons,
    random_sets,
    single_neurons,
    sorted_spec,
    whole_layers,
)
from Neuron_Selection.ExperimentTooling.hidden_layers import hidden_layers
from Neuron_Selection.FileFormats.definitions import (
    definitions_bytes,
    is_definitions_metadata,
    load_random_sets,
    save_definitions,
)
from Neuron_Selection.FileFormats.patch_spec import Neurons, format_patch_spec, patch_configuration
from Neuron_Selection.FileFormats.provenance import check_outputs, meta_path
from Neuron_Selection.FileFormats.storage.atomic_files import read_bytes
from Neuron_Selection.PatchingTooling.opened_agent import OpenedAgent

GROUP_SIZE = 8


def write_definitions(
    agent: OpenedAgent,
    *,
    kind: str,
    layers: Sequence[str] | None,
    group_size: int | None,
    patch_specs: Sequence[str] | None,
    sets: int,
    seed: int | None,
    output: str | None,
    overwrite: bool,
) -> tuple[Path, list[dict[str, Neurons]], bool]:
    """Write a list of patches; return the path, the patches, and whether the file is new.

    :param kind: single_neuron, layer, groups or custom
    :raises UsageError: arguments that cannot be used together, or a patch that the agent does not have
    :raises InputError: the file exists with other content
    """
    if seed is not None and not sets:
        raise UsageError("--seed can only be used with --random_sets")
    chosen = _patches(agent, kind, layers, group_size, patch_specs)
    patches = [*chosen, *random_sets(agent.layer_table, chosen, sets, seed=seed or 0)]
    drawn = list(range(len(chosen) + 1, len(patches) + 1))
    path = Path(output) if output else agent.folder.folder / f"{kind}_definitions.json"
    stored = [patch_configuration(patch) for patch in patches]
    if path.exists() and not overwrite:
        if read_bytes(path) == definitions_bytes(stored) and list(load_random_sets(path)) == drawn:
            return path, patches, False
        raise InputError(path, problem="already exists with other definitions; pass --overwrite to replace it")
    metadata_path = meta_path(path)
    if drawn and metadata_path.exists() and not overwrite and not is_definitions_metadata(metadata_path):
        raise InputError(metadata_path, problem="already exists and belongs to another file; pass another --output")
    check_outputs([path, metadata_path], [agent.folder.zip_path])
    run = {"task": "definitions", "type": kind, "random_sets": drawn, "seed": seed or 0}
    command = {"script": "generate_definitions.py"}
    save_definitions(path, stored, metadata=agent.metadata(run, command=command) if drawn else None)
    return path, patches, True


def _patches(
    agent: OpenedAgent,
    kind: str,
    layers: Sequence[str] | None,
    group_size: int | None,
    patch_specs: Sequence[str] | None,
) -> list[dict[str, Neurons]]:
    table = agent.layer_table
    if (patch_specs is not None) != (kind == "custom"):
        raise UsageError("--patch_spec and --type custom can only be used together")
    if group_size is not None and kind != "groups":
        raise UsageError(f"--group_size cannot be used with --type {kind}", hint="only with groups")
    if patch_specs is not None:
        if layers is not None:
            raise UsageError("--layers cannot be used with --patch_spec, which names its layers")
        patches = [table.resolve(spec) for spec in patch_specs]
        for place, patch in enumerate(patches):
            if sorted_spec(patch) in map(sorted_spec, patches[:place]):
                raise UsageError(f"patch spec {shown(format_patch_spec(patch))} is given twice")
        return patches
    chosen = hidden_layers(agent, layers)
    if kind == "layer":
        return whole_layers(chosen)
    return (
        single_neurons(table, chosen)
        if kind == "single_neuron"
        else groups_of_neurons(table, chosen, group_size or GROUP_SIZE)
    )
