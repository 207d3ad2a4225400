"""Forward hooks as ``with`` blocks: outputs of layers are observed or edited for one forward pass."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any

import numpy as np
import torch
from torch import nn

from Neuron_Selection.errors import CheckError, SuiteError
from Neuron_Selection.PatchingTooling.agent.interventions import OPERATIONS, Edit, Intervention
from Neuron_Selection.PatchingTooling.agent.layers import Layer


@contextmanager
def observed(net: nn.Module, layers: Iterable[str], see: Callable[[str, Any], Any]) -> Iterator[None]:
    """Inside the block, ``see(layer, output)`` is called whenever a layer fires.

    If it returns something else than None, that replaces the output. All hooks are removed when the block ends,
    however it ends; hooks of others stay.
    """
    with ExitStack() as undo:  # removes the hooks of a half-done set-up too
        for layer in layers:

            def hook(_module: nn.Module, _arguments: Any, output: Any, layer: str = layer) -> Any:
                return see(layer, output)

            undo.callback(net.get_submodule(layer).register_forward_hook(hook).remove)
        yield


@contextmanager
def recorded(net: nn.Module, layers: Iterable[str]) -> Iterator[dict[str, torch.Tensor]]:
    """Inside the block, one forward pass fills the dict with each layer's output.

    :raises CheckError: at the end of the block, for a layer that did not fire exactly once
    """
    outputs: dict[str, torch.Tensor] = {}
    with _each_fires_once(layers) as count:

        def record(layer: str, output: torch.Tensor) -> None:
            count(layer)
            outputs[layer] = output.detach().clone()  # an in-place activation would overwrite it

        with observed(net, layers, record):
            yield outputs


@contextmanager
def patched(net: nn.Module, intervention: Intervention, *, layers: Mapping[str, Layer]) -> Iterator[dict[str, Any]]:
    """Inside the block, in one forward pass, edited neurons output something else than what they compute.

    :param intervention: layer to its edit, with one row of values for each row of the pass, or one for all
    :param layers: the records of the edited layers, which name the axis of their neurons
    :return: yields a dict that the pass fills: layer to the number of values that really changed, (n,)
    :raises SuiteError: in the pass, for values of another shape
    :raises CheckError: at the end of the block, for a layer that did not fire exactly once
    """
    changed: dict[str, torch.Tensor] = {}
    with _each_fires_once(intervention) as count:

        def edited(layer: str, output: torch.Tensor) -> torch.Tensor:
            count(layer)
            edit, axis = intervention[layer], layers[layer].neuron_axis
            values = edit_values(layer, edit, output)
            neurons = range(layers[layer].width) if edit.neurons == "all" else edit.neurons
            indices = torch.tensor(neurons, dtype=torch.int64, device=output.device)
            new = OPERATIONS[edit.operation](output, *values).expand(output.shape)
            result = output.clone()  # laid out in memory as it was: another layout gives other bits after it
            result.index_copy_(axis, indices, new.index_select(axis, indices))
            changed[layer] = (result != output).flatten(1).sum(dim=1)
            return result

        with observed(net, intervention, edited):
            yield changed


def edit_values(layer: str, edit: Edit, output: torch.Tensor) -> list[torch.Tensor]:
    """An edit's values as tensors that fit a layer's output: of its shape, of one row of it, or a single number.

    :raises SuiteError: values of another shape
    """
    for array in edit.values:
        if array.shape not in {tuple(output.shape), (1, *output.shape[1:]), (1, 1)}:
            raise SuiteError(
                field=f"layer {layer}", found=f"values of {array.shape}", expected=str(tuple(output.shape))
            )
    return [
        torch.as_tensor(np.ascontiguousarray(array), dtype=output.dtype, device=output.device) for array in edit.values
    ]


@contextmanager
def _each_fires_once(layers: Iterable[str]) -> Iterator[Callable[[str], None]]:
    counts = dict.fromkeys(layers, 0)

    def count(layer: str) -> None:
        counts[layer] += 1

    yield count
    for layer, times in counts.items():
        if times != 1:
            raise CheckError(
                "hooks_fired", field=f"layer {layer}", found=f"{times} firings in one forward pass", expected="1"
            )


def compute_in_double(module: nn.Module, features_extractors: Iterable[nn.Module]) -> None:
    """Convert a network to float64 for good; observations are cast after SB3's preprocessing, which gives float32."""
    module.double()

    def cast(_module: nn.Module, arguments: tuple[Any, ...]) -> tuple[Any, ...]:
        return tuple(_as_double(argument) for argument in arguments)

    for features_extractor in features_extractors:
        features_extractor.register_forward_pre_hook(cast)


def _as_double(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _as_double(part) for key, part in value.items()}
    return value.double() if isinstance(value, torch.Tensor) and value.is_floating_point() else value
