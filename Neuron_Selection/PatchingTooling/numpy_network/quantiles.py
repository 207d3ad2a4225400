"""A quantile network in numpy: the mean over quantiles is part of the last Linear, except for edits of its outputs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace

import numpy as np

from Neuron_Selection.FileFormats.observations import Observations
from Neuron_Selection.PatchingTooling.agent.interventions import Intervention
from Neuron_Selection.PatchingTooling.agent.network import Linear, PatchedRun, WeightChange
from Neuron_Selection.PatchingTooling.numpy_network.network import NumpyNetwork


@dataclass(frozen=True, kw_only=True, eq=False)
class NumpyQuantileNetwork(NumpyNetwork):
    """A ``NumpyNetwork`` whose last Linear, without a name, gives the means of the quantiles: as fast as a DQN.

    What needs the quantiles themselves runs on the whole network. The scores there differ in their last bits, so
    that only the change of its scores is used: an edit that changes no quantile changes no bit.

    :param whole: the network with every quantile, followed by their mean
    """

    whole: NumpyNetwork

    @property
    def quantiles(self) -> str:
        """The layer whose outputs are the quantiles."""
        return self.whole.stored_linears[-1].name

    @property
    def unfolded(self) -> NumpyNetwork:
        """The network with every quantile."""
        return self.whole

    def activations(self, observations: Observations, layers: Sequence[str]) -> dict[str, np.ndarray]:
        """Outputs of layers: layer to (n, width), float64."""
        if self.quantiles in layers:
            return self.whole.activations(observations, layers)
        return super().activations(observations, layers)

    def patched(self, observations: Observations, intervention: Intervention) -> PatchedRun:
        """The scores under one intervention, and how many values it changed."""
        if self.quantiles not in intervention:
            return super().patched(observations, intervention)
        run = self.whole.patched(observations, intervention)
        return replace(run, scores=self._as_changed(observations, run.scores))

    def patched_many(
        self,
        observations: Observations,
        interventions: Sequence[Intervention],
        *,
        target_run: dict[str, np.ndarray] | None = None,
    ) -> np.ndarray:
        """The scores under each of many interventions, (n_interventions, n, n_actions), float64."""
        if not any(self.quantiles in intervention for intervention in interventions):
            return super().patched_many(observations, interventions, target_run=target_run)
        return self._as_changed(observations, self.whole.patched_many(observations, interventions))

    def run_on(self, layer: str, outputs: np.ndarray, observations: Observations) -> np.ndarray:
        """The scores if a layer has these outputs, (n, n_actions)."""
        if layer != self.quantiles:
            return super().run_on(layer, outputs, observations)
        return self._as_changed(observations, self.whole.run_on(layer, outputs, observations))

    def _as_changed(self, observations: Observations, scores: np.ndarray) -> np.ndarray:
        """This network's own scores plus the change that the whole network computed.

        :param scores: of the whole network, (..., n, n_actions)
        """
        changed: np.ndarray = self.scores(observations) + (scores - self.whole.scores(observations))
        return changed

    def gradients(
        self, observations: Observations, score_weights: np.ndarray, *, dtype: np.dtype | None = None
    ) -> Iterator[dict[str, np.ndarray]]:
        """Each input's gradients in turn."""
        return self.whole.gradients(observations, score_weights, dtype=dtype)

    def mean_gradients(
        self, observations: Observations, score_weights: np.ndarray, *, magnitudes: bool
    ) -> dict[str, np.ndarray]:
        """Mean over inputs of every parameter's gradient or its absolute value."""
        return self.whole.mean_gradients(observations, score_weights, magnitudes=magnitudes)

    def layer_gradients(
        self, observations: Observations, score_weights: np.ndarray, layers: Sequence[str]
    ) -> dict[str, np.ndarray]:
        """Gradients with respect to outputs of layers: layer to (n, width)."""
        return self.whole.layer_gradients(observations, score_weights, layers)

    def gradients_on(
        self, layer: str, outputs: np.ndarray, observations: Observations, score_weights: np.ndarray
    ) -> np.ndarray:
        """Gradients with respect to the outputs of a layer if it has these outputs, (n, width)."""
        return self.whole.gradients_on(layer, outputs, observations, score_weights)

    def outputs_given(self, reached: str, layer: str, outputs: np.ndarray, observations: Observations) -> np.ndarray:
        """What a later layer outputs if a layer has these outputs, (n, width)."""
        return self.whole.outputs_given(reached, layer, outputs, observations)

    def weight_gradients(
        self, observations: Observations, score_weights: np.ndarray, weights: Sequence[tuple[str, int, int]]
    ) -> np.ndarray:
        """Each input's gradients with respect to single weights, (n_weights, n)."""
        return self.whole.weight_gradients(observations, score_weights, weights)

    def scores_of_changes(self, observations: Observations, changes: Sequence[WeightChange]) -> np.ndarray:
        """The scores under each change of a weight by itself."""
        if not any(change.parameter == f"{self.quantiles}.weight" for change in changes):
            return super().scores_of_changes(observations, changes)
        return self._as_changed(observations, self.whole.scores_of_changes(observations, changes))

    @contextmanager
    def with_weights(self, changes: Sequence[WeightChange]) -> Iterator[NumpyNetwork]:
        """Inside the block, a copy of the network with all of these changes."""
        with self.whole.with_weights(changes) as changed:
            yield quantile_network(changed)

    def linears_after(self, layer: str) -> tuple[Linear, ...] | None:
        """The Linear layers from a layer to the scores, its own reader or itself first."""
        return self.whole.linears_after(layer) if layer == self.quantiles else super().linears_after(layer)

    def fingerprint(self) -> str:
        """SHA-256 of the weights in memory."""
        return self.whole.fingerprint()


def quantile_network(whole: NumpyNetwork) -> NumpyQuantileNetwork:
    """The fast network.

    :param whole: the network whose last Linear, without a name, is the mean over quantiles
    """
    *before, last = mean_folded(whole.linears)
    linears = (*before, replace(last, name=""))  # its outputs are not those of the layer
    return NumpyQuantileNetwork(**{**vars(whole), "linears": linears}, whole=whole)


def mean_folded(linears: tuple[Linear, ...]) -> tuple[Linear, ...]:
    """The Linear layers with the one that gives the quantiles and their mean as one; without quantiles as they are.

    Both are linear, so that the scores are the same up to rounding.
    """
    if len(linears) == 1 or linears[-2].activation:
        return linears
    *before, last, mean = linears
    folded = replace(
        last,
        columns=last.columns @ mean.columns,
        bias=last.bias @ mean.columns + mean.bias,
        n_outputs=mean.n_outputs,
        activation=mean.activation,
        function=mean.function,
    )
    return (*before, folded)
