"""Networks with changed weights: the fast engine for MLPs, ``weights_changed`` on the real network for all others."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Protocol

import numpy as np

from Neuron_Selection.FileFormats.observations import Observations, count_of
from Neuron_Selection.PatchingTooling.experiment import OpenedAgent
from Neuron_Selection.PatchingTooling.numpy_network.gradients import (
    compute_layer_gradients,
    compute_mean_gradient_magnitudes,
)
from Neuron_Selection.PatchingTooling.numpy_network.mlp import FastMlp, compute_q_values, fast_mlp, record_activations
from Neuron_Selection.PatchingTooling.numpy_network.weight_changes import (
    WeightChange,
    compute_q_values_of_weight_changes,
)
from Parameter_Selection.PerturbationTooling.weights.targets import WeightTarget
from SaliencyTooling.gradient_sources import AutogradGradients, of_the_maximum
from SaliencyTooling.weight_ranking import weight_matrices

_NUMBERS_AT_ONCE = 1 << 22  # of Q-values, 32 MiB


class PerturbedNetwork(Protocol):
    """A network whose weights can be changed."""

    @property
    def described(self) -> str:
        """The engine in words."""

    def q_values(self, observations: Observations) -> np.ndarray:
        """Q-values of the unchanged network, (n, n_actions)."""

    def at_once(self, observations: Observations) -> int:
        """Number of changes to pass to ``each_alone`` at a time."""

    def each_alone(self, observations: Observations, changes: Sequence[WeightChange]) -> np.ndarray:
        """Q-values under each change alone, (changes, n, n_actions)."""

    def together(self, observations: Observations, changes: Sequence[WeightChange]) -> np.ndarray:
        """Q-values under all changes at once, (n, n_actions)."""

    def gradients(self, observations: Observations, targets: Sequence[WeightTarget]) -> np.ndarray:
        """Gradient of each input's greatest Q-value with respect to each weight, (n_targets, n)."""

    def mean_magnitudes(self, observations: Observations) -> Mapping[str, np.ndarray]:
        """Mean over inputs of the absolute gradient of the greatest Q-value, for every weight matrix."""


def perturbed_network(opened: OpenedAgent) -> PerturbedNetwork:
    """The network of this agent, by its engine."""
    if opened.engine_name == "fast":
        return FastPerturbed(network=fast_mlp(opened.agent_zip, opened.architecture))
    return RealPerturbed(opened=opened)


@dataclass(frozen=True, kw_only=True, slots=True)
class FastPerturbed:
    """See ``PerturbedNetwork``: one changed weight is one unit's change; float64, no torch."""

    network: FastMlp
    described: str = "engine fast: numpy, float64"

    def q_values(self, observations: Observations) -> np.ndarray:
        """Q-values of the unchanged network."""
        return compute_q_values(self.network, observations)

    def at_once(self, observations: Observations) -> int:
        """The changes whose Q-values fill 32 MiB."""
        return max(1, _NUMBERS_AT_ONCE // (count_of(observations) * self.network.n_actions))

    def each_alone(self, observations: Observations, changes: Sequence[WeightChange]) -> np.ndarray:
        """Each as the change of one unit."""
        return compute_q_values_of_weight_changes(self.network, observations, changes)

    def together(self, observations: Observations, changes: Sequence[WeightChange]) -> np.ndarray:
        """A copy of the network with these weights."""
        return compute_q_values(network_with(self.network, changes), observations)

    def gradients(self, observations: Observations, targets: Sequence[WeightTarget]) -> np.ndarray:
        """Delta of the row times the input of the column."""
        before = {f"{layer}.weight": name for name, layer in pairwise(self.network.names)}
        layers = list(dict.fromkeys(target.parameter.removesuffix(".weight") for target in targets))
        wanted = of_the_maximum(self.q_values(observations))
        deltas = compute_layer_gradients(self.network, observations, wanted, layers)
        inputs = record_activations(self.network, observations, [before[f"{layer}.weight"] for layer in layers])
        gradients = np.empty((len(targets), count_of(observations)))
        for number, target in enumerate(targets):
            layer = target.parameter.removesuffix(".weight")
            gradients[number] = deltas[layer][:, target.row] * inputs[before[target.parameter]][:, target.column]
        return gradients

    def mean_magnitudes(self, observations: Observations) -> Mapping[str, np.ndarray]:
        """In closed form."""
        wanted = of_the_maximum(self.q_values(observations))
        return weight_matrices(compute_mean_gradient_magnitudes(self.network, observations, wanted))


def network_with(network: FastMlp, changes: Sequence[WeightChange]) -> FastMlp:
    """A copy of the network with these weights."""
    by_parameter: dict[str, list[WeightChange]] = defaultdict(list)
    for change in changes:
        by_parameter[change.parameter].append(change)
    weights = [f"{name}.weight" for name, layer in network.layers.layers.items() if layer.kind == "Linear"]
    columns = list(network.columns)
    for parameter, group in by_parameter.items():
        number = weights.index(parameter)
        columns[number] = columns[number].copy()
        places = [change.column for change in group], [change.row for change in group]
        columns[number][places] = [change.value for change in group]
    return replace(network, columns=tuple(columns))


@dataclass(frozen=True, kw_only=True, slots=True)
class RealPerturbed:
    """See ``PerturbedNetwork``: the definition, ``weights_changed`` on the real ``q_net``, one pass a change."""

    opened: OpenedAgent

    @property
    def described(self) -> str:
        """The engine in words."""
        return f"weights changed on the real q_net, {self.opened.dtype} (the fast engine does not apply)"

    def q_values(self, observations: Observations) -> np.ndarray:
        """Q-values of the unchanged network."""
        return self.opened.engine.q_values(observations)

    def at_once(self, observations: Observations) -> int:
        """One: each needs forward passes of its own."""
        return 1

    def each_alone(self, observations: Observations, changes: Sequence[WeightChange]) -> np.ndarray:
        """One change after the other."""
        return np.stack([self.together(observations, [change]) for change in changes])

    def together(self, observations: Observations, changes: Sequence[WeightChange]) -> np.ndarray:
        """The real network, with its weights changed during the forward pass."""
        from Parameter_Selection.PerturbationTooling.weights.weight_edits import weights_changed

        with weights_changed(self.opened.agent.q_net, changes):
            return self.opened.engine.q_values(observations)

    def gradients(self, observations: Observations, targets: Sequence[WeightTarget]) -> np.ndarray:
        """By autograd, one input after the other."""
        wanted = of_the_maximum(self.q_values(observations))
        each = AutogradGradients(opened=self.opened).each(observations, wanted)
        names = self.opened.agent.first_names
        rows = [[one[names[target.parameter]][target.row].flat[target.column] for target in targets] for one in each]
        gradients: np.ndarray = np.array(rows, np.float64).T
        return gradients

    def mean_magnitudes(self, observations: Observations) -> Mapping[str, np.ndarray]:
        """By autograd."""
        wanted = of_the_maximum(self.q_values(observations))
        return weight_matrices(AutogradGradients(opened=self.opened).mean_magnitudes(observations, wanted))
