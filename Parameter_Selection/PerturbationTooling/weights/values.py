"""What a weight becomes: set to a value, moved by it, or scaled with it; rounded as the agent stores its weights."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from math import isfinite

import numpy as np

from Neuron_Selection.errors import UsageError, shown
from Neuron_Selection.PatchingTooling.numpy_network.weight_changes import WeightChange
from Parameter_Selection.PerturbationTooling.weights.targets import WeightTarget

MODES: dict[str, Callable[[float, float], float]] = {
    "set": lambda _before, value: value,
    "add": lambda before, value: before + value,
    "scale": lambda before, value: before * value,
}
# zeroed, sign flipped, and a scan around what it is
DEFAULT_SCALES = (0.0, -1.0, -0.5, 0.5, 0.9, 1.1, 1.5, 2.0, 4.0)


def chosen_values(mode: str, values: Iterable[float] | None) -> list[float]:
    """The values to try; of ``scale`` alone there are defaults.

    :raises UsageError: an unknown mode, no values, one that is not finite, or one twice
    """
    if mode not in MODES:
        raise UsageError(f"mode: found {shown(mode)}, expected one of {', '.join(MODES)}")
    chosen = list(DEFAULT_SCALES) if values is None and mode == "scale" else [float(value) for value in values or ()]
    if not chosen:
        raise UsageError(f"values: found none, expected at least one for mode {mode}")
    for value in chosen:
        if not isfinite(value):
            raise UsageError(f"values: found {value}, expected finite numbers")
        if chosen.count(value) > 1:
            raise UsageError(f"values: found {value!r} twice, expected once")
    return chosen


def changes_of(
    targets: Iterable[WeightTarget], tensors: Mapping[str, np.ndarray], mode: str, value: float
) -> list[WeightChange]:
    """What the targets become, in the dtype of their tensors: float32 agents can hold no other numbers.

    :raises UsageError: a result that this dtype cannot hold, or a weight that is not finite
    """
    changes = []
    for target in targets:
        before = weight_before(target, tensors)
        wanted = MODES[mode](before, value)
        changes.append(change_to(target, wanted, tensors))
    return changes


def change_to(target: WeightTarget, value: float, tensors: Mapping[str, np.ndarray]) -> WeightChange:
    """The target with this value, rounded to the dtype of its tensor.

    :raises UsageError: not finite, or too large for the dtype
    """
    dtype = tensors[target.parameter].dtype
    limit = float(np.finfo(dtype).max)
    if not abs(value) <= limit:  # NaN too
        raise UsageError(f"{target}: found the value {value}, expected a finite {dtype.name}")
    rounded = float(dtype.type(value))
    return WeightChange(parameter=target.parameter, row=target.row, column=target.column, value=rounded)


def weight_before(target: WeightTarget, tensors: Mapping[str, np.ndarray]) -> float:
    """What the weight is in the agent."""
    return float(tensors[target.parameter][target.row].flat[target.column])
