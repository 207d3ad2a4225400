"""Gradients of Q-values with respect to every parameter, by autograd on the real ``q_net``, one input at a time."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch

from Neuron_Selection.FileFormats.observations import Observations, count_of, rows_of
from Neuron_Selection.PatchingTooling.torch_network.agents import Agent


def iterate_parameter_gradients(
    agent: Agent, observations: Observations, q_weights: np.ndarray
) -> Iterator[dict[str, np.ndarray]]:
    """The gradient of sum_a q_weights[a] * Q[a] of each input; eval mode, no ``.grad`` is touched.

    :param q_weights: (n, n_actions)
    :return: yields, for one input after the other, parameter to an array of its shape; zeros where it has no part
    """
    names, parameters = zip(*agent.q_net.named_parameters(), strict=True)
    for row in range(count_of(observations)):
        tensors, _ = agent.policy.obs_to_tensor(rows_of(observations, np.array([row])))
        with torch.enable_grad():
            q_values = agent.q_net(tensors)[0]
            wanted = (q_values * torch.as_tensor(q_weights[row], dtype=q_values.dtype, device=q_values.device)).sum()
            gradients = torch.autograd.grad(wanted, parameters, allow_unused=True)
        yield {
            name: (torch.zeros_like(parameter) if gradient is None else gradient).detach().cpu().numpy()
            for name, parameter, gradient in zip(names, parameters, gradients, strict=True)
        }
