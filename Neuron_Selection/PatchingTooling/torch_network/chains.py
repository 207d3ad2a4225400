"""The part of a network that is a chain: modules that run one after the other, up to the Q-values.

A patch leaves everything before it unchanged. Where the layers behind it are a chain, a run may start at the patched
layer, from what the target run computed there. Hooks, which run the whole network, define what is right.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from torch import nn

from Neuron_Selection.FileFormats.provenance import CHUNK_ROWS
from Neuron_Selection.PatchingTooling.torch_network.agents import Agent
from Neuron_Selection.PatchingTooling.torch_network.layer_probe import is_of_sb3
from Neuron_Selection.PatchingTooling.torch_network.patch_batches import PatchBatch, Run


def chain_of(q_net: nn.Module) -> dict[str, nn.Module]:
    """Layer to module, in the order in which they run, as far back from the Q-values as the network is a chain.

    :param q_net: a QNetwork of SB3; the chain of any other is empty, since its ``forward`` may do anything
    """
    if not is_of_sb3(q_net, "QNetwork"):
        return {}
    parts = ["q_net"]
    if is_of_sb3(q_net.get_submodule("features_extractor"), "NatureCNN"):
        parts = ["features_extractor.cnn", "features_extractor.linear", "q_net"]
    return {f"{part}.{name}": module for part in parts for name, module in q_net.get_submodule(part).named_children()}


def behind(chain: Mapping[str, nn.Module], layer: str) -> dict[str, nn.Module]:
    """The chain after one of its layers."""
    names = list(chain)
    return {name: chain[name] for name in names[names.index(layer) + 1 :]}


def run_through(modules: Mapping[str, nn.Module], values: torch.Tensor) -> torch.Tensor:
    """What the last of the modules outputs."""
    for module in modules.values():
        values = module(values)
    return values


def compute_q_values_from(agent: Agent, layer: str, outputs: np.ndarray) -> np.ndarray:
    """Q-values where a layer outputs this.

    :param layer: one of the agent's chain
    :param outputs: (n, *shape)
    :return: (n, n_actions), in the agent's dtype
    """
    following = behind(chain_of(agent.q_net), layer)
    values = torch.from_numpy(np.ascontiguousarray(outputs)).to(agent.policy.device)
    q_values = []
    with torch.no_grad():
        for start in range(0, len(outputs), CHUNK_ROWS):
            rows = np.minimum(np.arange(start, start + CHUNK_ROWS), len(outputs) - 1)
            q_values.append(run_through(following, values[rows])[: len(outputs) - start].cpu().numpy())
    return np.concatenate(q_values)


def chain_run(batch: PatchBatch) -> Run | None:
    """Runs that start at the first patched layer; None where a patched layer is in no chain."""
    chain = chain_of(batch.agent.q_net)
    if not all(name in chain for name in batch.values):
        return None
    first = next(name for name in chain if name in batch.values)
    following = behind(chain, first)
    (own,) = batch.target_run([first])

    def run(patch: torch.Tensor, row: torch.Tensor) -> torch.Tensor:
        output = batch.swapped(first, own.index_select(0, row), patch, row)
        for name, module in following.items():
            output = module(output)
            if name in batch.values:
                output = batch.swapped(name, output, patch, row)
        return output

    return run
