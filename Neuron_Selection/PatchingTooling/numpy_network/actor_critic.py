"""An actor with its critic in numpy: two MLPs that read the same observations, of which the actor alone decides."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from Neuron_Selection.FileFormats.observations import Observations, count_of
from Neuron_Selection.PatchingTooling.agent.interventions import Intervention
from Neuron_Selection.PatchingTooling.agent.network import Linear, PatchedRun, WeightChange
from Neuron_Selection.PatchingTooling.numpy_network.network import NumpyNetwork


@dataclass(frozen=True, kw_only=True, eq=False)
class NumpyActorCritic(NumpyNetwork):
    """A ``NumpyNetwork`` that is the actor, and one that is the critic, whose only output is the value.

    Both have the layers that they share. Layers of the critic alone can be recorded and edited like any other; no edit
    of them changes a score.

    :param critic: with the same table of layers
    """

    critic: NumpyNetwork

    @cached_property
    def _critic_parameters(self) -> dict[str, tuple[int, ...]]:
        shapes: dict[str, tuple[int, ...]] = {}
        for linear in self.critic.linears:
            if linear.name in self.sites:  # shared with the actor
                continue
            shapes |= {f"{linear.name}.weight": (linear.n_outputs, linear.n_inputs)}
            shapes |= {f"{linear.name}.bias": (linear.n_outputs,)}
        return shapes

    def activations(self, observations: Observations, layers: Sequence[str]) -> dict[str, np.ndarray]:
        """Outputs of layers: layer to (n, width), float64."""
        own = super().activations(observations, [name for name in layers if name in self.sites])
        of_critic = [name for name in layers if name not in self.sites]
        return own | (self.critic.activations(observations, of_critic) if of_critic else {})

    def patched(self, observations: Observations, intervention: Intervention) -> PatchedRun:
        """The scores under one intervention, how many values it changed, and the critic's values."""
        own, of_critic = _within(intervention, self), _within(intervention, self.critic)
        run = super().patched(observations, own) if own else PatchedRun(scores=self.scores(observations), changed={})
        values, changed = self.critic.scores(observations), run.changed
        if of_critic:
            run_of_critic = self.critic.patched(observations, of_critic)
            values, changed = run_of_critic.scores, {**run_of_critic.changed, **changed}
        return PatchedRun(
            scores=run.scores, changed={name: changed[name] for name in intervention}, values=values[:, 0]
        )

    def patched_many(
        self,
        observations: Observations,
        interventions: Sequence[Intervention],
        *,
        target_run: dict[str, np.ndarray] | None = None,
    ) -> np.ndarray:
        """The scores under each of many interventions, (n_interventions, n, n_actions), float64."""
        own = [_within(intervention, self) for intervention in interventions]
        if all(own):
            return super().patched_many(observations, own, target_run=target_run)
        scores = np.repeat(self.scores(observations)[None], len(own), axis=0)
        edited = [number for number, intervention in enumerate(own) if intervention]
        if edited:
            chosen = [own[number] for number in edited]
            scores[edited] = super().patched_many(observations, chosen, target_run=target_run)
        return scores

    def patched_pairs(
        self,
        observations: Observations,
        interventions: Sequence[Intervention],
        which: np.ndarray,
        rows: np.ndarray,
    ) -> np.ndarray:
        """The scores of pairs of an intervention and an observation, (n_pairs, n_actions), float64."""
        own = [_within(intervention, self) for intervention in interventions]
        return super().patched_pairs(observations, own, which, rows)

    def run_on(self, layer: str, outputs: np.ndarray, observations: Observations) -> np.ndarray:
        """The scores if a layer has these outputs, (n, n_actions)."""
        return super().run_on(layer, outputs, observations) if layer in self.sites else self.scores(observations)

    def gradients(
        self, observations: Observations, score_weights: np.ndarray, *, dtype: np.dtype | None = None
    ) -> Iterator[dict[str, np.ndarray]]:
        """Each input's gradients in turn; those of the critic are 0."""
        zeros = {name: np.zeros(shape, dtype) for name, shape in self._critic_parameters.items()}
        for one in super().gradients(observations, score_weights, dtype=dtype):
            yield one | zeros

    def mean_gradients(
        self, observations: Observations, score_weights: np.ndarray, *, magnitudes: bool
    ) -> dict[str, np.ndarray]:
        """Mean over inputs of every parameter's gradient or its absolute value; those of the critic are 0."""
        zeros = {name: np.zeros(shape) for name, shape in self._critic_parameters.items()}
        return super().mean_gradients(observations, score_weights, magnitudes=magnitudes) | zeros

    def layer_gradients(
        self, observations: Observations, score_weights: np.ndarray, layers: Sequence[str]
    ) -> dict[str, np.ndarray]:
        """Gradients with respect to outputs of layers: layer to (n, width)."""
        own = super().layer_gradients(observations, score_weights, [name for name in layers if name in self.sites])
        shapes = {name: (len(score_weights), self.layers.widths[name]) for name in layers}
        return {name: own[name] if name in own else np.zeros(shape) for name, shape in shapes.items()}

    def gradients_on(
        self, layer: str, outputs: np.ndarray, observations: Observations, score_weights: np.ndarray
    ) -> np.ndarray:
        """Gradients with respect to the outputs of a layer if it has these outputs; those of the critic are 0."""
        if layer not in self.sites:
            return np.zeros(outputs.shape)
        return super().gradients_on(layer, outputs, observations, score_weights)

    def weight_gradients(
        self, observations: Observations, score_weights: np.ndarray, weights: Sequence[tuple[str, int, int]]
    ) -> np.ndarray:
        """Each input's gradients with respect to single weights, (n_weights, n)."""
        found = np.zeros((len(weights), count_of(observations)))
        own = [place for place, (parameter, _, _) in enumerate(weights) if parameter not in self._critic_parameters]
        if own:
            found[own] = super().weight_gradients(observations, score_weights, [weights[place] for place in own])
        return found

    def scores_of_changes(self, observations: Observations, changes: Sequence[WeightChange]) -> np.ndarray:
        """The scores under each change of a weight by itself."""
        own = [place for place, change in enumerate(changes) if change.parameter not in self._critic_parameters]
        if len(own) == len(changes):
            return super().scores_of_changes(observations, changes)
        scores = np.repeat(self.scores(observations)[None], len(changes), axis=0)
        if own:
            scores[own] = super().scores_of_changes(observations, [changes[place] for place in own])
        return scores

    @contextmanager
    def with_weights(self, changes: Sequence[WeightChange]) -> Iterator[NumpyNetwork]:
        """Inside the block, a copy of the network with all of these changes."""
        read_by_critic = {f"{linear.name}.weight" for linear in self.critic.linears}
        of_critic = [change for change in changes if change.parameter in read_by_critic]
        own = [change for change in changes if change.parameter not in self._critic_parameters]
        with super().with_weights(own) as actor, self.critic.with_weights(of_critic) as critic:
            yield replace(actor, critic=critic)  # type: ignore[call-arg]

    def linears_after(self, layer: str) -> tuple[Linear, ...] | None:
        """The Linear layers from a layer to the scores; None from the critic, which leads to no score."""
        return super().linears_after(layer) if layer in self.sites else None

    def read_by(self, layer: str) -> str:
        """The kind of the layer that reads this one's output; the actor's and the critic's outputs are read by none."""
        is_last = layer in (self.linears[-1].name, self.critic.linears[-1].name)
        return "" if is_last else super().read_by(layer)

    def fingerprint(self) -> str:
        """SHA-256 of the weights in memory, of the actor and of the critic."""
        return f"{super().fingerprint()} {self.critic.fingerprint()}"


def _within(intervention: Intervention, network: NumpyNetwork) -> Intervention:
    """The part of an intervention on layers of one of the two."""
    return {name: edit for name, edit in intervention.items() if name in network.sites}
