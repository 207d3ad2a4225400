"""Many patches by torch, several in one pass: by the shortest way that gives what hooks on the whole network give."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch

from Neuron_Selection.errors import SuiteError
from Neuron_Selection.FileFormats.observations import Observations, count_of, rows_of
from Neuron_Selection.FileFormats.patch_spec import Neurons
from Neuron_Selection.PatchingTooling.torch_network.agents import Agent
from Neuron_Selection.PatchingTooling.torch_network.chains import chain_run
from Neuron_Selection.PatchingTooling.torch_network.channel_changes import channel_run, next_with_weights
from Neuron_Selection.PatchingTooling.torch_network.hooks import observed
from Neuron_Selection.PatchingTooling.torch_network.patch_batches import PatchBatch, Run, patch_batch


def compute_q_values_of_patches(
    agent: Agent,
    observations: Observations,
    source: Mapping[str, np.ndarray],
    patches: Sequence[Mapping[str, Neurons]],
    *,
    own: Mapping[str, np.ndarray] | None = None,
) -> np.ndarray:
    """Q-values under each of many patches, one at a time; ``fast_patches`` has the same in numpy.

    :param source: layer to (n, *shape)
    :param patches: all of the same layers
    :param own: what is known of the target run already, layer to (n, *shape); ``reused_layers`` are worth recording
    :return: (n_patches, n, n_actions), in the agent's dtype
    """
    batch = patch_batch(agent, observations, source, patches, own=own)
    with torch.no_grad():
        run, one_patch_each = channel_run(batch) or (chain_run(batch) or hooked_run(batch), False)
        q_values = [
            run(patch, row)[:count].cpu().numpy() for patch, row, count in batch.passes(one_patch_each=one_patch_each)
        ]
    found = np.concatenate(q_values).reshape(len(patches), count_of(observations), -1)
    if not np.isfinite(found).all():
        raise SuiteError("Q-values: found NaN or infinity, expected finite numbers")
    return found


def reused_layers(agent: Agent, layers: Sequence[str]) -> list[str]:
    """The layers whose outputs in the target run serve patches of ``layers``."""
    behind = [next_with_weights(agent, layer) for layer in layers] if len(layers) == 1 else []
    return [*layers, *(layer for layer in behind if layer is not None)]


def hooked_run(batch: PatchBatch) -> Run:
    """Runs of the whole network under hooks: they define what the others must give."""

    def run(patch: torch.Tensor, row: torch.Tensor) -> torch.Tensor:
        tensors, _ = batch.agent.policy.obs_to_tensor(rows_of(batch.observations, row.cpu().numpy()))
        with observed(batch.agent.q_net, batch.values, lambda name, output: batch.swapped(name, output, patch, row)):
            q_values: torch.Tensor = batch.agent.q_net(tensors)
        return q_values

    return run
