"""Find the smallest changes of weights that change the greedy action, and write them to a file."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from Neuron_Selection.AnalysisTooling.measures.decisions import near_ties
from Neuron_Selection.errors import UsageError
from Neuron_Selection.FileFormats.agent_zip.agent_folder import CLEAN, output_folder
from Neuron_Selection.FileFormats.inputs import Inputs
from Neuron_Selection.FileFormats.provenance import check_outputs, is_up_to_date
from Neuron_Selection.FileFormats.results.patching_results import results_path
from Neuron_Selection.FileFormats.weights.perturbation_results import PERTURBATIONS, save_records, stored_records
from Neuron_Selection.PatchingTooling.numpy_network.network import NumpyNetwork
from Neuron_Selection.PatchingTooling.opened_agent import OpenedAgent
from Parameter_Selection.PerturbationTooling.exact_flips.relu_networks import refuse_unsupported
from Parameter_Selection.PerturbationTooling.exact_flips.smallest_flips import (
    SmallestFlips,
    compute_smallest_flips,
    no_flips,
    side_step,
)
from Parameter_Selection.PerturbationTooling.perturbations.run import inputs_in_metadata, with_summary
from Parameter_Selection.PerturbationTooling.weights.targets import WeightTarget, choose_weights, weight_before
from SaliencyTooling.gradient_runs import Progress, numpy_metadata

RANGE_IN_WEIGHTS = 10.0  # times the largest weight of the matrix; a larger change gives a network of another scale


@dataclass(frozen=True, kw_only=True, slots=True)
class FlipSummary:
    """Summary of a search, as its file holds it.

    ``pairs``: of weight and input. ``not_verified``: pairs with a change that did not hold on both sides, which count
    nowhere else. ``ranges``: weight matrix to the largest change considered. ``smallest``: the pair with the smallest
    change, None where nothing flips.
    """

    targets: int
    inputs: int
    pairs: int
    pairs_that_flip: int
    verified: int
    not_verified: int
    ranges: Mapping[str, float]
    smallest: Mapping[str, Any] | None
    input_ids: Sequence[str]
    near_tie_ids: Sequence[str]


@dataclass(frozen=True, kw_only=True, slots=True)
class FoundFlips:
    """Result of ``find_smallest_flips``. ``written``: False where the file was up to date."""

    files: tuple[Path, ...]
    written: bool
    summary: FlipSummary


def find_smallest_flips(
    agent: OpenedAgent,
    *,
    candidates: str | Path | None = None,
    weights: str | None = None,
    all_weights: Sequence[str] | None = None,
    inputs: Any = CLEAN,
    input_ids: Sequence[str] | None = None,
    largest_change: float | None = None,
    output_dir: str | Path | None = None,
    output_prefix: str = "smallest_flips",
    overwrite: bool = False,
    progress: Progress | None = None,
) -> FoundFlips:
    """Find, for each weight and input, the smallest change of the weight that changes the greedy action; exact.

    :param agent: an MLP with ReLU; computed in numpy, whichever engine the agent was opened with
    :param candidates: a candidates file; None, without ``weights`` and ``all_weights``, means the agent's own
    :param weights: by hand, ``"q_net.0.weight[61,5]; q_net.2.weight[0,3]"``
    :param all_weights: every weight of these layers
    :param inputs: an inputs file, or arrays as for ``OpenedAgent.inputs``
    :param largest_change: None means 10 times the largest weight of each matrix
    :param output_dir: None means the agent's ``perturbation_results/``
    :param progress: such as ``tqdm.tqdm``; wraps the weight matrices
    :raises SuiteError: another network, weights or inputs that do not fit it, or the file of a different run without
        ``overwrite``
    """
    network = agent.numpy_network
    refuse_unsupported(agent)
    folder = output_folder(None if output_dir is None else str(output_dir), agent.folder.folder / PERTURBATIONS)
    path = results_path(folder, output_prefix)
    selected = agent.inputs(inputs).selected(input_ids)
    chosen = choose_weights(agent, candidates=candidates, weights=weights, all_weights=all_weights)
    if largest_change is not None and not 0 < largest_change < np.inf:
        raise UsageError(f"largest change: found {largest_change}, expected a finite number above 0")
    tensors = agent.online_weights
    ranges = {
        name: largest_change or RANGE_IN_WEIGHTS * float(np.abs(tensors[name]).max())
        for name in dict.fromkeys(target.parameter for target in chosen.targets)
    }
    run = {"task": "smallest_flips", "inputs": inputs_in_metadata(selected), **chosen.origin, "ranges": ranges}
    command = {"task": "smallest_flips", "agent_path": str(agent.folder.folder), "inputs": selected.where}
    metadata = numpy_metadata(agent, run, command=command)
    check_outputs([path], [agent.folder.zip_path, Path(selected.where), *chosen.paths])
    stored, stored_summary = with_summary(stored_records(path), path, FlipSummary)
    if is_up_to_date(stored, metadata, overwrite=overwrite) and stored_summary is not None:
        return FoundFlips(files=(path,), written=False, summary=stored_summary)
    found = _search(network, selected, chosen.targets, ranges, progress)
    near = near_ties(network.scores(selected.observations))
    summary = FlipSummary(
        targets=len(chosen.targets),
        inputs=len(selected.ids),
        pairs=found.verified.size,
        pairs_that_flip=int(found.verified.sum()),
        verified=int(found.verified.sum()),
        not_verified=int((np.isfinite(found.changes) & ~found.verified).sum()),
        ranges=ranges,
        smallest=_smallest_pair(found, chosen.targets, selected, tensors=tensors, ranges=ranges, near=near),
        input_ids=list(selected.ids),
        near_tie_ids=[input_id for input_id, tied in zip(selected.ids, near, strict=True) if tied],
    )
    records = list(_records(found, chosen.targets, tensors))
    save_records(path, records, summary=asdict(summary), metadata=metadata)
    return FoundFlips(files=(path,), written=True, summary=summary)


def _search(
    network: NumpyNetwork,
    inputs: Inputs,
    targets: Sequence[WeightTarget],
    ranges: Mapping[str, float],
    progress: Progress | None,
) -> SmallestFlips:
    """``compute_smallest_flips``, one weight matrix after the other."""
    found = no_flips(len(targets), len(inputs.ids))
    parameters: Iterable[str] = list(ranges)
    for parameter in parameters if progress is None else progress(parameters, total=len(ranges), unit="matrix"):
        places = [place for place, target in enumerate(targets) if target.parameter == parameter]
        group = [targets[place] for place in places]
        part = compute_smallest_flips(network, inputs.observations, group, ranges=ranges)
        for name in SmallestFlips.__dataclass_fields__:
            getattr(found, name)[places] = getattr(part, name)
    return found


def _smallest_pair(
    found: SmallestFlips,
    targets: Sequence[WeightTarget],
    inputs: Inputs,
    *,
    tensors: Mapping[str, np.ndarray],
    ranges: Mapping[str, float],
    near: np.ndarray,
) -> dict[str, Any] | None:
    """The pair with the smallest change; None where nothing flips.

    ``value_beyond``: the first number in the agent's dtype at or beyond the point where the far side was verified.
    """
    if not found.verified.any():
        return None
    sizes = np.where(found.verified, np.abs(found.changes), np.inf)
    place, row = np.unravel_index(np.argmin(sizes), sizes.shape)
    change, target = float(found.changes[place, row]), targets[int(place)]
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


def _records(
    found: SmallestFlips, targets: Sequence[WeightTarget], tensors: Mapping[str, np.ndarray]
) -> Iterator[dict[str, Any]]:
    """One a target; ``changes`` and ``actions`` in the order of the summary's ``input_ids``, null where nothing flips.

    A change that did not hold on both sides counts in ``not_verified`` and nowhere else.
    """
    for place, target in enumerate(targets):
        changes, flips = found.changes[place], found.verified[place]
        sizes = np.abs(changes[flips])
        yield {
            "target": str(target),
            **target.fields,
            "weight_before": weight_before(target, tensors),
            "inputs_that_flip": int(flips.sum()),
            "not_verified": int((np.isfinite(changes) & ~flips).sum()),
            "smallest": float(sizes.min()) if len(sizes) else None,
            "median": float(np.median(sizes)) if len(sizes) else None,
            "changes": [change if flip else None for change, flip in zip(changes.tolist(), flips, strict=True)],
            "actions": [a if flip else None for a, flip in zip(found.actions[place].tolist(), flips, strict=True)],
        }
