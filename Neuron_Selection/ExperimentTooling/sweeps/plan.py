"""What a sweep will do, with all that can be checked before a network runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from Neuron_Selection.errors import InputError, UsageError, shown
from Neuron_Selection.ExperimentTooling.definition_lists import single_neurons, sorted_spec
from Neuron_Selection.ExperimentTooling.hidden_layers import hidden_layers
from Neuron_Selection.ExperimentTooling.paired_inputs import paired_inputs
from Neuron_Selection.FileFormats.agent_zip.agent_folder import CLEAN, CORRUPTED
from Neuron_Selection.FileFormats.definitions import load_definitions, load_random_sets
from Neuron_Selection.FileFormats.directions import DIRECTIONS, TARGETS, directions_of
from Neuron_Selection.FileFormats.inputs import Inputs
from Neuron_Selection.FileFormats.patch_spec import Neurons, format_patch_spec, patch_configuration
from Neuron_Selection.FileFormats.results.sweep import SweepGroup, groups_of
from Neuron_Selection.FileFormats.storage.atomic_files import sha256_of
from Neuron_Selection.PatchingTooling.experiment import PatchingExperiment
from Neuron_Selection.PatchingTooling.patching.sources import AblatedSource


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class SweepPlan:
    """``inputs``: clean and corrupted, the same ids in the same order. ``ablated`` is None for patching.

    ``random_sets``: which patches were drawn as control, as positions from 1.
    """

    inputs: Mapping[str, Inputs]
    patches: tuple[dict[str, Neurons], ...]
    directions: tuple[str, ...]
    ablated: AblatedSource | None
    random_sets: tuple[int, ...] = ()

    @property
    def ids(self) -> tuple[str, ...]:
        """The ids of the pairs."""
        return self.inputs["clean"].ids

    @property
    def groups(self) -> tuple[SweepGroup, ...]:
        """The experiments by the layers that they patch."""
        return groups_of(self.patches)

    @property
    def layers(self) -> tuple[str, ...]:
        """Every layer that some experiment patches, each once."""
        return tuple(dict.fromkeys(layer for patch in self.patches for layer in patch))

    @property
    def told(self) -> dict[str, dict[str, str]]:
        """Source and target of each direction, for people."""
        told = {}
        for direction in self.directions:
            target, source = (Path(self.inputs[run].where).name for run in TARGETS[direction])
            told[direction] = {"source": source if self.ablated is None else self.ablated.name, "target": target}
        return told

    @property
    def decisive(self) -> dict[str, Any]:
        """All that decides the values, for the metadata."""
        return {
            "task": "sweep",
            **{run: {"name": Path(inputs.where).name, "sha256": inputs.sha256} for run, inputs in self.inputs.items()},
            "directions": list(self.directions),
            "ablation": None if self.ablated is None else self.ablated.decisive,
            "patches_sha256": sha256_of("\n".join(format_patch_spec(patch) for patch in self.patches).encode()),
            **({"random_sets": list(self.random_sets)} if self.random_sets else {}),
            "input_ids": sha256_of("\n".join(self.ids).encode()),
        }

    @property
    def header(self) -> dict[str, Any]:
        """What a sweep file says of itself beside its metadata."""
        clusters = {**self.inputs["corrupted"].clusters, **self.inputs["clean"].clusters}
        return {
            "ids": list(self.ids),
            "clusters": {input_id: clusters[input_id] for input_id in self.ids if input_id in clusters},
            "patches": [patch_configuration(patch) for patch in self.patches],
            "directions": self.told,
        }


def plan_sweep(
    experiment: PatchingExperiment,
    *,
    definitions: str | Sequence[Mapping[str, Any]] | None = None,
    clean: Any = CLEAN,
    corrupted: Any = CORRUPTED,
    direction: str | None = None,
    ablate: str | None = None,
    reference_inputs: Any = None,
    seed: int | None = None,
    input_ids: Sequence[str] | None = None,
) -> SweepPlan:
    """Put a sweep together.

    :param definitions: a file, or patches; None is every hidden neuron by itself
    :param clean: an inputs file or arrays, and so ``corrupted``
    :param direction: denoising, noising or both; None is both, with ``ablate`` noising
    :param ablate: take neurons out in the place of patching in the other run's values
    :param seed: of resample and noise; None is 0
    :raises SuiteError: files that do not fit together, a patch that the agent does not have
    """
    direction = direction or ("both" if ablate is None else "noising")
    if direction not in (*DIRECTIONS, "both"):
        raise UsageError(f"direction: found {shown(direction)}, expected denoising, noising or both")
    ablated = None
    if ablate is not None:
        ablated = experiment.ablated_source(ablate, reference_inputs, seed=seed or 0)
    if reference_inputs is not None and (ablated is None or not ablated.ablation.needs_reference):
        raise UsageError("found --reference_inputs, expected it with --ablate mean or noise only")
    if seed is not None and (ablated is None or not ablated.ablation.is_drawn):
        raise UsageError("found --seed, expected it with --ablate resample or noise only: nothing else is drawn")
    patches, random_sets = _patches(experiment, definitions)
    pairs = paired_inputs(experiment, clean=clean, corrupted=corrupted, input_ids=input_ids)
    return SweepPlan(
        inputs=dict(zip(("clean", "corrupted"), pairs, strict=True)),
        patches=tuple(patches),
        directions=directions_of(direction),
        ablated=ablated,
        random_sets=random_sets,
    )


def _patches(
    experiment: PatchingExperiment, definitions: str | Sequence[Mapping[str, Any]] | None
) -> tuple[list[dict[str, Neurons]], tuple[int, ...]]:
    """The patches, and which of them are random sets."""
    if definitions is None:
        return _every_hidden_neuron(experiment), ()
    random_sets: tuple[int, ...] = ()
    if isinstance(definitions, str):
        path = experiment.folder.find(definitions, ".")
        listed: Sequence[Mapping[str, Any]] = load_definitions(path)
        random_sets = load_random_sets(path)
        where = str(path)
    else:
        listed, where = definitions, "definitions"
    if not listed:
        raise UsageError("definitions: found none, expected at least one patch")
    patches = [_resolved(experiment, patch, where, number) for number, patch in enumerate(listed, start=1)]
    seen: dict[str, int] = {}
    for number, patch in enumerate(patches, start=1):
        spec = sorted_spec(patch)
        if spec in seen:
            raise InputError(where, f"entry {number}", found=f"{shown(spec)} as in entry {seen[spec]}", expected="once")
        seen[spec] = number
    return patches, random_sets


def _every_hidden_neuron(experiment: PatchingExperiment) -> list[dict[str, Neurons]]:
    try:
        return single_neurons(experiment.layer_table, hidden_layers(experiment))
    except UsageError as error:
        layer = experiment.layer_table.output or "LAYER"
        raise UsageError(
            "definitions: found no hidden layer, expected --definitions FILE "
            f"(generate_definitions.py --layers {layer} makes one)"
        ) from error


def _resolved(experiment: PatchingExperiment, patch: Mapping[str, Any], where: str, number: int) -> dict[str, Neurons]:
    try:
        return experiment.layer_table.resolve(patch)
    except UsageError as error:
        message = str(error).removeprefix("patch spec: ")
        raise InputError(where, f"entry {number}: {message}", hint="generate_definitions.py makes them") from error
