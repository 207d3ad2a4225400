"""Interventions: what some neurons of some layers output instead of what they compute.

An intervention is a value: layer -> ``Edit``. It holds names, indices and arrays only, so it can be pickled, printed
and given to any network. The values of a stored run, an ablation and a steering vector are all edits.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np

from Neuron_Selection.errors import UsageError, shown
from Neuron_Selection.FileFormats.patch_spec import Neurons, format_patch_spec

Operation: TypeAlias = Callable[..., Any]
OPERATIONS: dict[str, Operation] = {
    "replace": lambda _output, values: values,
    "add": lambda output, values: output + values,
    "scale": lambda output, factors: output * factors,
    "clamp": lambda output, low, high: output.clip(low, high),
}
"""Name to (output, *values) -> new output; arrays of numpy and tensors of torch alike."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Edit:
    """A change of one layer's output.

    :param neurons: indices on the layer's neuron axis, or ``"all"``; other neurons keep their outputs
    :param operation: a key of ``OPERATIONS``
    :param values: its arguments, each (n, *shape) with one row for each input, or (1, ...) for all inputs alike
    """

    neurons: Neurons
    operation: str
    values: tuple[np.ndarray, ...]

    def __post_init__(self) -> None:
        if self.operation not in OPERATIONS:
            raise UsageError(field="operation", found=shown(self.operation), expected=f"one of {', '.join(OPERATIONS)}")

    def of_rows(self, rows: Any) -> Edit:
        """The edit of some of the inputs.

        :param rows: a slice, or indices
        """
        values = tuple(array if len(array) == 1 else array[rows] for array in self.values)
        return Edit(neurons=self.neurons, operation=self.operation, values=values)

    def new_outputs(self, output: Any) -> Any:
        """What the layer would output with every neuron edited.

        :param output: (n, *shape), a numpy array; it is not written to
        """
        return OPERATIONS[self.operation](output, *self.values)


Intervention: TypeAlias = Mapping[str, Edit]


def alike(interventions: Sequence[Intervention]) -> list[list[int]]:
    """The positions of interventions that differ in their neurons only, group by group.

    They edit the same layers by the same operations, with the very same arrays.
    """
    groups: dict[object, list[int]] = {}
    for position, intervention in enumerate(interventions):
        key = frozenset((layer, edit.operation, *map(id, edit.values)) for layer, edit in intervention.items())
        groups.setdefault(key, []).append(position)
    return list(groups.values())


def replacing(neurons: Mapping[str, Neurons], source: Mapping[str, np.ndarray]) -> dict[str, Edit]:
    """Neurons output their values in another run.

    :param neurons: layer to the neurons that are patched
    :param source: layer to (n, *shape), or (1, *shape) for all inputs alike
    """
    return {
        layer: Edit(neurons=chosen, operation="replace", values=(source[layer],)) for layer, chosen in neurons.items()
    }


def adding(neurons: Mapping[str, Neurons], vectors: Mapping[str, np.ndarray]) -> dict[str, Edit]:
    """A vector is added to the outputs of neurons, as in activation steering.

    :param vectors: layer to (n, *shape), or (1, *shape) for all inputs alike
    """
    return {layer: Edit(neurons=chosen, operation="add", values=(vectors[layer],)) for layer, chosen in neurons.items()}


def scaling(neurons: Mapping[str, Neurons], factor: float) -> dict[str, Edit]:
    """The outputs of neurons are multiplied by a factor."""
    return {layer: Edit(neurons=chosen, operation="scale", values=(_one(factor),)) for layer, chosen in neurons.items()}


def clamping(neurons: Mapping[str, Neurons], low: float, high: float) -> dict[str, Edit]:
    """The outputs of neurons are limited to an interval."""
    bounds = (_one(low), _one(high))
    return {layer: Edit(neurons=chosen, operation="clamp", values=bounds) for layer, chosen in neurons.items()}


def format_intervention(intervention: Intervention) -> str:
    """The intervention as text: ``replace q_net.0:5,6;q_net.2:all``, operations joined by ``, then``."""
    by_operation: dict[str, dict[str, Neurons]] = {}
    for layer, edit in intervention.items():
        by_operation.setdefault(edit.operation, {})[layer] = edit.neurons
    return ", ".join(f"{operation} {format_patch_spec(neurons)}" for operation, neurons in by_operation.items())


def _one(value: float) -> np.ndarray:
    return np.full((1, 1), value)
