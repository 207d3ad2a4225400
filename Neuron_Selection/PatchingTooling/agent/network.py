"""``Network``: an agent's network that can be run, recorded, changed and differentiated.

There are two. ``TorchNetwork`` is the agent's real network under forward hooks: the definition, for every architecture
and device. ``NumpyNetwork`` gives the same numbers for MLPs, in float64 and without torch.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from Neuron_Selection.errors import SuiteError
from Neuron_Selection.FileFormats.observations import Observations
from Neuron_Selection.PatchingTooling.agent.activation_functions import ActivationFunction
from Neuron_Selection.PatchingTooling.agent.interventions import Intervention
from Neuron_Selection.PatchingTooling.agent.layers import LayerTable


@dataclass(frozen=True, kw_only=True, slots=True)
class WeightChange:
    """A new value of one weight.

    :param parameter: such as ``q_net.0.weight``
    :param row: the neuron
    :param column: the flat index in the row
    """

    parameter: str
    row: int
    column: int
    value: float


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class PatchedRun:
    """A run under an intervention.

    :param scores: (n, n_actions)
    :param changed: layer to the number of its values that really changed in each input, (n,)
    :param values: what an actor's critic outputs, (n,); None without a critic
    """

    scores: np.ndarray
    changed: dict[str, np.ndarray]
    values: np.ndarray | None = None


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Linear:
    """A Linear layer of an MLP and the activation function after it.

    :param reads: the layer whose output it reads
    :param columns: (inputs, width), the transposed weight: row u is what its input u adds to
    :param activation: the layer after it, "" after the last
    :param function: of ``activation``; None after the last

    Sides are padded with zeros to multiples of 8; ``n_inputs`` and ``n_outputs`` are the real ones.
    """

    name: str
    reads: str
    columns: np.ndarray
    bias: np.ndarray
    n_inputs: int
    n_outputs: int
    activation: str
    function: ActivationFunction | None

    @property
    def following(self) -> ActivationFunction:
        """The function after a Linear that is not the last."""
        assert self.function is not None  # noqa: S101 - only the last Linear has none
        return self.function


class Network(Protocol):
    """What every network can do; n is the number of observations.

    ``score_weights``, (n, n_actions), names what is differentiated: sum_a score_weights[a] * score[a] of each input.
    """

    @property
    def engine(self) -> str:
        """``numpy`` or ``torch``, as in ``--engine``."""

    @property
    def layers(self) -> LayerTable:
        """Every layer that can be recorded and edited."""

    def scores(self, observations: Observations) -> np.ndarray:
        """One score for each action, (n, n_actions); the greatest decides."""

    def activations(self, observations: Observations, layers: Sequence[str]) -> dict[str, np.ndarray]:
        """Outputs of layers: layer to (n, *shape)."""

    def patched(self, observations: Observations, intervention: Intervention) -> PatchedRun:
        """The scores under one intervention, and how many values it changed."""

    def patched_many(
        self,
        observations: Observations,
        interventions: Sequence[Intervention],
        *,
        target_run: dict[str, np.ndarray] | None = None,
    ) -> np.ndarray:
        """The scores under each of many interventions that edit the same layers, (n_interventions, n, n_actions).

        :param target_run: what ``reusable_activations`` recorded, if it was called
        """

    def patched_pairs(
        self,
        observations: Observations,
        interventions: Sequence[Intervention],
        which: np.ndarray,
        rows: np.ndarray,
    ) -> np.ndarray:
        """The scores of pairs of an intervention and an observation, (n_pairs, n_actions).

        :param interventions: any, also empty ones, which change nothing
        :param which: (n_pairs,), the position of each pair's intervention
        :param rows: (n_pairs,), the position of each pair's observation
        """

    def reusable_activations(self, observations: Observations, layers: Sequence[str]) -> dict[str, np.ndarray]:
        """Outputs in the unchanged run of ``layers``, and of others that ``patched_many`` can start from."""

    def run_on(self, layer: str, outputs: np.ndarray, observations: Observations) -> np.ndarray:
        """The scores if a layer has these outputs.

        :param outputs: (n, *shape)
        :param observations: n of them, for the part of the network that does not depend on the layer
        """

    def outputs_given(self, reached: str, layer: str, outputs: np.ndarray, observations: Observations) -> np.ndarray:
        """What a later layer outputs if a layer has these outputs, (n, *shape) of the later one.

        :param reached: a layer that fires after ``layer``
        :param outputs: (n, *shape) of ``layer``
        :param observations: as for ``run_on``
        """

    def mixed_outputs(
        self, reached: str, layer: str, mask: np.ndarray, outputs: np.ndarray, others: np.ndarray
    ) -> np.ndarray | None:
        """What the next layer outputs if each of its neurons reads its own mixture of two runs.

        :param reached: the activation after the Linear or convolution that reads ``layer``; "" for the scores
        :param mask: (width of ``layer``, width of ``reached``), True where a neuron reads ``outputs``
        :param outputs: (n, *shape) of ``layer``; ``others`` likewise, where the mask is False
        :return: (n, *shape); None where the network does not know how to compute it in one step
        """

    def gradients(
        self, observations: Observations, score_weights: np.ndarray, *, dtype: np.dtype | None = None
    ) -> Iterator[dict[str, np.ndarray]]:
        """Each input's gradients in turn: parameter to an array of its shape.

        :param dtype: of the gradients, if the network can choose
        """

    def mean_gradients(
        self, observations: Observations, score_weights: np.ndarray, *, magnitudes: bool
    ) -> dict[str, np.ndarray]:
        """Mean over inputs of every parameter's gradient, or of its absolute value; float64."""

    def layer_gradients(
        self, observations: Observations, score_weights: np.ndarray, layers: Sequence[str]
    ) -> dict[str, np.ndarray]:
        """Gradients with respect to outputs of layers: layer to (n, *shape)."""

    def gradients_on(
        self, layer: str, outputs: np.ndarray, observations: Observations, score_weights: np.ndarray
    ) -> np.ndarray:
        """Gradients with respect to the outputs of a layer if it has these outputs, (n, *shape).

        :param outputs: (n, *shape)
        :param observations: n of them, as for ``run_on``
        """

    def weight_gradients(
        self, observations: Observations, score_weights: np.ndarray, weights: Sequence[tuple[str, int, int]]
    ) -> np.ndarray:
        """Each input's gradients with respect to single weights, (n_weights, n), float64.

        :param weights: parameter, row and column of each
        """

    def scores_of_changes(self, observations: Observations, changes: Sequence[WeightChange]) -> np.ndarray:
        """The scores under each change of a weight by itself, (n_changes, n, n_actions)."""

    def changes_at_once(self, n_inputs: int) -> int:
        """How many changes ``scores_of_changes`` is best given in one call."""

    def with_weights(self, changes: Sequence[WeightChange]) -> AbstractContextManager[Network]:
        """Inside the block, the network with all of these changes; afterwards every bit is as before."""

    def linears_after(self, layer: str) -> tuple[Linear, ...] | None:
        """The Linear layers from a layer to the scores; None if the rest of the network is not known to be an MLP."""

    def read_by(self, layer: str) -> str:
        """The kind of the one module that reads a layer's output; empty if others might read it as well."""

    def fingerprint(self) -> str:
        """SHA-256 of the weights in memory."""

    def policy_actions(self, observations: Observations) -> np.ndarray | None:
        """The deterministic actions of the agent's own policy, (n,); None where no policy was built."""


def refuse_nonfinite_scores(scores: np.ndarray) -> None:
    """Raise for NaN or infinity, whose greatest score means nothing."""
    if not np.isfinite(scores).all():
        raise SuiteError(field="scores of the network", found="NaN or infinity", expected="finite numbers")


def margin_weights(ahead: np.ndarray, behind: np.ndarray | None, n_actions: int) -> np.ndarray:
    """``score_weights`` of the margin score[ahead] - score[behind], or of score[ahead] itself without another.

    :param ahead: (n,), actions
    :return: (n, n_actions)
    """
    weights = np.zeros((len(ahead), n_actions))
    weights[np.arange(len(ahead)), ahead] += 1.0
    if behind is not None:
        weights[np.arange(len(ahead)), behind] -= 1.0
    return weights
