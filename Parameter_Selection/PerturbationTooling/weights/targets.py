"""Which weights are changed: one row and column of a weight, ``q_net.0.weight[61,5]``."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from Neuron_Selection.errors import InputError, UsageError, shown
from Neuron_Selection.FileFormats.storage.known_names import refuse_unknown
from SaliencyTooling.weight_ranking import weight_matrices

_TARGET = re.compile(r"\s*([^\s\[\]=]+)\s*\[\s*([0-9]{1,18})\s*,\s*([0-9]{1,18})\s*\]\s*", re.ASCII)
_WHERE = "weights"


@dataclass(frozen=True, kw_only=True, slots=True)
class WeightTarget:
    """One entry of a weight: ``row`` is the neuron, ``column`` the flat C-order index in the neuron's row."""

    parameter: str
    row: int
    column: int

    def __str__(self) -> str:
        return f"{self.parameter}[{self.row},{self.column}]"


def parse_weight_targets(text: str) -> list[WeightTarget]:
    """``"q_net.0.weight[61,5]; q_net.2.weight[0,3]"``; blanks and a trailing ``;`` are allowed.

    :raises UsageError: no target, or a part that is none
    """
    parts = [part for part in text.split(";") if part.strip()]
    if not parts:
        raise UsageError(f"weights: found {shown(text)}, expected PARAMETER[ROW,COLUMN]; ...")
    return [parse_weight_target(part) for part in parts]


def parse_weight_target(text: str) -> WeightTarget:
    """One ``q_net.0.weight[61,5]``.

    :raises UsageError: something else
    """
    match = _TARGET.fullmatch(text)
    if match is None:
        raise UsageError(f"weights: found {shown(text.strip())}, expected PARAMETER[ROW,COLUMN]")
    return WeightTarget(parameter=match[1], row=int(match[2]), column=int(match[3]))


def check_targets(
    targets: Sequence[WeightTarget], tensors: Mapping[str, np.ndarray], *, where: object = _WHERE
) -> list[WeightTarget]:
    """The targets, each once and in the network.

    :param tensors: every tensor of the online network
    :raises InputError: none at all, one twice, an unknown parameter, a bias, an index outside
    """
    if not targets:
        raise InputError(where, found="no weights", expected="at least one to change")
    matrices = weight_matrices(tensors)
    for parameter in dict.fromkeys(target.parameter for target in targets):
        if parameter in tensors and parameter not in matrices:
            found = f"a tensor of shape {tensors[parameter].shape}"
            raise InputError(where, shown(parameter), found=found, expected="a weight of rows and columns")
        refuse_unknown([parameter], list(matrices), what="parameter", where=where)
    seen: set[WeightTarget] = set()
    for target in targets:
        height, width = _sides(matrices[target.parameter])
        if not (0 <= target.row < height and 0 <= target.column < width):
            expected = f"rows 0..{height - 1}, columns 0..{width - 1}"
            raise InputError(where, str(target), found="an index outside of this agent's weight", expected=expected)
        if target in seen:
            raise InputError(where, str(target), found="this weight twice", expected="once")
        seen.add(target)
    return list(targets)


def all_weights_of(layers: Sequence[str], tensors: Mapping[str, np.ndarray]) -> list[WeightTarget]:
    """Every weight of these layers.

    :param layers: ``q_net.0`` or ``q_net.0.weight``
    :raises SuiteError: a layer without weights, or one named twice
    """
    matrices = weight_matrices(tensors)
    names = [f"{layer.removesuffix('.weight')}.weight" for layer in layers]
    refuse_unknown(names, list(matrices), what="parameter", where=_WHERE)
    return [
        WeightTarget(parameter=name, row=row, column=column)
        for name in names
        for row in range(_sides(matrices[name])[0])
        for column in range(_sides(matrices[name])[1])
    ]


def targets_of_candidates(
    document: Mapping[str, Any], tensors: Mapping[str, np.ndarray], *, where: Path
) -> list[WeightTarget]:
    """The weight targets of a candidate_weights.json that was read and is held against this network.

    :raises InputError: it does not fit this network
    """
    targets = [
        WeightTarget(parameter=one["layer_name"], row=one["neuron_index"], column=one["weight_index"])
        for one in document["weight_targets"]
    ]
    check_targets(targets, tensors, where=where)
    neurons = document.get("neuron_weights")
    for experiment, told in neurons.items() if isinstance(neurons, dict) else ():
        parameter, row = (told.get("layer_name"), told.get("weights")) if isinstance(told, dict) else (None, None)
        if isinstance(parameter, str) and parameter in tensors and isinstance(row, list):
            width, count = _sides(tensors[parameter])[1], _count(row)
            if count != width:
                field = f"neuron_weights.{shown(experiment, quoted=False)}.weights"
                raise InputError(where, field, found=f"{count} numbers", expected=f"{width}, as in this agent")
    return targets


def _count(row: list[Any]) -> int:
    """How many numbers; the row of a convolution is read flat, as we write it, and nested (channels, *kernel)."""
    count, level = 0, row
    while level:
        count += sum(not isinstance(item, list) for item in level)
        level = [inner for item in level if isinstance(item, list) for inner in item]
    return count


def _sides(array: np.ndarray) -> tuple[int, int]:
    """Rows, and columns of the flattened row."""
    return len(array), array[0].size
