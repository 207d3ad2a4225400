"""How else it is done: plain hooks, set weights and autograd on the agent's own ``q_net``, float32."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn
from torch.func import functional_call, grad, vmap

Patch = Mapping[str, Sequence[int]]
Source = Mapping[str, torch.Tensor]


@contextmanager
def swapped(q_net: nn.Module, source: Source, patch: Patch, rows: slice) -> Iterator[None]:
    """The hook that everybody writes."""
    handles = []
    for layer, neurons in patch.items():

        def hook(
            _module: nn.Module, _inputs: Any, output: torch.Tensor, layer: str = layer, neurons: Any = neurons
        ) -> Any:
            output = output.clone()
            output[:, neurons] = source[layer][rows][:, neurons]
            return output

        handles.append(q_net.get_submodule(layer).register_forward_hook(hook))
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


@torch.no_grad()
def batched_hooks(
    q_net: nn.Module, inputs: torch.Tensor, source: Source, patches: Sequence[Patch]
) -> list[torch.Tensor]:
    """One forward a patch, with all inputs in it."""
    q_values = []
    for patch in patches:
        with swapped(q_net, source, patch, slice(None)):
            q_values.append(q_net(inputs))
    return q_values


@torch.no_grad()
def hooks_one_by_one(q_net: nn.Module, inputs: torch.Tensor, source: Source, patches: Sequence[Patch]) -> None:
    """One forward a patch and input."""
    for patch in patches:
        for row in range(len(inputs)):
            with swapped(q_net, source, patch, slice(row, row + 1)):
                q_net(inputs[row : row + 1])


@torch.no_grad()
def set_weights(
    q_net: nn.Module, batches: Sequence[torch.Tensor], changes: Sequence[tuple[str, int, int, float]]
) -> None:
    """Set a weight, run every batch, set it back."""
    for name, row, column, value in changes:
        weight = q_net.get_parameter(name)
        kept = weight[row, column].item()
        weight[row, column] = value
        for batch in batches:
            q_net(batch)
        weight[row, column] = kept


def mean_of_backwards(q_net: nn.Module, inputs: torch.Tensor, actions: Sequence[int]) -> dict[str, torch.Tensor]:
    """A backward an input; magnitudes summed."""
    sums = {name: torch.zeros_like(parameter) for name, parameter in q_net.named_parameters()}
    for row, action in enumerate(actions):
        q_net.zero_grad()
        q_net(inputs[row : row + 1])[0, action].backward()
        for name, parameter in q_net.named_parameters():
            assert parameter.grad is not None
            sums[name] += parameter.grad.abs()
    return {name: total / len(actions) for name, total in sums.items()}


def per_input_gradients(q_net: nn.Module) -> Callable[[torch.Tensor, torch.Tensor], Mapping[str, torch.Tensor]]:
    """vmap(grad): every input's gradients in one tensor a parameter."""
    parameters = {name: parameter.detach() for name, parameter in q_net.named_parameters()}

    def q_value(parameters: Mapping[str, torch.Tensor], row: torch.Tensor, action: torch.Tensor) -> torch.Tensor:
        q_values: torch.Tensor = functional_call(q_net, dict(parameters), (row[None],))
        return q_values[0].gather(0, action)

    gradients = vmap(grad(lambda *a: q_value(*a).squeeze()), in_dims=(None, 0, 0))
    return lambda inputs, actions: gradients(parameters, inputs, actions[:, None])
