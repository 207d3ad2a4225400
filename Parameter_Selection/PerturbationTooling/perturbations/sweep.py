"""Sweep over weight changes: every target alone at every value, and all targets together."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np

from Neuron_Selection.FileFormats.inputs import Inputs
from Neuron_Selection.FileFormats.kept_blocks import KeptBlocks
from Neuron_Selection.FileFormats.storage.atomic_files import sha256_of
from Neuron_Selection.PatchingTooling.agent.network import Network, WeightChange
from Parameter_Selection.PerturbationTooling.perturbations.metrics import Baseline, effects_of, records_of
from Parameter_Selection.PerturbationTooling.weights.targets import WeightTarget, changes_of, weight_before
from SaliencyTooling.gradient_network import of_the_maximum
from SaliencyTooling.gradient_runs import Progress
from SaliencyTooling.weight_ranking import weight_matrices

MEASURES = ("flip_share", "margin_change_size")
_GRADIENTS_AT_ONCE = 1 << 21  # numbers, 16 MiB
_BLOCK_BYTES = 1 << 18  # of Q-values that are kept in one file, where one pass does not fill it


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Swept:
    """Effects of the targets, each changed alone.

    ``records``: by target, then by value. ``by_target``: measure to (n_values, n_targets), mean over inputs;
    ``by_input``: measure to (n_values, n), mean over targets.
    """

    records: list[dict[str, Any]]
    by_target: dict[str, np.ndarray]
    by_input: dict[str, np.ndarray]


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Plan:
    """The network, the inputs and the new values of the weights.

    ``kept``: Q-values stored by an interrupted run with the same settings, and by this one.
    """

    network: Network
    tensors: Mapping[str, np.ndarray]
    inputs: Inputs
    baseline: Baseline
    mode: str
    values: Sequence[float]
    kept: KeptBlocks | None = None
    progress: Progress | None = None

    def gradients(self, targets: Sequence[WeightTarget]) -> np.ndarray:
        """Gradient of each input's greatest Q-value with respect to each weight, (n_targets, n)."""
        weights = [(target.parameter, target.row, target.column) for target in targets]
        return self.network.weight_gradients(self.inputs.observations, of_the_maximum(self.baseline.q_values), weights)

    def mean_magnitudes(self) -> dict[str, np.ndarray]:
        """Mean over inputs of the absolute gradient of the greatest Q-value, for every weight matrix."""
        of_maximum = of_the_maximum(self.baseline.q_values)
        return weight_matrices(self.network.mean_gradients(self.inputs.observations, of_maximum, magnitudes=True))


def sweep_alone(plan: Plan, targets: Sequence[WeightTarget], *, shares: np.ndarray | None = None) -> Swept:
    """Each target alone, at each value.

    :param shares: (n_targets,), weights of the targets in ``by_input``, which sum to 1; None means equal
    """
    weighted = np.full(len(targets), 1 / len(targets)) if shares is None else shares
    n_inputs, n_values = len(plan.inputs.ids), len(plan.values)
    records: list[dict[str, Any]] = [{}] * (len(targets) * n_values)
    by_target = {name: np.empty((n_values, len(targets))) for name in MEASURES}
    by_input = {name: np.zeros((n_values, n_inputs)) for name in MEASURES}
    at_once = max(1, _GRADIENTS_AT_ONCE // n_inputs)
    steps: Iterable[tuple[int, int]] = list(product(range(0, len(targets), at_once), range(n_values)))
    if plan.progress is not None:
        steps = plan.progress(steps, total=-(-len(targets) // at_once) * n_values, unit="value")
    for start, place in steps:
        block, value = targets[start : start + at_once], plan.values[place]
        if place == 0:
            gradients = plan.gradients(block)
            before = np.array([weight_before(target, plan.tensors) for target in block])
        changes = changes_of(block, plan.tensors, plan.mode, value)
        differences = np.array([change.value for change in changes]) - before
        for part, q_values in _each_alone(plan, changes):
            effects = effects_of(plan.baseline, q_values)
            predicted = gradients[part] * differences[part, None]
            parts = {"flip_share": effects.flips, "margin_change_size": np.abs(effects.margin_change)}
            of_part = slice(start + part.start, start + part.stop)
            for name, array in parts.items():
                by_target[name][place, of_part] = array.mean(axis=1)
                by_input[name][place] += weighted[of_part] @ array
            for number, record in enumerate(records_of(effects, predicted, plan.inputs.ids), start=part.start):
                records[(start + number) * n_values + place] = {
                    "target": str(block[number]),
                    **block[number].fields,
                    "value": value,
                    "weight_before": before[number].item(),
                    "weight_after": changes[number].value,
                    **record,
                }
    return Swept(records=records, by_target=by_target, by_input=by_input)


def _each_alone(plan: Plan, changes: Sequence[WeightChange]) -> Iterator[tuple[slice, np.ndarray]]:
    """Changes and the Q-values under each alone, (changes, n, n_actions): stored by an earlier run, or computed."""
    observations, kept, shape = plan.inputs.observations, plan.kept, plan.baseline.q_values.shape
    row_bytes, at_once = 8 * shape[0] * shape[1], plan.network.changes_at_once(shape[0])
    in_block = at_once * max(1, _BLOCK_BYTES // (row_bytes * at_once))
    run = sha256_of(repr(changes).encode())
    for start in range(0, len(changes), in_block):
        stop = min(start + in_block, len(changes))
        parts = [slice(first, min(first + at_once, stop)) for first in range(start, stop, at_once)]
        name = f"{run} {start} to {stop}"
        data = None if kept is None else kept.read(name)
        if data is not None and len(data) == row_bytes * (stop - start):
            found = np.frombuffer(data, "<f8").reshape(-1, *shape)
        else:
            found = np.empty((stop - start, *shape), "<f8")  # small arrays kept between passes would fragment the heap
            for part in parts:
                found[part.start - start : part.stop - start] = plan.network.scores_of_changes(
                    observations, changes[part]
                )
            if kept is not None:
                kept.keep(name, found.tobytes())
        for part in parts:
            yield part, found[part.start - start : part.stop - start]


def sweep_together(plan: Plan, targets: Sequence[WeightTarget]) -> list[dict[str, Any]]:
    """All targets at once, at each value; one record a value."""
    observations = plan.inputs.observations
    records = []
    summed = np.zeros((len(plan.values), len(plan.inputs.ids)))
    at_once = max(1, _GRADIENTS_AT_ONCE // len(plan.inputs.ids))
    changes_by_value = [changes_of(targets, plan.tensors, plan.mode, value) for value in plan.values]
    before = np.array([weight_before(target, plan.tensors) for target in targets])
    differences = np.array([[change.value for change in changes] for changes in changes_by_value]) - before
    for start in range(0, len(targets), at_once):
        part = slice(start, start + at_once)
        summed += differences[:, part] @ plan.gradients(targets[part])
    for place, value in enumerate(plan.values):
        with plan.network.with_weights(changes_by_value[place]) as network:
            q_values = network.scores(observations)
        effects = effects_of(plan.baseline, q_values[None])
        (record,) = records_of(effects, summed[place][None], plan.inputs.ids)
        head = {"target": "all together", "layer_name": None, "neuron_index": None, "weight_index": None}
        records.append({**head, "value": value, "weight_before": None, "weight_after": None, **record})
    return records
