"""Forward passes in chunks of 64 rows, so that order and grouping of the inputs never change a bit.

A row's float32 result depends on the size of the batch it rides in. Every pass therefore has exactly 64 rows; the
last chunk is filled up with copies of its last row.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import torch

from Neuron_Selection.errors import SuiteError
from Neuron_Selection.FileFormats.observations import Observations, count_of, rows_of
from Neuron_Selection.FileFormats.patch_spec import Neurons
from Neuron_Selection.FileFormats.provenance import CHUNK_ROWS
from Neuron_Selection.PatchingTooling.torch_network.agents import Agent
from Neuron_Selection.PatchingTooling.torch_network.custom_runs import errors_told
from Neuron_Selection.PatchingTooling.torch_network.hooks import patched, recorded


def compute_q_values(agent: Agent, observations: Observations) -> np.ndarray:
    """Q-values.

    :param observations: n of them, in the dtype of the space
    :return: (n, n_actions), in the agent's dtype
    :raises SuiteError: Q-values that are not finite
    """
    return np.concatenate([_forward(agent, observations, rows)[:count] for rows, count in _chunks(observations)])


def record_activations(agent: Agent, observations: Observations, layers: Sequence[str]) -> dict[str, np.ndarray]:
    """Outputs of layers.

    :return: layer to (n, *shape), in the agent's dtype
    """
    parts: dict[str, list[np.ndarray]] = {layer: [] for layer in layers}
    for rows, count in _chunks(observations):
        with recorded(agent.q_net, layers) as outputs:
            _forward(agent, observations, rows)
        for layer, output in outputs.items():
            parts[layer].append(output[:count].cpu().numpy())
    return {layer: np.concatenate(arrays) for layer, arrays in parts.items()}


def compute_patched_q_values(
    agent: Agent, observations: Observations, source: Mapping[str, np.ndarray], patch: Mapping[str, Neurons]
) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Q-values with some neurons held at what they were in another run.

    :param source: layer to (n, *shape), row by row what the neurons shall output
    :param patch: layer to its neurons
    :return: (n, n_actions), in the agent's dtype; and layer to the number of values that really changed, (n,)
    :raises SuiteError: Q-values that are not finite, or a layer that did not fire exactly once
    """
    layers = {name: agent.layers.layers[name] for name in patch}
    device = agent.policy.device
    neurons = {
        name: torch.tensor(range(layers[name].width) if indices == "all" else indices, dtype=torch.int64, device=device)
        for name, indices in patch.items()
    }
    axes = {name: layer.neuron_axis for name, layer in layers.items()}
    q_values: list[np.ndarray] = []
    changed: dict[str, list[np.ndarray]] = {name: [] for name in patch}
    for rows, count in _chunks(observations):
        values = {name: torch.from_numpy(np.ascontiguousarray(source[name][rows])).to(device) for name in patch}
        with patched(agent.q_net, values, neurons, axes=axes) as counts:
            q_values.append(_forward(agent, observations, rows)[:count])
        for name in patch:
            changed[name].append(counts[name][:count].cpu().numpy())
    return np.concatenate(q_values), {name: np.concatenate(parts) for name, parts in changed.items()}


def compute_policy_actions(agent: Agent, observations: Observations) -> np.ndarray:
    """What SB3's policy itself does, deterministically, on the same chunks.

    :return: (n,), int64
    """
    actions = []
    with torch.no_grad():
        for rows, count in _chunks(observations):
            tensors, _ = agent.policy.obs_to_tensor(rows_of(observations, rows))
            actions.append(agent.policy(tensors, deterministic=True)[:count].cpu().numpy())
    return np.concatenate(actions)


def _chunks(observations: Observations) -> Iterator[tuple[np.ndarray, int]]:
    """Row indices of each chunk, always 64 of them, and how many of them count."""
    total = count_of(observations)
    for start in range(0, total, CHUNK_ROWS):
        yield np.minimum(np.arange(start, start + CHUNK_ROWS), total - 1), min(CHUNK_ROWS, total - start)


def _forward(agent: Agent, observations: Observations, rows: np.ndarray) -> np.ndarray:
    with torch.no_grad(), errors_told(agent.custom, dtype=agent.dtype):
        tensors, _ = agent.policy.obs_to_tensor(rows_of(observations, rows))
        q_values: np.ndarray = agent.q_net(tensors).cpu().numpy()
    if not np.isfinite(q_values).all():
        raise SuiteError("Q-values: found NaN or infinity, expected finite numbers")
    return q_values
