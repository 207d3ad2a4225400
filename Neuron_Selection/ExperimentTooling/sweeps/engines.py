"""What a sweep asks of its engine: what the target computes, and Q-values under many patches."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise

import numpy as np

from Neuron_Selection.FileFormats.observations import Observations
from Neuron_Selection.FileFormats.patch_spec import Neurons
from Neuron_Selection.PatchingTooling.experiment import PatchingExperiment
from Neuron_Selection.PatchingTooling.numpy_network import patches as fast_patches
from Neuron_Selection.PatchingTooling.numpy_network.engine import FastEngine


def read_by(experiment: PatchingExperiment, layer: str) -> str:
    """The kind of the one module that reads a layer's output; empty where others might read it as well.

    Modules that merely fire one after the other need not: between a convolution and a ReLU a residual network adds.
    """
    if isinstance(experiment.engine, FastEngine):
        order = [*experiment.layer_table.layers.values()]
        following = order[[one.name for one in order].index(layer) + 1 :]
        return following[0].kind if following else ""
    from torch import nn

    parent = experiment.agent.q_net.get_submodule(layer.rpartition(".")[0])
    modules = list(parent.children()) if type(parent) is nn.Sequential else []
    own = experiment.agent.q_net.get_submodule(layer)
    behind = [type(after).__name__ for module, after in pairwise(modules) if module is own]
    return behind[0] if len(behind) == 1 else ""


def activations_of_target(
    experiment: PatchingExperiment, observations: Observations, layers: Sequence[str]
) -> dict[str, np.ndarray]:
    """Outputs in the target run of ``layers``, and of others from which patches of them start: layer to (n, *shape)."""
    if not isinstance(experiment.engine, FastEngine):
        from Neuron_Selection.PatchingTooling.torch_network.batched_patches import reused_layers

        layers = reused_layers(experiment.agent, layers)
    return experiment.engine.activations(observations, layers)


def q_values_of_patches(
    experiment: PatchingExperiment,
    observations: Observations,
    source: Mapping[str, np.ndarray],
    patches: Sequence[Mapping[str, Neurons]],
    *,
    own: Mapping[str, np.ndarray] | None = None,
) -> np.ndarray:
    """Q-values under each of many patches of the same layers, by the experiment's engine.

    :param source: layer to (n, *shape)
    :param own: what ``activations_of_target`` gave, where it was called before
    :return: (n_patches, n, n_actions)
    """
    engine = experiment.engine
    if isinstance(engine, FastEngine):
        return fast_patches.compute_q_values_of_patches(engine.network, observations, source, patches)
    from Neuron_Selection.PatchingTooling.torch_network import batched_patches

    return batched_patches.compute_q_values_of_patches(experiment.agent, observations, source, patches, own=own)
