"""Forward hooks as ``with`` blocks: what a network computes is seen, or replaced, for one forward pass.

``compute_in_double`` alone is for good: it belongs to a network of our own making.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import nn

from Neuron_Selection.errors import CheckError, SuiteError


@contextmanager
def observed(net: nn.Module, layers: Iterable[str], see: Callable[[str, Any], Any]) -> Iterator[None]:
    """Inside the block, ``see(layer, output)`` is called whenever a layer fires.

    Where it returns something else than None, that takes the output's place. All hooks go when the block ends,
    however it ends; those that were there before stay.
    """
    with ExitStack() as undo:  # undoes a half-done set-up too
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
def patched(
    net: nn.Module,
    values: Mapping[str, torch.Tensor],
    neurons: Mapping[str, torch.Tensor],
    *,
    axes: Mapping[str, int],
) -> Iterator[dict[str, torch.Tensor]]:
    """Inside the block, in one forward pass, the named neurons output ``values`` instead of what they compute.

    :param values: layer to what it would output if all its neurons were patched, (n, *shape)
    :param neurons: layer to the indices that are patched, int64
    :param axes: layer to the axis of its output that counts neurons
    :return: yields a dict that the pass fills: layer to the number of values that really changed, (n,)
    :raises SuiteError: in the pass, for values of another shape
    :raises CheckError: at the end of the block, for a layer that did not fire exactly once
    """
    changed: dict[str, torch.Tensor] = {}
    with _each_fires_once(neurons) as count:

        def swap(layer: str, output: torch.Tensor) -> torch.Tensor:
            count(layer)
            source, axis, indices = values[layer], axes[layer], neurons[layer]
            if source.shape != output.shape:
                raise SuiteError(
                    f"layer {layer}: found a source of {tuple(source.shape)}, expected {tuple(output.shape)}"
                )
            swapped = output.clone()  # laid out in memory as it was: another layout gives other bits behind it
            swapped.index_copy_(axis, indices, source.index_select(axis, indices))
            changed[layer] = (swapped != output).flatten(1).sum(dim=1)
            return swapped

        with observed(net, neurons, swap):
            yield changed


@contextmanager
def _each_fires_once(layers: Iterable[str]) -> Iterator[Callable[[str], None]]:
    counts = dict.fromkeys(layers, 0)

    def count(layer: str) -> None:
        counts[layer] += 1

    yield count
    for layer, times in counts.items():
        if times != 1:
            raise CheckError("hooks_fired", f"layer {layer}: found {times} firings in one forward pass, expected 1")


def compute_in_double(q_net: nn.Module, features_extractor: nn.Module) -> None:
    """Turn a Q-network to float64 for good; observations are cast after SB3's preprocessing, which gives float32."""
    q_net.double()

    def cast(_module: nn.Module, arguments: tuple[Any, ...]) -> tuple[Any, ...]:
        return tuple(_as_double(argument) for argument in arguments)

    features_extractor.register_forward_pre_hook(cast)


def _as_double(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _as_double(part) for key, part in value.items()}
    return value.double() if isinstance(value, torch.Tensor) and value.is_floating_point() else value
