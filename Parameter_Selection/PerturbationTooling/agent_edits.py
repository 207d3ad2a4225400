"""Edits of an agent's weights become an agent of its own: ``edited.zip``, its manifest, and the exact inverse."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from Neuron_Selection.errors import InputError, UsageError, shown
from Neuron_Selection.FileFormats.agent_zip.edited_agent import TensorEdit, edited_agent_bytes
from Neuron_Selection.FileFormats.agent_zip.tensors import weights_sha256
from Neuron_Selection.FileFormats.provenance import (
    StoredOutput,
    check_outputs,
    different_run_error,
    is_up_to_date,
    metadata_of_files,
    stored_document,
    stored_json_metadata,
)
from Neuron_Selection.FileFormats.storage.atomic_files import is_there, read_bytes, sha256_of, written_atomically
from Neuron_Selection.FileFormats.weights.edits_file import load_weight_edits, save_weight_edits
from Neuron_Selection.flag_types import plain_float
from Neuron_Selection.PatchingTooling.experiment import OpenedAgent
from Neuron_Selection.PatchingTooling.numpy_network.weight_changes import WeightChange
from Parameter_Selection.PerturbationTooling.weights.targets import WeightTarget, check_targets, parse_weight_target
from Parameter_Selection.PerturbationTooling.weights.values import change_to, weight_before


def edits_from(text: str, opened: OpenedAgent) -> list[WeightChange]:
    """What ``--edits`` says: ``"q_net.0.weight[61,5]=0.25; ..."``, or the name of an edits file.

    :raises SuiteError: not readable, of another agent, or a weight that this one does not have
    """
    if "[" in text and "=" in text and not is_there(Path(text)):
        pairs = [_parsed(part) for part in text.split(";") if part.strip()]
        return planned_edits(pairs, opened)
    path = Path(text)
    document = load_weight_edits(path)
    told = document["metadata"].get("weights_sha256")
    if told is not None and told != opened.agent_zip.weights_sha256:
        own = opened.agent_zip.weights_sha256[:12]
        raise InputError(
            path,
            "metadata.weights_sha256",
            found=f"edits of another agent, {shown(told)}",
            expected=f"of this one, {own}",
        )
    pairs = [
        (WeightTarget(parameter=e["layer_name"], row=e["neuron_index"], column=e["weight_index"]), float(e["value"]))
        for e in document["edits"]
    ]
    return planned_edits(pairs, opened, where=path)


def planned_edits(
    pairs: Sequence[tuple[WeightTarget, float]], opened: OpenedAgent, *, where: object = "edits"
) -> list[WeightChange]:
    """The edits in the agent's own dtype, held against its network."""
    tensors = opened.online_weights
    check_targets([target for target, _ in pairs], tensors, where=where)
    return [change_to(target, value, tensors) for target, value in pairs]


def _parsed(text: str) -> tuple[WeightTarget, float]:
    left, _, right = text.rpartition("=")
    try:
        return parse_weight_target(left), plain_float(right)
    except ValueError as error:
        raise UsageError(f"edits: found {shown(text.strip())}, expected PARAMETER[ROW,COLUMN]=NUMBER") from error


def manifest_paths(output: Path) -> tuple[Path, Path]:
    """Where the manifest and the inverse of an edited agent lie."""
    return output.with_name(f"{output.stem}.edits.json"), output.with_name(f"{output.stem}.inverse.json")


def write_edited_agent(
    opened: OpenedAgent, changes: Sequence[WeightChange], output: Path, *, origin: dict[str, Any], overwrite: bool
) -> tuple[dict[str, Any], bool]:
    """Write the edited agent, its manifest and its inverse.

    :param output: a zip
    :param origin: where the edits come from, for the metadata
    :return: the manifest's metadata, and whether the files were written now
    :raises SuiteError: an output that is the agent itself or something else
    """
    if output.suffix != ".zip":
        raise UsageError(f"output: found {shown(str(output))}, expected the name of a .zip")
    manifest, inverse = manifest_paths(output)
    original = opened.folder.zip_path
    check_outputs([output, manifest, inverse], [original, *(Path(path) for path in origin.get("paths", []))])
    tensors = opened.online_weights
    targets = [WeightTarget(parameter=one.parameter, row=one.row, column=one.column) for one in changes]
    before = [weight_before(target, tensors) for target in targets]
    if not np.isfinite(before).all():
        raise UsageError("edits: found a weight that is not finite, expected finite ones: no file could restore it")
    edits = [_told(target, change.value, old) for target, change, old in zip(targets, changes, before, strict=True)]
    run = {"task": "write_agent", "edits": edits}
    command = {"task": "write_agent", "agent_path": str(opened.folder.folder), **origin}
    metadata = opened.metadata(run, command=command)
    back = [_told(target, old, change.value) for target, change, old in zip(targets, changes, before, strict=True)]
    after = weights_sha256(_edited(changes, tensors))
    own = opened.agent_zip.weights_sha256
    inverse_metadata = {"format": 1, "weights_sha256": after, "restores": own}
    stored = _stored(manifest, inverse, output)
    if is_up_to_date(stored, metadata, overwrite=overwrite):
        return dict(stored.complete or {}), False
    if inverse.exists() and not overwrite and stored_document(inverse) != {"edits": back, "metadata": inverse_metadata}:
        raise different_run_error(inverse)
    source = read_bytes(original)
    if sha256_of(source) != opened.agent_zip.sha256:
        raise InputError(original, found="a file that changed while it was worked on", expected="the agent as it was")
    data = edited_agent_bytes(source, [_tensor_edit(change, tensors) for change in changes], where=original)
    # the zip takes its place last: whatever interrupts before, the rest says whose it is
    with written_atomically(output) as file:
        file.write(data)
        save_weight_edits(inverse, back, metadata=inverse_metadata)
        hashes = {
            "weights_sha256": own,
            "inverse_sha256": sha256_of(read_bytes(inverse)),
            "edited_sha256": sha256_of(data),
            "edited_weights_sha256": after,
        }
        save_weight_edits(manifest, edits, metadata={**metadata, **hashes})
    return {**metadata, **hashes}, True


def _told(target: WeightTarget, value: float, before: float) -> dict[str, Any]:
    return {
        "layer_name": target.parameter,
        "neuron_index": target.row,
        "weight_index": target.column,
        "value": value,
        "value_before": before,
    }


def _edited(changes: Sequence[WeightChange], tensors: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The tensors with the changes in them, under their names in the online network."""
    edited = dict(tensors)
    for name in {change.parameter for change in changes}:
        edited[name] = tensors[name].copy()
    for change in changes:
        edited[change.parameter][change.row].flat[change.column] = change.value
    return edited


def _tensor_edit(change: WeightChange, tensors: dict[str, np.ndarray]) -> TensorEdit:
    within = np.unravel_index(change.column, tensors[change.parameter].shape[1:])
    index = (change.row, *(int(side) for side in within))
    return TensorEdit(tensor=f"q_net.{change.parameter}", index=index, value=change.value)


def _stored(manifest: Path, inverse: Path, output: Path) -> StoredOutput:
    """All three files as they are on disk now; the agent is written last."""
    metadata = stored_json_metadata(manifest)
    complete = metadata_of_files(metadata, {"edited_sha256": output, "inverse_sha256": inverse})
    unfinished = None if output.exists() else metadata
    return StoredOutput(files=(output, manifest), complete=complete, unfinished=unfinished)
