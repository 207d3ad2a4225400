"""What an agent decides under each experiment: scores of pairs of an experiment and an observation, in few passes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from Neuron_Selection.errors import UsageError
from Neuron_Selection.FileFormats.observations import Observations, rows_of
from Neuron_Selection.PatchingTooling.agent.interventions import Intervention
from Neuron_Selection.PatchingTooling.agent.network import Network
from Parameter_Selection.RolloutTooling.experiments.ablated_values import AblatedValues
from Parameter_Selection.RolloutTooling.experiments.experiment import ABLATED, AGENT, EDITED, WEIGHTS, Experiment

BASELINE = 0
Moments = Sequence[tuple[int, int]]
"""Seed of the episode and step of each observation."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Deciders:
    """The baseline, which has number 0, and the experiments, from 1.

    :param ablated: of the experiments that ablate neurons; None if there are none
    :param against: the network of the other agent, if it is one of the experiments
    """

    network: Network
    experiments: Sequence[Experiment]
    ablated: AblatedValues | None = None
    against: Network | None = None

    def scores(
        self, observations: Observations, which: np.ndarray, rows: np.ndarray, moments: Moments | None
    ) -> np.ndarray:
        """The scores of pairs, (n_pairs, n_actions), float64.

        Neurons of all experiments are changed in the same passes; changed weights and another agent take passes of
        their own.

        :param which: (n_pairs,), the number of each pair's experiment
        :param rows: (n_pairs,), the position of each pair's observation
        :param moments: of the observations; None where there are no episodes, which random ablations need
        """
        numbers, place = np.unique(which, return_inverse=True)
        by_kind: dict[str, list[int]] = {}
        for position, number in enumerate(numbers.tolist()):
            kind = self.experiments[number - 1].kind if number else EDITED
            by_kind.setdefault(EDITED if kind == ABLATED else kind, []).append(position)
        scores: np.ndarray | None = None
        for kind, positions in by_kind.items():
            chosen = np.arange(len(which)) if len(by_kind) == 1 else np.flatnonzero(np.isin(place, positions))
            if kind == EDITED:
                within = np.zeros(len(numbers), np.intp)
                within[positions] = np.arange(len(positions))
                interventions = self._interventions(numbers[positions].tolist(), moments)
                found = self.network.patched_pairs(observations, interventions, within[place[chosen]], rows[chosen])
            else:
                found = np.concatenate(
                    [self._of_one(int(numbers[p]), rows_of(observations, rows[place == p])) for p in positions]
                )
                chosen = np.concatenate([np.flatnonzero(place == p) for p in positions])
            if scores is None:
                scores = np.empty((len(which), found.shape[1]))
            scores[chosen] = found
        assert scores is not None  # noqa: S101 - there is at least one pair
        return scores

    def _interventions(self, numbers: Sequence[int], moments: Moments | None) -> list[Intervention]:
        chosen = [self.experiments[number - 1] if number else None for number in numbers]
        layers = {layer for one in chosen if one is not None and one.kind == ABLATED for layer in one.neurons}
        edits = {}
        if self.ablated is not None and self.ablated.ablation.is_drawn:
            if layers and moments is None:
                raise UsageError(f"--ablate {self.ablated.ablation} is drawn in every step; it has no exact value")
            edits = {layer: self.ablated.drawn_edit(layer, moments or ()) for layer in layers}
        elif self.ablated is not None:
            edits = {layer: self.ablated.fixed_edit(layer) for layer in layers}
        return [
            {}
            if one is None
            else one.edits
            if one.kind == EDITED
            else {layer: replace(edits[layer], neurons=neurons) for layer, neurons in one.neurons.items()}
            for one in chosen
        ]

    def _of_one(self, number: int, observations: Observations) -> np.ndarray:
        experiment = self.experiments[number - 1]
        if experiment.kind == AGENT:
            assert self.against is not None  # noqa: S101 - the experiment exists with its network only
            return self.against.scores(observations)
        assert experiment.kind == WEIGHTS  # noqa: S101
        with self.network.with_weights(experiment.changes) as changed:
            return changed.scores(observations)
