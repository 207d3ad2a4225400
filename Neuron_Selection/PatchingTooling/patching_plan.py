"""What a patching run will do, with all that can be checked before a network runs."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from Neuron_Selection.errors import InputError, SuiteWarning, UsageError, shown
from Neuron_Selection.FileFormats.activations import FINAL_Q_VALUES, Activations
from Neuron_Selection.FileFormats.atomic_files import sha256_of
from Neuron_Selection.FileFormats.inputs import Inputs
from Neuron_Selection.FileFormats.patch_spec import Neurons, format_patch_spec, patch_configuration
from Neuron_Selection.PatchingTooling.layers import LayerTable


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class PatchingPlan:
    """Target inputs, the source's activations of the same ids in the same order, and the patches to run.

    ``direction``: denoising, noising or None. ``weights_match``: None where the source does not say whose it is.
    """

    target: Inputs
    source: Activations
    patches: tuple[dict[str, Neurons], ...]
    direction: str | None
    weights_match: bool | None

    @property
    def described(self) -> dict[str, Any]:
        """Target, source and patches, for people."""
        return {
            "target_input": self.target.source,
            "source_activations": self.source.source,
            "patch_spec": [format_patch_spec(patch) for patch in self.patches],
        }

    @property
    def decisive(self) -> dict[str, Any]:
        """All that decides the results, for the metadata."""
        return {
            "task": "patching",
            "target": {"name": Path(self.target.source).name, "sha256": self.target.sha256},
            "source": {
                "name": Path(self.source.source).name,
                "sha256": self.source.sha256,
                "weights_match": self.weights_match,
            },
            "direction": self.direction,
            "patches": [patch_configuration(patch) for patch in self.patches],
            "input_ids": sha256_of("\n".join(self.target.ids).encode()),
        }


def plan_patching(
    *,
    target: Inputs,
    source: Activations,
    patches: Sequence[dict[str, Neurons]],
    table: LayerTable,
    weights_sha256: str,
    dtype: str,
    allow_mismatch: bool,
) -> PatchingPlan:
    """Hold the parts of a run against each other.

    :raises InputError: the source lacks a layer, has another width, or is of another agent
    :raises UsageError: no patch, or one twice
    """
    if not patches:
        raise UsageError("patch spec: found none, expected at least one")
    for number, patch in enumerate(patches):
        if patch in patches[:number]:
            raise UsageError(f"patch spec: found {shown(format_patch_spec(patch))} twice, expected once")
    match = source.weights_sha256 == weights_sha256 if source.weights_sha256 else None
    if match is False and not allow_mismatch:
        raise InputError(
            source.source,
            "weights_sha256",
            found=f"activations of the agent {source.weights_sha256[:12]}",
            expected=f"of this one, {weights_sha256[:12]}",
            hint="--allow_mismatch takes them",
        )
    if match is None and not source.source.startswith("arrays"):
        warnings.warn(SuiteWarning(f"{source.source}: does not say which agent it is of"), stacklevel=2)
    for layer, array in source.values.items():
        expected = table.layers[layer].shape if layer in table.layers else array.shape[1:]
        if array.shape[1:] != expected:
            raise InputError(source.source, layer, found=f"outputs of shape {array.shape[1:]}", expected=f"{expected}")
    missing = [layer for patch in patches for layer in patch if layer not in source.values]
    if missing:
        held = ", ".join(list(source.values)[:8])
        raise InputError(
            source.source,
            missing[0],
            found=f"no such layer (it holds {held})",
            expected="one",
            hint="activation_extraction.py --layers records it",
        )
    values = {
        layer: _converted(array, np.dtype(dtype), f"{source.source}: {layer}")
        for layer, array in source.values.items()
        if layer in table.layers or layer == FINAL_Q_VALUES
    }
    return PatchingPlan(
        target=target,
        source=replace(source, values=values),
        patches=tuple(dict(patch) for patch in patches),
        direction=direction_of(target=target.source, source=source.source),
        weights_match=match,
    )


def direction_of(*, target: str, source: str) -> str | None:
    """Denoising (clean into corrupted) or noising, as the file names say; None where they do not."""
    names = [Path(name).name.lower() for name in (source, target)]
    if names[0].startswith("clean") and names[1].startswith("corrupted"):
        return "denoising"
    if names[0].startswith("corrupted") and names[1].startswith("clean"):
        return "noising"
    return None


def activations_from_arrays(source: Any, ids: Sequence[str], table: LayerTable) -> Activations:
    """Activations out of ``{layer: (n, *shape)}``, rows in the order of ``ids``.

    :raises UsageError: no mapping, an unknown layer, or other than one row an id
    """
    if not isinstance(source, Mapping) or not source:
        raise UsageError(f"source activations: found {shown(source)}, expected a file or {{layer: array}}")
    values: dict[str, np.ndarray] = {}
    for name, array in source.items():
        layer = table.all_names.get(name, name)
        rows = np.asarray(array)
        if rows.ndim < 2 or rows.shape[0] != len(ids) or rows.dtype.kind != "f" or not np.isfinite(rows).all():
            raise UsageError(
                f"source activations: {shown(name)}: found {rows.dtype.name} of shape {rows.shape}, "
                f"expected finite floats with {len(ids)} rows"
            )
        values[str(layer)] = rows
    table.chosen(list(values))
    digest = sha256_of(b"".join(layer.encode() + rows.tobytes() for layer, rows in values.items()))
    return Activations(source="arrays", sha256=digest, ids=tuple(ids), values=values, metadata={})


def _converted(array: np.ndarray, dtype: np.dtype[Any], where: str) -> np.ndarray:
    with np.errstate(over="ignore"):
        converted = array.astype(dtype, copy=False)
    if not np.isfinite(converted).all():
        raise InputError(where, found=f"a value beyond {dtype.name}", expected="at most 3.4e38 in size")
    if not np.array_equal(converted, array):
        warnings.warn(SuiteWarning(f"{where}: {array.dtype.name} values, rounded to {dtype.name}"), stacklevel=2)
    return converted
