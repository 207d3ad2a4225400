"""Smallest flips as a file: searched, summed up, written."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from Neuron_Selection.AnalysisTooling.measures.decisions import near_ties
from Neuron_Selection.errors import UsageError
from Neuron_Selection.FileFormats.inputs import Inputs
from Neuron_Selection.FileFormats.provenance import check_outputs, is_up_to_date
from Neuron_Selection.FileFormats.weights.perturbation_results import (
    load_perturbation_results,
    save_records,
    stored_records,
)
from Neuron_Selection.PatchingTooling.experiment import OpenedAgent
from Neuron_Selection.PatchingTooling.numpy_network.mlp import compute_q_values, fast_mlp
from Parameter_Selection.PerturbationTooling.exact_flips.smallest_flips import (
    SmallestFlips,
    find_smallest_flips,
    side_step,
)
from Parameter_Selection.PerturbationTooling.perturbations.run import inputs_in_metadata
from Parameter_Selection.PerturbationTooling.weights.chosen_weights import ChosenWeights
from Parameter_Selection.PerturbationTooling.weights.values import weight_before

RANGE_IN_WEIGHTS = 10.0  # times the largest weight of the matrix: what lies beyond is another network


def write_smallest_flips(
    opened: OpenedAgent,
    inputs: Inputs,
    chosen: ChosenWeights,
    path: Path,
    *,
    largest_change: float | None,
    overwrite: bool,
) -> tuple[dict[str, Any], bool]:
    """Search and write, unless the file is up to date.

    :param largest_change: None means 10 times the largest weight of each matrix
    :return: the summary, and whether the file was written now
    """
    if largest_change is not None and not 0 < largest_change < np.inf:
        raise UsageError(f"largest change: found {largest_change}, expected a finite number above 0")
    network = fast_mlp(opened.agent_zip, opened.architecture)
    tensors = opened.online_weights
    ranges = {
        name: largest_change or RANGE_IN_WEIGHTS * float(np.abs(tensors[name]).max())
        for name in dict.fromkeys(target.parameter for target in chosen.targets)
    }
    run = {"task": "smallest_flips", "inputs": inputs_in_metadata(inputs), **chosen.origin, "ranges": ranges}
    command = {"task": "smallest_flips", "agent_path": str(opened.folder.folder), "inputs": inputs.where}
    metadata = opened.metadata(run, command=command)
    check_outputs([path], [opened.folder.zip_path, Path(inputs.where), *chosen.paths])
    if is_up_to_date(stored_records(path), metadata, overwrite=overwrite):
        return load_perturbation_results(path)["summary"], False
    found = find_smallest_flips(network, inputs.observations, chosen.targets, ranges=ranges)
    near = near_ties(compute_q_values(network, inputs.observations))
    summary = {
        "targets": len(chosen.targets),
        "inputs": len(inputs.ids),
        "pairs": found.verified.size,
        "pairs_that_flip": int(found.verified.sum()),
        "verified": int(found.verified.sum()),
        "not_verified": int((np.isfinite(found.changes) & ~found.verified).sum()),
        "ranges": ranges,
        "smallest": _smallest_pair(found, chosen, inputs, tensors=tensors, ranges=ranges, near=near),
        "input_ids": list(inputs.ids),
        "near_tie_ids": [input_id for input_id, tied in zip(inputs.ids, near, strict=True) if tied],
    }
    save_records(path, list(_records(found, chosen, tensors)), summary=summary, metadata=metadata)
    return summary, True


def _smallest_pair(
    found: SmallestFlips,
    chosen: ChosenWeights,
    inputs: Inputs,
    *,
    tensors: Mapping[str, np.ndarray],
    ranges: Mapping[str, float],
    near: np.ndarray,
) -> dict[str, Any] | None:
    """``value_beyond``: the first number that the agent's dtype can hold from where the far side was looked at on."""
    if not found.verified.any():
        return None
    sizes = np.where(found.verified, np.abs(found.changes), np.inf)
    place, row = np.unravel_index(np.argmin(sizes), sizes.shape)
    change, target = float(found.changes[place, row]), chosen.targets[place]
    sign = np.copysign(1.0, change)
    wanted = weight_before(target, tensors) + change + sign * side_step(change, ranges[target.parameter])
    beyond = tensors[target.parameter].dtype.type(wanted)
    if sign * float(beyond) < sign * wanted:
        beyond = np.nextafter(beyond, np.copysign(np.inf, change).astype(beyond.dtype))
    return {
        "target": str(target),
        "input_id": inputs.ids[row],
        "change": change,
        "value_beyond": float(beyond),
        "near_tie": bool(near[row]),
    }


def _records(found: SmallestFlips, chosen: ChosenWeights, tensors: dict[str, np.ndarray]) -> Iterator[dict[str, Any]]:
    """One a target; ``changes`` and ``actions`` stand in the order of the summary's ``input_ids``, null for none.

    A point that did not hold on both sides counts in ``not_verified`` and nowhere else.
    """
    for place, target in enumerate(chosen.targets):
        changes, flips = found.changes[place], found.verified[place]
        sizes = np.abs(changes[flips])
        yield {
            "target": str(target),
            "layer_name": target.parameter,
            "neuron_index": target.row,
            "weight_index": target.column,
            "weight_before": weight_before(target, tensors),
            "inputs_that_flip": int(flips.sum()),
            "not_verified": int((np.isfinite(changes) & ~flips).sum()),
            "smallest": float(sizes.min()) if len(sizes) else None,
            "median": float(np.median(sizes)) if len(sizes) else None,
            "changes": [change if flip else None for change, flip in zip(changes.tolist(), flips, strict=True)],
            "actions": [a if flip else None for a, flip in zip(found.actions[place].tolist(), flips, strict=True)],
        }
