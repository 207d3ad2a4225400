"""Which engine runs a sweep: numpy for MLPs, torch, hooks where nothing shorter applies, for every other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from Neuron_Selection.errors import UsageError
from Neuron_Selection.FileFormats.observations import Observations
from Neuron_Selection.FileFormats.patch_spec import Neurons
from Neuron_Selection.PatchingTooling import fast_patches
from Neuron_Selection.PatchingTooling.experiment import PatchingExperiment
from Neuron_Selection.PatchingTooling.fast_engine import FastEngine

_REFUSED = "engine fast: "


def open_for_sweep(agent_path: Any, *, engine: str = "auto", **options: Any) -> tuple[PatchingExperiment, str]:
    """The agent under the engine that shall run it, and why that one was taken.

    :param engine: ``auto``, ``fast`` or ``hooks``
    :param options: what ``PatchingExperiment`` takes; a sweep is float64 unless told otherwise
    :raises UsageError: ``fast`` was asked for and does not apply
    """
    on_cpu = options.get("device", "cpu") in ("cpu", "auto") and options.get("dtype") != "float32"
    reason = "as asked for" if engine == "hooks" else "a device or dtype that only hooks have"
    if engine == "fast" or (engine == "auto" and on_cpu):
        try:
            return PatchingExperiment(agent_path, engine="fast", **options), "an MLP"
        except UsageError as error:
            if engine == "fast" or not str(error).startswith(_REFUSED):
                raise
            reason = str(error).removeprefix(_REFUSED).partition(", expected")[0]
    return PatchingExperiment(agent_path, **{**options, "dtype": options.get("dtype") or "float64"}), reason


def activations_of_target(
    experiment: PatchingExperiment, observations: Observations, layers: Sequence[str]
) -> dict[str, np.ndarray]:
    """Outputs in the target run of ``layers``, and of others from which patches of them start: layer to (n, *shape)."""
    if not isinstance(experiment.engine, FastEngine):
        from Neuron_Selection.PatchingTooling.batched_patches import reused_layers

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
    from Neuron_Selection.PatchingTooling import batched_patches

    return batched_patches.compute_q_values_of_patches(experiment.agent, observations, source, patches, own=own)
