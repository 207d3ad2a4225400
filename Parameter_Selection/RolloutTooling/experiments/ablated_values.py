"""What ablated neurons output during episodes, for each kind of ``--ablate``.

There is no set of target inputs here: means, standard deviations and resampled values come from reference inputs, and
what is drawn at random is drawn anew in every step, from the episode's seed and the step alone. All experiments of a
run therefore share their draws.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

import numpy as np

from Neuron_Selection.FileFormats.observations import Observations
from Neuron_Selection.PatchingTooling.ablations import Ablation
from Neuron_Selection.PatchingTooling.agent.interventions import Edit
from Neuron_Selection.PatchingTooling.agent.network import Network

_OF_ABLATIONS = 2  # apart from the generators of environments and of actions


class AblatedValues:
    """The edits of one ablation on one network.

    :param reference: inputs for mean, noise and resample
    :param seed: of noise and resample
    """

    def __init__(self, network: Network, ablation: Ablation, reference: Observations | None, *, seed: int) -> None:
        self.ablation, self._seed = ablation, seed
        self._network, self._reference = network, reference
        self.fixed_edit = cache(self._fixed_edit)
        self._activations = cache(self._recorded)

    def _recorded(self, layer: str) -> np.ndarray:
        assert self._reference is not None  # noqa: S101 - the run requires it for the kinds that use it
        return self._network.activations(self._reference, [layer])[layer]

    def _fixed_edit(self, layer: str) -> Edit:
        """The edit of every neuron of a layer, if it is the same in every step."""
        own = {layer: np.zeros((1, *self._network.layers.layers[layer].shape))}
        reference = {layer: self._activations(layer)} if self.ablation.needs_reference else own
        values = self.ablation.values(own, reference=reference, seed=self._seed)[layer]
        return Edit(neurons="all", operation="replace", values=(np.ascontiguousarray(values),))

    def drawn_edit(self, layer: str, moments: Sequence[tuple[int, int]]) -> Edit:
        """The edit of every neuron of a layer, if it is drawn anew.

        :param moments: the seed of the episode and the step of each observation
        """
        number = list(self._network.layers.layers).index(layer)
        draws = [np.random.default_rng((self._seed, _OF_ABLATIONS, number, *moment)) for moment in moments]
        reference = self._activations(layer)
        if self.ablation.kind == "resample":
            rows = [int(draw.integers(len(reference))) for draw in draws]
            return Edit(neurons="all", operation="replace", values=(reference[rows],))
        deviations = reference.std(axis=0, dtype=np.float64) * (self.ablation.value or 0.0)
        noise = np.stack([draw.standard_normal(deviations.shape) for draw in draws]) * deviations
        return Edit(neurons="all", operation="add", values=(noise,))
