"""Interventions as tests write them: a patch, and the activations of a source run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from Neuron_Selection.FileFormats.patch_spec import Neurons
from Neuron_Selection.PatchingTooling.agent.interventions import replacing
from Neuron_Selection.PatchingTooling.agent.network import Network

Source = Mapping[str, np.ndarray]


def patched(
    network: Network, observations: Any, source: Source, patch: Mapping[str, Neurons]
) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Scores, (n, n_actions), and layer to the number of values that changed, (n,)."""
    run = network.patched(observations, replacing(patch, source))
    return run.scores, run.changed


def patched_many(
    network: Network, observations: Any, source: Source, patches: Sequence[Mapping[str, Neurons]], **more: Any
) -> np.ndarray:
    """Scores under each patch, (n_patches, n, n_actions)."""
    return network.patched_many(observations, [replacing(patch, source) for patch in patches], **more)


def swept(network: Network, observations: Any, source: Source, layers: Sequence[str]) -> dict[str, np.ndarray]:
    """Scores with each neuron of a layer patched alone: layer to (width, n, n_actions)."""
    widths = network.layers.widths
    return {
        layer: patched_many(network, observations, source, [{layer: (neuron,)} for neuron in range(widths[layer])])
        for layer in layers
    }
