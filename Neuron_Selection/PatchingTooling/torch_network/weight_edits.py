"""Temporary changes of weights in a torch network, as a ``with`` block; nothing else writes parameters."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager

import numpy as np
import torch
from torch import nn

from Neuron_Selection.errors import UsageError, shown
from Neuron_Selection.PatchingTooling.agent.network import WeightChange


@contextmanager
def weights_changed(net: nn.Module, edits: Sequence[WeightChange]) -> Iterator[None]:
    """Inside the block the named weights have these values, rounded to the network's dtype.

    However the block ends, and if setting it up fails, every weight is restored bit for bit.

    :param edits: parameter, row, flat index in the row, value; each weight once
    :raises UsageError: before anything is written: no edits, no such weight, one twice, a value that is not finite
    """
    planned = _planned(net, edits)
    with ExitStack() as undo:
        for parameter, index, values in planned:
            with torch.no_grad():
                before = parameter[index].clone()
                undo.callback(_write, parameter, index, before)
                _write(parameter, index, values)
        yield


_Index = tuple[torch.Tensor, ...]


def _write(parameter: nn.Parameter, index: _Index, values: torch.Tensor) -> None:
    with torch.no_grad():
        parameter[index] = values


def _planned(net: nn.Module, edits: Sequence[WeightChange]) -> list[tuple[nn.Parameter, _Index, torch.Tensor]]:
    if not edits:
        raise UsageError("at least one weight to change is required", field="weights")
    named = dict(net.named_parameters(remove_duplicate=False))
    by_parameter: dict[str, list[WeightChange]] = {}
    seen: set[tuple[int, int, int]] = set()
    for edit in edits:
        name = f"{shown(edit.parameter, quoted=False)}[{edit.row},{edit.column}]"
        parameter = named.get(edit.parameter)
        if parameter is None or parameter.ndim < 2:
            weights = [known for known, one in named.items() if one.ndim > 1]
            raise UsageError(f"unknown weight {name}; the weights of this network are {', '.join(weights)}")
        height, width = len(parameter), parameter[0].numel()
        if not (0 <= edit.row < height and 0 <= edit.column < width):
            raise UsageError(
                "index out of range",
                field=f"weight {name}",
                expected=f"rows 0..{height - 1}, columns 0..{width - 1}",
            )
        place = (id(parameter), edit.row, edit.column)  # by identity: one parameter may have two names
        if place in seen:
            raise UsageError(f"weight {name} is given twice")
        seen.add(place)
        by_parameter.setdefault(edit.parameter, []).append(edit)
    planned = []
    for parameter_name, group in by_parameter.items():
        parameter = named[parameter_name]
        columns = np.unravel_index([edit.column for edit in group], tuple(parameter.shape[1:]))
        places = (np.array([edit.row for edit in group]), *columns)
        index = tuple(torch.as_tensor(np.ascontiguousarray(place), device=parameter.device) for place in places)
        exact = torch.tensor([edit.value for edit in group], dtype=torch.float64)
        values = exact.to(device=parameter.device, dtype=parameter.dtype)
        if not bool(torch.isfinite(values).all()):
            raise UsageError(field=f"weight {parameter_name}", found="NaN or infinity", expected="finite numbers")
        planned.append((parameter, index, values))
    return planned
