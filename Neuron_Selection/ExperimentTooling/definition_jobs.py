"""What ``generate_definitions.py`` does: the list that was asked for, checked and written."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from Neuron_Selection.errors import UsageError, shown
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
from Neuron_Selection.PatchingTooling.experiment import OpenedAgent

GROUP_SIZE = 8


def write_definitions(
    experiment: OpenedAgent,
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
    """Write the list; the path, the patches, and whether the file is new.

    :param kind: single_neuron, layer, groups or custom
    :raises UsageError: flags that do not go together, a patch that the agent does not have, or another file there
    """
    if seed is not None and not sets:
        raise UsageError("found --seed, expected it with --random_sets only: without them nothing is drawn")
    chosen = _patches(experiment, kind, layers, group_size, patch_specs)
    patches = [*chosen, *random_sets(experiment.layer_table, chosen, sets, seed=seed or 0)]
    drawn = list(range(len(chosen) + 1, len(patches) + 1))
    path = Path(output) if output else experiment.folder.folder / f"{kind}_definitions.json"
    stored = [patch_configuration(patch) for patch in patches]
    if path.exists() and not overwrite:
        if read_bytes(path) == definitions_bytes(stored) and list(load_random_sets(path)) == drawn:
            return path, patches, False
        raise UsageError(f"{path}: found other definitions, expected none (--overwrite replaces them)")
    beside = meta_path(path)
    if drawn and beside.exists() and not overwrite and not is_definitions_metadata(beside):
        raise UsageError(f"{beside}: found another file's metadata, expected none (--output takes another name)")
    check_outputs([path, beside], [experiment.folder.zip_path])
    run = {"task": "definitions", "type": kind, "random_sets": drawn, "seed": seed or 0}
    command = {"script": "generate_definitions.py", "agent_path": str(experiment.folder.folder)}
    save_definitions(path, stored, metadata=experiment.metadata(run, command=command) if drawn else None)
    return path, patches, True


def _patches(
    experiment: OpenedAgent,
    kind: str,
    layers: Sequence[str] | None,
    group_size: int | None,
    patch_specs: Sequence[str] | None,
) -> list[dict[str, Neurons]]:
    table = experiment.layer_table
    if (patch_specs is not None) != (kind == "custom"):
        raise UsageError("found one of --patch_spec and --type custom, expected both or none")
    if group_size is not None and kind != "groups":
        raise UsageError(f"found --group_size with --type {kind}, expected it with groups only")
    if patch_specs is not None:
        if layers is not None:
            raise UsageError("found --layers beside --patch_spec, expected the layers inside it")
        patches = [table.resolve(spec) for spec in patch_specs]
        for place, patch in enumerate(patches):
            if sorted_spec(patch) in map(sorted_spec, patches[:place]):
                raise UsageError(f"patch spec: found {shown(format_patch_spec(patch))} twice, expected once")
        return patches
    chosen = hidden_layers(experiment, layers)
    if kind == "layer":
        return whole_layers(chosen)
    return (
        single_neurons(table, chosen)
        if kind == "single_neuron"
        else groups_of_neurons(table, chosen, group_size or GROUP_SIZE)
    )
