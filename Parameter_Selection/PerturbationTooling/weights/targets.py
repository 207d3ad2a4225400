"""Weights to change: one record for a weight, who names it, and the value it gets."""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import isfinite
from pathlib import Path
from typing import Any

import numpy as np

from Neuron_Selection.errors import InputError, SuiteWarning, UsageError, shown
from Neuron_Selection.FileFormats.agent_zip.agent_folder import GRADIENTS
from Neuron_Selection.FileFormats.provenance import fingerprint_in
from Neuron_Selection.FileFormats.storage.atomic_files import read_bytes, sha256_of
from Neuron_Selection.FileFormats.storage.known_names import refuse_unknown
from Neuron_Selection.FileFormats.weights.candidate_weights import CANDIDATES_FILE, load_candidate_weights
from Neuron_Selection.PatchingTooling.agent.network import WeightChange
from Neuron_Selection.PatchingTooling.opened_agent import OpenedAgent
from SaliencyTooling.weight_ranking import weight_matrices

_TARGET = re.compile(r"\s*([^\s\[\]=]+)\s*\[\s*([0-9]{1,18})\s*,\s*([0-9]{1,18})\s*\]\s*", re.ASCII)
_WHERE = "weights"
MODES: dict[str, Callable[[float, float], float]] = {
    "set": lambda _before, value: value,
    "add": lambda before, value: before + value,
    "scale": lambda before, value: before * value,
}
DEFAULT_SCALES = (0.0, -1.0, -0.5, 0.5, 0.9, 1.1, 1.5, 2.0, 4.0)  # zeroed, sign flipped, and a scan around 1


@dataclass(frozen=True, kw_only=True, slots=True)
class WeightTarget:
    """One entry of a weight: ``row`` is the neuron, ``column`` the flat C-order index in the neuron's row."""

    parameter: str
    row: int
    column: int

    def __str__(self) -> str:
        return f"{self.parameter}[{self.row},{self.column}]"

    @property
    def fields(self) -> dict[str, Any]:
        """The target as files hold it."""
        return {"layer_name": self.parameter, "neuron_index": self.row, "weight_index": self.column}


def target_in(record: Mapping[str, Any]) -> WeightTarget:
    """The target in a record that was read from a file and checked."""
    return WeightTarget(parameter=record["layer_name"], row=record["neuron_index"], column=record["weight_index"])


@dataclass(frozen=True, kw_only=True, slots=True)
class ChosenWeights:
    """Weights with their origin. ``origin``: for the metadata. ``paths``: the files that were read."""

    targets: list[WeightTarget]
    origin: dict[str, Any]
    paths: list[Path]


def choose_weights(
    agent: OpenedAgent,
    *,
    candidates: str | Path | None = None,
    weights: str | None = None,
    all_weights: Sequence[str] | None = None,
) -> ChosenWeights:
    """The weights of a candidates file, of a list by hand, or of whole layers; by default the agent's candidates.

    :param candidates: a bare name is looked for in the agent's ``gradient_analysis/`` first
    :param weights: ``"q_net.0.weight[61,5]; q_net.2.weight[0,3]"``
    :param all_weights: layers, ``q_net.0`` or ``q_net.0.weight``
    :raises SuiteError: several of the three, no weights, unknown ones, or the candidates of another agent
    """
    given = {"--candidates": candidates, "--weights": weights, "--all_weights": all_weights}
    names = [name for name, value in given.items() if value is not None]
    if len(names) > 1:
        raise UsageError(f"{names[0]} cannot be used with {names[1]}")
    if weights is not None:
        targets = check_targets(parse_weight_targets(weights), agent.online_weights)
        return ChosenWeights(targets=targets, origin={"weights": [str(target) for target in targets]}, paths=[])
    if all_weights is not None:
        targets = all_weights_of(all_weights, agent.online_weights)
        layers = list(dict.fromkeys(target.parameter for target in targets))
        return ChosenWeights(targets=targets, origin={"all_weights": layers}, paths=[])
    return _candidates(agent, CANDIDATES_FILE if candidates is None else str(candidates))


def _candidates(agent: OpenedAgent, name: str) -> ChosenWeights:
    path = agent.folder.find(name, GRADIENTS, hint="extract.py makes it; --weights names weights by hand")
    document = load_candidate_weights(path)
    recorded = fingerprint_in(document.get("metadata", {}), path)
    if recorded is None:
        message = f"{path}: does not say which agent it belongs to; only its indices are checked"
        warnings.warn(SuiteWarning(message), stacklevel=3)
    elif recorded != agent.agent_zip.weights_sha256:
        own = agent.agent_zip.weights_sha256
        problem = f"the candidates belong to another agent ({recorded[:12]}, this one is {own[:12]})"
        raise InputError(path, "metadata.run.weights_sha256", problem, hint="run initial_test.py again")
    targets = [target_in(record) for record in document["weight_targets"]]
    check_targets(targets, agent.online_weights, where=path)
    _check_rows(document.get("neuron_weights"), agent.online_weights, path)
    origin = {"candidates": {"name": path.name, "sha256": sha256_of(read_bytes(path))}}
    return ChosenWeights(targets=targets, origin=origin, paths=[path])


def parse_weight_targets(text: str) -> list[WeightTarget]:
    """``"q_net.0.weight[61,5]; q_net.2.weight[0,3]"``; blanks and a trailing ``;`` are allowed.

    :raises UsageError: no target, or a part that is none
    """
    parts = [part for part in text.split(";") if part.strip()]
    if not parts:
        raise UsageError(field="weights", found=shown(text), expected="PARAMETER[ROW,COLUMN]; ...")
    return [parse_weight_target(part) for part in parts]


def parse_weight_target(text: str) -> WeightTarget:
    """One ``q_net.0.weight[61,5]``.

    :raises UsageError: something else
    """
    match = _TARGET.fullmatch(text)
    if match is None:
        raise UsageError(field="weights", found=shown(text.strip()), expected="PARAMETER[ROW,COLUMN]")
    return WeightTarget(parameter=match[1], row=int(match[2]), column=int(match[3]))


def all_weights_of(layers: Sequence[str], tensors: Mapping[str, np.ndarray]) -> list[WeightTarget]:
    """Every weight of these layers.

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


def check_targets(
    targets: Sequence[WeightTarget], tensors: Mapping[str, np.ndarray], *, where: object = _WHERE
) -> list[WeightTarget]:
    """The targets, each once and in the network.

    :param tensors: every tensor of the online network
    :raises InputError: none at all, one twice, an unknown parameter, a bias, an index out of range
    """
    if not targets:
        raise InputError(where, "", "names no weight")
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
            raise InputError(where, str(target), "index out of range for this agent", expected=expected)
        if target in seen:
            raise InputError(where, str(target), "is given twice")
        seen.add(target)
    return list(targets)


def _check_rows(neuron_weights: object, tensors: Mapping[str, np.ndarray], where: Path) -> None:
    """Compare the lengths of the rows in a candidates file with those of this network."""
    for experiment, entry in neuron_weights.items() if isinstance(neuron_weights, dict) else ():
        parameter, row = (entry.get("layer_name"), entry.get("weights")) if isinstance(entry, dict) else (None, None)
        if isinstance(parameter, str) and parameter in tensors and isinstance(row, list):
            width, count = _sides(tensors[parameter])[1], _count(row)
            if count != width:
                field = f"neuron_weights.{shown(experiment, quoted=False)}.weights"
                raise InputError(where, field, found=f"{count} numbers", expected=f"{width}, as in this agent")


def _count(row: list[Any]) -> int:
    """How many numbers; the row of a convolution may be flat, as we write it, or nested (channels, *kernel)."""
    count, level = 0, row
    while level:
        count += sum(not isinstance(item, list) for item in level)
        level = [inner for item in level if isinstance(item, list) for inner in item]
    return count


def _sides(array: np.ndarray) -> tuple[int, int]:
    """Rows, and columns of the flattened row."""
    return len(array), array[0].size


def chosen_values(mode: str, values: Iterable[float] | None) -> list[float]:
    """The values to try; only ``scale`` has defaults.

    :raises UsageError: an unknown mode, no values, one that is not finite, or one twice
    """
    if mode not in MODES:
        raise UsageError(field="mode", found=shown(mode), expected=f"one of {', '.join(MODES)}")
    chosen = list(DEFAULT_SCALES) if values is None and mode == "scale" else [float(value) for value in values or ()]
    if not chosen:
        raise UsageError(f"--mode {mode} requires --values")
    for value in chosen:
        if not isfinite(value):
            raise UsageError(field="values", found=str(value), expected="finite numbers")
        if chosen.count(value) > 1:
            raise UsageError(f"{value!r} is given twice", field="values")
    return chosen


def changes_of(
    targets: Iterable[WeightTarget], tensors: Mapping[str, np.ndarray], mode: str, value: float
) -> list[WeightChange]:
    """The targets with their new values, in the dtype of their tensors: float32 agents can hold no other numbers.

    :raises UsageError: a result that this dtype cannot hold, or a weight that is not finite
    """
    return [change_to(target, MODES[mode](weight_before(target, tensors), value), tensors) for target in targets]


def change_to(target: WeightTarget, value: float, tensors: Mapping[str, np.ndarray]) -> WeightChange:
    """The target with this value, rounded to the dtype of its tensor.

    :raises UsageError: not finite, or too large for the dtype
    """
    dtype = tensors[target.parameter].dtype
    limit = float(np.finfo(dtype).max)
    if not abs(value) <= limit:  # NaN too
        raise UsageError(field=str(target), found=f"the value {value}", expected=f"a finite {dtype.name}")
    rounded = float(dtype.type(value))
    return WeightChange(parameter=target.parameter, row=target.row, column=target.column, value=rounded)


def weight_before(target: WeightTarget, tensors: Mapping[str, np.ndarray]) -> float:
    """Value of the weight in the agent."""
    return float(tensors[target.parameter][target.row].flat[target.column])
