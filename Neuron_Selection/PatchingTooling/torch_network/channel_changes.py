"""One channel of a convolution patched: the layer behind it moves by that channel alone.

Where a channel changes by delta, the next convolution's output changes by a convolution of one input channel, and that
of a Linear behind a Flatten by one block of its columns. What the target run computed there is used again; only what
lies behind is run in full.
"""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional

from Neuron_Selection.PatchingTooling.torch_network.agents import Agent
from Neuron_Selection.PatchingTooling.torch_network.chains import behind, chain_of, run_through
from Neuron_Selection.PatchingTooling.torch_network.patch_batches import PatchBatch, Run


def next_with_weights(agent: Agent, layer: str) -> str | None:
    """The layer that a channel moves first; None where there are no channels, or the network is no chain there."""
    chain = chain_of(agent.q_net)
    if layer not in chain or len(agent.layers.layers[layer].shape) != 3:
        return None
    skipped = (nn.Flatten,) if isinstance(chain[layer], nn.ReLU) else (nn.ReLU, nn.Flatten)
    following = behind(chain, layer).items()
    name, module = next((name, module) for name, module in following if not isinstance(module, skipped))
    plain = isinstance(module, nn.Conv2d) and module.groups == 1 and module.padding_mode == "zeros"
    return name if plain or isinstance(module, nn.Linear) else None


def channel_run(batch: PatchBatch) -> tuple[Run, bool] | None:
    """How pairs are run, and whether those of one pass must share their patch.

    :return: None where a patch is anything else than one channel
    """
    layer = next(iter(batch.values))
    next_layer = next_with_weights(batch.agent, layer)
    if next_layer is None or any([*map(len, patch.values())] != [1] for patch in batch.patches):
        return None
    chain = chain_of(batch.agent.q_net)
    module, rest = chain[next_layer], behind(chain, next_layer)
    own, reached = batch.target_run([layer, next_layer])
    values = batch.values[layer]
    delta = values - own if isinstance(chain[layer], nn.ReLU) else values.relu() - own.relu()
    channels = batch.masks[layer].flatten(1).int().argmax(dim=1)  # (n_patches,)

    def run_convolution(patch: torch.Tensor, row: torch.Tensor) -> torch.Tensor:
        channel = channels.index_select(0, patch)
        moved = _convolved(module, by_channel.index_select(0, channel), delta[row, channel, None])
        return run_through(rest, moved.view(len(row), *reached.shape[1:]).add_(reached.index_select(0, row)))

    def run_linear(patch: torch.Tensor, row: torch.Tensor) -> torch.Tensor:
        channel = int(channels[patch[0]])
        moving = delta.select(1, channel).index_select(0, row).flatten(1)
        return run_through(rest, torch.addmm(reached.index_select(0, row), moving, by_channel[channel]))

    if isinstance(module, nn.Linear):
        by_channel = module.weight.T.reshape(delta.shape[1], -1, module.out_features)  # (channels, places, width)
        return run_linear, True
    by_channel = module.get_parameter("weight").transpose(0, 1).flatten(2)  # (channels, channels out, kernel)
    return run_convolution, False


def _convolved(convolution: nn.Module, kernels: torch.Tensor, images: torch.Tensor) -> torch.Tensor:
    """Images of one channel, each convolved with kernels of its own; a row's bits depend on nothing but the row.

    :param kernels: (rows, channels out, kernel)
    :param images: (rows, 1, height, width)
    :return: (rows, channels out, places)
    """
    assert isinstance(convolution, nn.Conv2d)  # noqa: S101 - the caller looked
    return torch.bmm(kernels, functional.unfold(images, **{k: getattr(convolution, k) for k in _GEOMETRY}))


_GEOMETRY = ("kernel_size", "dilation", "padding", "stride")
