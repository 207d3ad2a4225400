"""Plans of patching runs: target, source and patches, checked before a network runs."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from Neuron_Selection.errors import InputError, SuiteWarning, UsageError, shown
from Neuron_Selection.FileFormats.activations import FINAL_Q_VALUES, Activations
from Neuron_Selection.FileFormats.inputs import Inputs
from Neuron_Selection.FileFormats.patch_spec import Neurons, format_patch_spec, patch_configuration
from Neuron_Selection.FileFormats.provenance import installed_version, vecnormalize_in
from Neuron_Selection.FileFormats.storage.atomic_files import sha256_of
from Neuron_Selection.PatchingTooling.ablations import parse_ablation
from Neuron_Selection.PatchingTooling.agent.layers import LayerTable
from Neuron_Selection.PatchingTooling.opened_agent import OpenedAgent
from Neuron_Selection.PatchingTooling.sources import AblatedSource, RecordedSource, Source, StoredSource


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class PatchingPlan:
    """Target inputs, a source with the same ids in the same order, and the patches to run.

    ``direction``: denoising, noising or None. ``random_sets``: which patches are random controls, from 1.
    """

    target: Inputs
    source: Source
    patches: tuple[dict[str, Neurons], ...]
    direction: str | None
    random_sets: tuple[int, ...] = ()

    @property
    def layers(self) -> tuple[str, ...]:
        """Every patched layer, once."""
        return tuple(dict.fromkeys(layer for patch in self.patches for layer in patch))

    @property
    def described(self) -> dict[str, Any]:
        """Target, source and patches, for people."""
        return {
            "target": self.target.where,
            "source": self.source.name,
            "direction": self.direction,
            "patch_spec": [format_patch_spec(patch) for patch in self.patches],
        }

    @property
    def decisive(self) -> dict[str, Any]:
        """Everything that decides the results, for the metadata."""
        return {
            "task": "patching",
            "target": self.target.described,
            "source": self.source.decisive,
            "direction": self.direction,
            "patches": [patch_configuration(patch) for patch in self.patches],
            **({"random_sets": list(self.random_sets)} if self.random_sets else {}),
            "input_ids": sha256_of("\n".join(self.target.ids).encode()),
        }


def plan_patching(
    agent: OpenedAgent,
    target: Any,
    patch_specs: Sequence[str | Mapping[str, Any]],
    *,
    source: Any,
    input_ids: Sequence[str] | None = None,
    direction: str | None = None,
    allow_mismatch: bool = False,
) -> PatchingPlan:
    """Check everything that can be checked before a network runs.

    :param target: an inputs file, or arrays
    :param source: an activations file, arrays, an ``AblatedSource`` or a ``RecordedSource``
    :param direction: denoising or noising; None derives it from the names of target and source
    :raises UsageError: no patch, one given twice, or one that the agent does not have
    """
    inputs = agent.inputs(target)  # before the specs, whose layers may need the network built
    chosen = inputs.selected(input_ids)
    patches = [_resolved(agent.layer_table, spec, number) for number, spec in enumerate(patch_specs, start=1)]
    if not patches:
        raise UsageError("at least one patch spec is required")
    seen: set[str] = set()
    for patch in patches:
        text = format_patch_spec(patch)
        if text in seen:
            raise UsageError(f"patch spec {shown(text)} is given twice")
        seen.add(text)
    if isinstance(source, RecordedSource):
        source = RecordedSource(inputs=source.inputs.selected(chosen.ids))
    elif isinstance(source, AblatedSource):
        source.ablation.check_enough_inputs(len(chosen.ids))
    else:
        layers = list(dict.fromkeys(layer for patch in patches for layer in patch))
        stored = _stored_activations(agent, source, inputs.ids).selected(chosen.ids)
        source = stored_source(agent, stored, layers, allow_mismatch=allow_mismatch)
    if direction is None and not isinstance(source, AblatedSource):
        direction = direction_of(target=chosen.where, source=source.name)
    return PatchingPlan(target=chosen, source=source, patches=tuple(patches), direction=direction)


def ablated_source(agent: OpenedAgent, ablation: str, reference_inputs: Any = None, *, seed: int = 0) -> AblatedSource:
    """A source for ``plan_patching`` that ablates the neurons.

    :param ablation: such as ``zero`` or ``noise=2``
    """
    reference = None if reference_inputs is None else agent.inputs(reference_inputs)
    return AblatedSource(ablation=parse_ablation(ablation), reference=reference, seed=seed)


def _resolved(table: LayerTable, spec: str | Mapping[str, Any], number: int) -> dict[str, Neurons]:
    try:
        return table.resolve(spec)
    except UsageError as error:
        if error.detail:  # a caret shows the place
            raise
        raise UsageError(
            error.problem, file=f"patch {number}", field=error.field, found=error.found, expected=error.expected
        ) from error


def _stored_activations(agent: OpenedAgent, source: Any, ids: Sequence[str]) -> Activations:
    if isinstance(source, str | Path):
        return agent.stored_run(source)
    return source if isinstance(source, Activations) else activations_from_arrays(source, ids, agent.layer_table)


def stored_source(
    agent: OpenedAgent, source: Activations, needed: Sequence[str], *, allow_mismatch: bool
) -> StoredSource:
    """Stored activations, checked against the agent.

    :param needed: the layers that are patched
    :raises InputError: they lack a layer, have another width, or are of another agent
    """
    table, n_actions, dtype = agent.layer_table, agent.architecture.n_actions, agent.dtype
    match = weights_match(source, agent.agent_zip.weights_sha256, allow_mismatch=allow_mismatch)
    kinds = source.metadata.get("layer_kinds", {})
    for layer, array in source.values.items():
        expected = table.layers[layer].shape if layer in table.layers else array.shape[1:]
        if layer == FINAL_Q_VALUES:
            expected = (n_actions,)
        if array.shape[1:] != expected:
            raise InputError(source.where, layer, found=f"outputs of shape {array.shape[1:]}", expected=f"{expected}")
        recorded_kind = kinds.get(layer) if isinstance(kinds, dict) else None
        kind = table.layers[layer].kind if layer in table.layers else recorded_kind
        if recorded_kind is not None and recorded_kind != kind:
            raise InputError(source.where, layer, found=f"a {shown(recorded_kind)} layer", expected=f"a {kind} as here")
    _warn_of_other_libraries(source)
    _warn_of_other_normalisation(source, agent)
    missing = [layer for layer in needed if layer not in source.values]
    if missing:
        held = ", ".join(list(source.values)[:8])
        hint = "activation_extraction.py --layers records it"
        raise InputError(source.where, missing[0], f"layer not recorded; the file has {held}", hint=hint)
    values = {
        layer: _converted(array, np.dtype(dtype), f"{source.where}: {layer}")
        for layer, array in source.values.items()
        if layer in table.layers or layer == FINAL_Q_VALUES
    }
    return StoredSource(activations=replace(source, values=values), weights_match=match)


def weights_match(source: Activations, weights_sha256: str, *, allow_mismatch: bool) -> bool | None:
    """Whether activations are of these weights; None, with a warning, if they do not record it.

    :raises InputError: they are of others, and ``allow_mismatch`` is off
    """
    if not source.weights_sha256:
        if not source.where.startswith("arrays"):
            warnings.warn(SuiteWarning(f"{source.where}: does not record which agent it belongs to"), stacklevel=3)
        return None
    if source.weights_sha256 != weights_sha256 and not allow_mismatch:
        raise InputError(
            source.where,
            "weights_sha256",
            found=f"activations of agent {source.weights_sha256[:12]}",
            expected=f"this agent, {weights_sha256[:12]}",
            hint="--allow_mismatch uses them nevertheless",
        )
    return source.weights_sha256 == weights_sha256


def _warn_of_other_normalisation(source: Activations, agent: OpenedAgent) -> None:
    """Activations of raw observations, with normalised ones in the target run, are a mistake in most cases."""
    used = vecnormalize_in(source.metadata.get("run"))
    if source.weights_sha256 and used != vecnormalize_in(agent.normalisation_described):
        recorded = "without --vecnormalize" if used is None else f"with --vecnormalize (SHA-256 {used[:12]})"
        message = f"{source.where}: recorded {recorded}, unlike this run"
        warnings.warn(SuiteWarning(message), stacklevel=3)


def _warn_of_other_libraries(source: Activations) -> None:
    """Activations recorded with other versions of libraries may differ in their last bits."""
    libraries = source.metadata.get("libraries", {})
    for name in ("torch", "numpy"):
        if isinstance(libraries, dict) and name in libraries and libraries[name] != installed_version(name):
            message = f"{source.where}: recorded with {name} {libraries[name]}, not {installed_version(name)}"
            warnings.warn(SuiteWarning(f"{message}; bits may differ"), stacklevel=2)


def direction_of(*, target: str, source: str) -> str | None:
    """Denoising (clean into corrupted) or noising, by the file names; None for other names."""
    names = [Path(name).name.lower() for name in (source, target)]
    if names[0].startswith("clean") and names[1].startswith("corrupted"):
        return "denoising"
    if names[0].startswith("corrupted") and names[1].startswith("clean"):
        return "noising"
    return None


def activations_from_arrays(source: Any, ids: Sequence[str], table: LayerTable) -> Activations:
    """Activations from ``{layer: (n, *shape)}``, rows in the order of ``ids``.

    :raises UsageError: not a mapping, an unknown layer, or not one row for each id
    """
    if not isinstance(source, Mapping) or not source:
        raise UsageError(field="source activations", found=shown(source), expected="a file or {layer: array}")
    values: dict[str, np.ndarray] = {}
    for name, array in source.items():
        layer = table.all_names.get(name, name)
        rows = np.asarray(array)
        if rows.ndim < 2 or rows.shape[0] != len(ids) or rows.dtype.kind != "f" or not np.isfinite(rows).all():
            raise UsageError(
                field=f"source activations: {shown(name)}",
                found=f"{rows.dtype.name} of shape {rows.shape}",
                expected=f"finite floats with {len(ids)} rows",
            )
        values[str(layer)] = rows
    table.chosen(list(values))
    digest = sha256_of(b"".join(layer.encode() + rows.tobytes() for layer, rows in values.items()))
    return Activations(where="arrays", sha256=digest, ids=tuple(ids), values=values, metadata={})


def _converted(array: np.ndarray, dtype: np.dtype[Any], where: str) -> np.ndarray:
    with np.errstate(over="ignore"):
        converted = array.astype(dtype, copy=False)
    if not np.isfinite(converted).all():
        raise InputError(where, found=f"a value beyond {dtype.name}", expected="at most 3.4e38 in size")
    if not np.array_equal(converted, array):
        warnings.warn(SuiteWarning(f"{where}: {array.dtype.name} values, rounded to {dtype.name}"), stacklevel=2)
    return converted
