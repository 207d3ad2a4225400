"""Plans of sweeps: pairs, patches and directions, checked before a network runs."""

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
from Neuron_Selection.FileFormats.definitions import load_definitions, load_random_sets, patch_error
from Neuron_Selection.FileFormats.directions import DIRECTIONS, TARGETS, directions_of
from Neuron_Selection.FileFormats.inputs import Inputs
from Neuron_Selection.FileFormats.patch_spec import Neurons, format_patch_spec, patch_configuration
from Neuron_Selection.FileFormats.results.sweep import SweepGroup, groups_of
from Neuron_Selection.FileFormats.storage.atomic_files import sha256_of
from Neuron_Selection.PatchingTooling.ablations import check_ablation_flags
from Neuron_Selection.PatchingTooling.opened_agent import OpenedAgent
from Neuron_Selection.PatchingTooling.patching_plan import ablated_source
from Neuron_Selection.PatchingTooling.sources import AblatedSource


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class SweepPlan:
    """``inputs``: clean and corrupted, the same ids in the same order. ``ablated`` is None for patching.

    ``random_sets``: which patches are random controls, as positions from 1.
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
        """Every patched layer, once."""
        return tuple(dict.fromkeys(layer for patch in self.patches for layer in patch))

    @property
    def runs_by_direction(self) -> dict[str, dict[str, str]]:
        """Direction to the names of its source and target."""
        runs = {}
        for direction in self.directions:
            target, source = (Path(self.inputs[run].where).name for run in TARGETS[direction])
            runs[direction] = {"source": source if self.ablated is None else self.ablated.name, "target": target}
        return runs

    @property
    def described(self) -> dict[str, Any]:
        """Directions, ablation and sizes, for the metadata's command."""
        ablation = {} if self.ablated is None else {"ablate": str(self.ablated.ablation)}
        counts = {"patches": len(self.patches), "pairs": len(self.ids)}
        return {"directions": self.runs_by_direction, **ablation, **counts}

    @property
    def decisive(self) -> dict[str, Any]:
        """Everything that decides the values, for the metadata."""
        return {
            "task": "sweep",
            **{run: inputs.described for run, inputs in self.inputs.items()},
            "directions": list(self.directions),
            "ablation": None if self.ablated is None else self.ablated.decisive,
            "patches_sha256": sha256_of("\n".join(format_patch_spec(patch) for patch in self.patches).encode()),
            **({"random_sets": list(self.random_sets)} if self.random_sets else {}),
            "input_ids": sha256_of("\n".join(self.ids).encode()),
        }

    @property
    def header(self) -> dict[str, Any]:
        """What a sweep file holds in its metadata, in addition to those of every run."""
        clusters = {**self.inputs["corrupted"].clusters, **self.inputs["clean"].clusters}
        return {
            "ids": list(self.ids),
            "clusters": {input_id: clusters[input_id] for input_id in self.ids if input_id in clusters},
            "patches": [patch_configuration(patch) for patch in self.patches],
            "directions": self.runs_by_direction,
        }


def plan_sweep(
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
) -> SweepPlan:
    """Check everything that can be checked before a network runs.

    :param definitions: a file, or patches; None is every hidden neuron by itself
    :param clean: an inputs file or arrays, like ``corrupted``
    :param direction: denoising, noising or both; None is both, with ``ablate`` noising
    :param ablate: ablate neurons instead of patching in the other run's values
    :param seed: of resample and noise; None is 0
    :raises SuiteError: files that do not fit together, a patch that the agent does not have
    """
    direction = direction or ("both" if ablate is None else "noising")
    if direction not in (*DIRECTIONS, "both"):
        raise UsageError(field="direction", found=shown(direction), expected="denoising, noising or both")
    ablated = None
    if ablate is not None:
        ablated = ablated_source(agent, ablate, reference_inputs, seed=seed or 0)
    check_ablation_flags(
        None if ablated is None else ablated.ablation,
        has_reference=reference_inputs is not None,
        has_seed=seed is not None,
    )
    patches, random_sets = _patches(agent, definitions)
    pairs = paired_inputs(agent, clean=clean, corrupted=corrupted, input_ids=input_ids)
    return SweepPlan(
        inputs=dict(zip(("clean", "corrupted"), pairs, strict=True)),
        patches=tuple(patches),
        directions=directions_of(direction),
        ablated=ablated,
        random_sets=random_sets,
    )


def _patches(
    agent: OpenedAgent, definitions: str | Sequence[Mapping[str, Any]] | None
) -> tuple[list[dict[str, Neurons]], tuple[int, ...]]:
    """The patches, and which of them are random sets."""
    if definitions is None:
        return _every_hidden_neuron(agent), ()
    random_sets: tuple[int, ...] = ()
    if isinstance(definitions, str):
        path = agent.folder.find(definitions, ".")
        listed: Sequence[Mapping[str, Any]] = load_definitions(path)
        random_sets = load_random_sets(path)
        where = str(path)
    else:
        listed, where = definitions, "definitions"
    if not listed:
        raise UsageError("at least one patch is required", field="definitions")
    patches = [_resolved(agent, patch, where, number) for number, patch in enumerate(listed, start=1)]
    seen: dict[str, int] = {}
    for number, patch in enumerate(patches, start=1):
        spec = sorted_spec(patch)
        if spec in seen:
            raise InputError(where, f"entry {number}", problem=f"{shown(spec)} is also entry {seen[spec]}")
        seen[spec] = number
    return patches, random_sets


def _every_hidden_neuron(agent: OpenedAgent) -> list[dict[str, Neurons]]:
    try:
        return single_neurons(agent.layer_table, hidden_layers(agent))
    except UsageError as error:
        layer = agent.layer_table.output or "LAYER"
        raise UsageError(
            "the network has no hidden layer; --definitions FILE is required",
            hint=f"generate_definitions.py --layers {layer} makes one",
        ) from error


def _resolved(agent: OpenedAgent, patch: Mapping[str, Any], where: str, number: int) -> dict[str, Neurons]:
    try:
        return agent.layer_table.resolve(patch)
    except UsageError as error:
        hint = "generate_definitions.py makes them"
        raise patch_error(error, where, f"entry {number}", hint=hint) from error
