"""Find the smallest changes of weights that change the greedy action, and write them to a file."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from Neuron_Selection.AnalysisTooling.measures.decisions import allowed_scores, greedy_actions, near_ties
from Neuron_Selection.errors import UsageError
from Neuron_Selection.FileFormats.agent_zip.agent_folder import CLEAN, output_folder
from Neuron_Selection.FileFormats.inputs import Inputs
from Neuron_Selection.FileFormats.provenance import check_outputs, is_up_to_date
from Neuron_Selection.FileFormats.results.patching_results import results_path
from Neuron_Selection.FileFormats.weights.perturbation_results import PERTURBATIONS, save_records, stored_records
from Neuron_Selection.PatchingTooling.agent.network import WeightChange
from Neuron_Selection.PatchingTooling.numpy_network.network import NumpyNetwork
from Neuron_Selection.PatchingTooling.numpy_network.relu_rays import side_step
from Neuron_Selection.PatchingTooling.opened_agent import OpenedAgent
from Parameter_Selection.PerturbationTooling.exact_flips.bracketed_flips import (
    ABSOLUTE_STEP,
    RELATIVE_STEP,
    TOLERANCE,
)
from Parameter_Selection.PerturbationTooling.exact_flips.smallest_flips import (
    SmallestFlips,
    compute_smallest_flips,
    no_flips,
)
from Parameter_Selection.PerturbationTooling.exact_flips.supported_networks import (
    is_searched_exactly,
    refuse_unsupported,
)
from Parameter_Selection.PerturbationTooling.perturbations.run import inputs_in_metadata, with_summary
from Parameter_Selection.PerturbationTooling.weights.targets import WeightTarget, choose_weights, weight_before
from SaliencyTooling.gradient_runs import Progress, numpy_metadata

RANGE_IN_WEIGHTS = 10.0  # times the largest weight of the matrix; a larger change gives a network of another scale
BRACKET_SEARCH = {"tolerance": TOLERANCE, "relative_step": RELATIVE_STEP, "absolute_step": ABSOLUTE_STEP}


@dataclass(frozen=True, kw_only=True, slots=True)
class FlipSummary:
    """Summary of a search, as its file holds it.

    ``pairs``: of weight and input. ``not_verified``: pairs with a change that did not hold on both sides, which count
    nowhere else. ``ranges``: weight matrix to the largest change considered. ``smallest``: the pair with the smallest
    change, None where nothing flips. ``brackets``: how flips that are not exact were searched for, and how many pairs
    with and without a flip are certified; None for a network whose flips are all exact.
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
    brackets: Mapping[str, Any] | None = None

    @property
    def fields(self) -> dict[str, Any]:
        """The summary as its file holds it."""
        return {name: value for name, value in asdict(self).items() if name != "brackets" or value is not None}


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
    """Find, for each weight and input, the smallest change of the weight that changes the greedy action.

    Exact for ReLU; for another activation function, a bracket that is certified or searched at a stated resolution.

    :param agent: an MLP; computed in numpy, whichever engine the agent was opened with
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
        raise UsageError(field="largest change", found=str(largest_change), expected="a finite number above 0")
    tensors = agent.online_weights
    ranges = {
        name: largest_change or RANGE_IN_WEIGHTS * float(np.abs(tensors[name]).max())
        for name in dict.fromkeys(target.parameter for target in chosen.targets)
    }
    run = {"task": "smallest_flips", "inputs": inputs_in_metadata(selected), **chosen.origin, "ranges": ranges}
    exact = is_searched_exactly(agent)
    if not exact:
        run["brackets"] = BRACKET_SEARCH
    command = {"task": "smallest_flips", "agent_path": str(agent.folder.folder), "inputs": selected.where}
    metadata = numpy_metadata(agent, run, command=command)
    check_outputs([path], [agent.folder.zip_path, Path(selected.where), *chosen.paths])
    stored, stored_summary = with_summary(stored_records(path), path, FlipSummary)
    if is_up_to_date(stored, metadata, overwrite=overwrite) and stored_summary is not None:
        return FoundFlips(files=(path,), written=False, summary=stored_summary)
    found = _search(network, selected, chosen.targets, ranges, progress)
    near = near_ties(allowed_scores(network.scores(selected.observations), selected.action_masks))
    summary = FlipSummary(
        targets=len(chosen.targets),
        inputs=len(selected.ids),
        pairs=found.verified.size,
        pairs_that_flip=int(found.verified.sum()),
        verified=int(found.verified.sum()),
        not_verified=int((np.isfinite(found.changes) & ~found.verified).sum()),
        ranges=ranges,
        smallest=_smallest_pair(network, found, chosen.targets, selected, tensors=tensors, ranges=ranges, near=near),
        input_ids=list(selected.ids),
        near_tie_ids=[input_id for input_id, tied in zip(selected.ids, near, strict=True) if tied],
        brackets=None if exact else {**BRACKET_SEARCH, **_bracket_counts(found)},
    )
    records = list(_records(found, chosen.targets, tensors, with_method=not exact))
    save_records(path, records, summary=summary.fields, metadata=metadata)
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
        masks = inputs.action_masks
        part = compute_smallest_flips(network, inputs.observations, group, ranges=ranges, masks=masks)
        for name in SmallestFlips.__dataclass_fields__:
            getattr(found, name)[places] = getattr(part, name)
    return found


def _bracket_counts(found: SmallestFlips) -> dict[str, int]:
    """Pairs of weight and input that were not searched exactly, by what is known about them."""
    flips, certified = (array[~found.is_exact] for array in (found.verified, found.certified))
    doubtful = np.isfinite(found.changes[~found.is_exact]) & ~flips
    none = ~flips & ~doubtful
    return {
        "pairs": flips.size,
        "flips_certified": int((flips & certified).sum()),
        "flips_searched": int((flips & ~certified).sum()),
        "no_flip_certified": int((none & certified).sum()),
        "no_flip_searched": int((none & ~certified).sum()),
    }


def _smallest_pair(
    network: NumpyNetwork,
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
    place, row = (int(index) for index in np.unravel_index(np.argmin(sizes), sizes.shape))
    change, target = float(found.changes[place, row]), targets[place]
    step = side_step(change, ranges[target.parameter])
    beyond = _value_beyond(target, change, step, tensors)
    smallest = {
        "target": str(target),
        "input_id": inputs.ids[row],
        "change": change,
        "value_beyond": beyond,
        "near_tie": bool(near[row]),
    }
    if found.is_exact[place]:
        return smallest
    edit = WeightChange(parameter=target.parameter, row=target.row, column=target.column, value=beyond)
    one = inputs.selected([inputs.ids[row]])
    scores = allowed_scores(network.scores_of_changes(one.observations, [edit])[0], one.action_masks)
    if greedy_actions(scores)[0] != found.actions[place, row]:  # a bracket is verified at its end, not a step beyond
        smallest["value_beyond"] = _value_beyond(target, change, 0.0, tensors)
    ends = {"inner_end": float(found.inner_ends[place, row]), "certified": bool(found.certified[place, row])}
    return smallest | ends


def _value_beyond(target: WeightTarget, change: float, step: float, tensors: Mapping[str, np.ndarray]) -> float:
    """The weight after a change and a step further, rounded away from its value before."""
    sign = np.copysign(1.0, change)
    wanted = weight_before(target, tensors) + change + sign * step
    beyond = tensors[target.parameter].dtype.type(wanted)
    if sign * float(beyond) < sign * wanted:
        beyond = np.nextafter(beyond, np.copysign(np.inf, change).astype(beyond.dtype))
    return float(beyond)


def _records(
    found: SmallestFlips, targets: Sequence[WeightTarget], tensors: Mapping[str, np.ndarray], *, with_method: bool
) -> Iterator[dict[str, Any]]:
    """One a target; ``changes`` and ``actions`` in the order of the summary's ``input_ids``, null where nothing flips.

    A change that did not hold on both sides counts in ``not_verified`` and nowhere else.
    """
    for place, target in enumerate(targets):
        changes, flips = found.changes[place], found.verified[place]
        sizes = np.abs(changes[flips])
        record = {
            "target": str(target),
            **target.fields,
            "weight_before": weight_before(target, tensors),
            "inputs_that_flip": int(flips.sum()),
            "not_verified": int((np.isfinite(changes) & ~flips).sum()),
            "smallest": float(sizes.min()) if len(sizes) else None,
            "median": float(np.median(sizes)) if len(sizes) else None,
            "changes": _where(flips, changes),
            "actions": _where(flips, found.actions[place]),
        }
        if with_method:
            record["method"] = "exact" if found.is_exact[place] else "bracket"
        if not found.is_exact[place]:
            record["inner_ends"] = _where(flips, found.inner_ends[place])
            record["certified"] = found.certified[place].tolist()
        yield record


def _where(flips: np.ndarray, values: np.ndarray) -> list[Any]:
    return [value if flip else None for value, flip in zip(values.tolist(), flips, strict=True)]
