"""Many patches by hooks, several in one pass: the rows of a batch are pairs of a patch and an input."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch

from Neuron_Selection.errors import SuiteError
from Neuron_Selection.FileFormats.observations import Observations, count_of, rows_of
from Neuron_Selection.FileFormats.patch_spec import Neurons
from Neuron_Selection.FileFormats.run_metadata import CHUNK_ROWS
from Neuron_Selection.PatchingTooling.agents import Agent
from Neuron_Selection.PatchingTooling.hooks import observed


def compute_q_values_of_patches(
    agent: Agent,
    observations: Observations,
    source: Mapping[str, np.ndarray],
    patches: Sequence[Mapping[str, Neurons]],
) -> np.ndarray:
    """Q-values under each of many patches, one at a time; ``fast_patches`` has the same in numpy.

    :param source: layer to (n, *shape)
    :param patches: all of the same layers
    :return: (n_patches, n, n_actions), in the agent's dtype
    """
    device = agent.policy.device
    layers = {name: agent.layers.layers[name] for name in patches[0]}
    values = {name: torch.from_numpy(np.ascontiguousarray(source[name])).to(device) for name in layers}
    masks = {name: torch.from_numpy(_mask(patches, name, layer.width)).to(device) for name, layer in layers.items()}
    n_inputs = count_of(observations)
    total = len(patches) * n_inputs
    q_values: list[np.ndarray] = []
    with torch.no_grad():
        for start in range(0, total, CHUNK_ROWS):
            places = np.minimum(np.arange(start, start + CHUNK_ROWS), total - 1)
            patch, row = np.divmod(places, n_inputs)
            mixed = {name: (values[name][row], masks[name][patch]) for name in layers}

            def swap(
                name: str,
                output: torch.Tensor,
                mixed: Mapping[str, tuple[torch.Tensor, torch.Tensor]] = mixed,
            ) -> torch.Tensor:
                new, mask = mixed[name]
                shape = [len(mask)] + [1] * (output.dim() - 1)
                shape[layers[name].neuron_axis] = mask.shape[1]
                return torch.where(mask.reshape(shape), new, output)

            tensors, _ = agent.policy.obs_to_tensor(rows_of(observations, row))
            with observed(agent.q_net, layers, swap):
                q_values.append(agent.q_net(tensors)[: min(CHUNK_ROWS, total - start)].cpu().numpy())
    found = np.concatenate(q_values).reshape(len(patches), n_inputs, -1)
    if not np.isfinite(found).all():
        raise SuiteError("Q-values: found NaN or infinity, expected finite numbers")
    return found


def _mask(patches: Sequence[Mapping[str, Neurons]], name: str, width: int) -> np.ndarray:
    """Which neurons of a layer each patch names, (n_patches, width)."""
    mask = np.zeros((len(patches), width), bool)
    for row, patch in zip(mask, patches, strict=True):
        neurons = patch[name]
        row[slice(None) if neurons == "all" else list(neurons)] = True
    return mask
