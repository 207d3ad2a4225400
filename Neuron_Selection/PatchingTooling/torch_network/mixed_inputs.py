"""One step of a chain in which every neuron reads its own mixture of two runs, by masked weights.

Neuron v reads the first run's neurons that its mask names, and the second run's elsewhere: W x2 + b + (W * mask) (x1 -
x2), of a Linear or a convolution.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from Neuron_Selection.PatchingTooling.torch_network.many_patches import after, chain_of, run_through

if TYPE_CHECKING:
    from Neuron_Selection.PatchingTooling.torch_network.network import TorchNetwork

_ROWS_AT_ONCE = 256


def mixed_outputs(
    network: TorchNetwork, reached: str, layer: str, *, mask: np.ndarray, outputs: np.ndarray, others: np.ndarray
) -> np.ndarray | None:
    """See ``Network``; None outside of a chain, or where more than one Linear or convolution is in between."""
    chain = chain_of(network.module, network.head)
    if layer not in chain:
        return None
    following = after(chain, layer)
    names = list(following)[: list(following).index(reached) + 1 if reached else None]
    place = next((number for number, name in enumerate(names) if not isinstance(following[name], nn.Flatten)), 0)
    module, rest = following[names[place]], {name: following[name] for name in names[place + 1 :]}
    if any(isinstance(one, nn.Linear | nn.Conv2d) for one in rest.values()):
        return None
    if isinstance(module, nn.Linear):
        n_repeats = module.out_features // mask.shape[1]  # of the scores, quantiles x actions
        of_weights = np.repeat(np.tile(mask.T, (n_repeats, 1)), module.in_features // len(mask), axis=1)
    elif isinstance(module, nn.Conv2d) and module.groups == 1 and module.padding_mode == "zeros":
        of_weights = mask.T[:, :, None, None]
    else:
        return None
    weight = module.weight * torch.from_numpy(np.ascontiguousarray(of_weights)).to(network.device)
    parts = []
    with torch.no_grad():
        for start in range(0, len(outputs), _ROWS_AT_ONCE):
            first, second = (_tensor(array[start : start + _ROWS_AT_ONCE], weight) for array in (outputs, others))
            sums = _applied(module, first - second, weight) + _applied(module, second, module.weight, module.bias)
            found = run_through(rest, sums)
            parts.append((found if reached else network.head.scores_from(found)).cpu().numpy())
    return np.concatenate(parts)


def _tensor(array: np.ndarray, like: torch.Tensor) -> torch.Tensor:
    return torch.from_numpy(np.ascontiguousarray(array)).to(like.device, dtype=like.dtype)


def _applied(
    module: nn.Linear | nn.Conv2d, values: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None = None
) -> torch.Tensor:
    """What a module computes with this weight and bias."""
    if isinstance(module, nn.Linear):
        return functional.linear(values.flatten(1), weight, bias)
    return functional.conv2d(values, weight, bias, module.stride, module.padding, module.dilation)
