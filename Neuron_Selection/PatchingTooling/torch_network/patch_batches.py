"""Many patches of the same layers on the same inputs, as tensors; and the passes that run them.

The rows of a pass are pairs of a patch and an input, always 64 of them, so that grouping never changes a bit.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import torch

from Neuron_Selection.FileFormats.observations import Observations, count_of
from Neuron_Selection.FileFormats.patch_spec import Neurons
from Neuron_Selection.FileFormats.provenance import CHUNK_ROWS
from Neuron_Selection.PatchingTooling.torch_network.agents import Agent
from Neuron_Selection.PatchingTooling.torch_network.q_values import record_activations

Run: TypeAlias = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
"""Q-values, (64, n_actions), of pairs: which patch, and which input, int64, (64,) each."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class PatchBatch:
    """Patches, and what they take their values from.

    ``values``: layer to what the source run outputs, (n, *shape); ``own``: what is known of the target run, likewise.
    ``masks``: layer to the patched neurons, 1 on every axis but the first and the neurons', (n_patches, ...).
    """

    agent: Agent
    observations: Observations
    patches: Sequence[Mapping[str, Neurons]]
    values: Mapping[str, torch.Tensor]
    masks: Mapping[str, torch.Tensor]
    own: Mapping[str, np.ndarray]

    def swapped(self, layer: str, output: torch.Tensor, patch: torch.Tensor, row: torch.Tensor) -> torch.Tensor:
        """A layer's output with the patched neurons from the source, a new tensor."""
        masks, values = self.masks[layer].index_select(0, patch), self.values[layer].index_select(0, row)
        return torch.where(masks, values, output)

    def target_run(self, layers: Sequence[str]) -> list[torch.Tensor]:
        """What layers output in the target run, (n, *shape) each."""
        known = self.own
        if not all(layer in known for layer in layers):
            known = record_activations(self.agent, self.observations, layers)
        return [torch.from_numpy(known[layer]).to(self.agent.policy.device) for layer in layers]

    def passes(self, *, one_patch_each: bool) -> Iterator[tuple[torch.Tensor, torch.Tensor, int]]:
        """The pairs, patch by patch, and how many of a pass's 64 count."""
        n_inputs, n_patches = count_of(self.observations), len(self.patches)
        groups = [range(patch, patch + 1) for patch in range(n_patches)] if one_patch_each else [range(n_patches)]
        steps = torch.arange(CHUNK_ROWS, device=self.agent.policy.device)
        for group in groups:
            total = len(group) * n_inputs
            for start in range(0, total, CHUNK_ROWS):
                places = (start + steps).clamp_(max=total - 1)
                patch = places.div(n_inputs, rounding_mode="floor")
                yield group[0] + patch, places - patch * n_inputs, min(CHUNK_ROWS, total - start)


def patch_batch(
    agent: Agent,
    observations: Observations,
    source: Mapping[str, np.ndarray],
    patches: Sequence[Mapping[str, Neurons]],
    *,
    own: Mapping[str, np.ndarray] | None = None,
) -> PatchBatch:
    """The patches on the agent's device.

    :param source: layer to (n, *shape)
    """
    device, layers = agent.policy.device, {name: agent.layers.layers[name] for name in patches[0]}
    masks = {}
    for name, layer in layers.items():
        mask = np.zeros((len(patches), layer.width), bool)
        for marked, patch in zip(mask, patches, strict=True):
            neurons = patch[name]
            marked[slice(None) if neurons == "all" else list(neurons)] = True
        shape = [len(mask)] + [1] * len(layer.shape)
        shape[layer.neuron_axis] = layer.width
        masks[name] = torch.from_numpy(mask.reshape(shape)).to(device)
    return PatchBatch(
        agent=agent,
        observations=observations,
        patches=patches,
        values={name: torch.from_numpy(np.ascontiguousarray(source[name])).to(device) for name in layers},
        masks=masks,
        own=own or {},
    )
