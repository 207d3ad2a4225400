"""Sources of patched values: a stored run, a run of other inputs, an ablation; and the values they give."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from Neuron_Selection.FileFormats.activations import FINAL_Q_VALUES, Activations
from Neuron_Selection.FileFormats.inputs import Inputs
from Neuron_Selection.FileFormats.observations import Observations
from Neuron_Selection.PatchingTooling.ablations import Ablation
from Neuron_Selection.PatchingTooling.agent.interventions import replacing
from Neuron_Selection.PatchingTooling.agent.network import Network


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class StoredSource:
    """Activations of an earlier run; ``weights_match`` is None if they do not record which agent they belong to."""

    activations: Activations
    weights_match: bool | None = None

    @property
    def name(self) -> str:
        """The file, or a word for arrays."""
        return self.activations.where

    @property
    def files(self) -> tuple[str, ...]:
        """The files that it is read from."""
        return (self.name,)

    @property
    def decisive(self) -> dict[str, Any]:
        """Everything that decides the values, for the metadata."""
        return {
            "name": Path(self.name).name,
            "sha256": self.activations.sha256,
            "weights_match": self.weights_match,
        }


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class RecordedSource:
    """A run of other inputs with the same ids, recorded when it is needed."""

    inputs: Inputs

    @property
    def name(self) -> str:
        """The inputs file, or a word for arrays."""
        return self.inputs.where

    @property
    def files(self) -> tuple[str, ...]:
        """The files that it is read from."""
        return (self.name,)

    @property
    def decisive(self) -> dict[str, Any]:
        """Everything that decides the values, for the metadata."""
        return self.inputs.described


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class AblatedSource:
    """No other run: the neurons are ablated. ``reference`` None means the target inputs themselves."""

    ablation: Ablation
    reference: Inputs | None
    seed: int

    @property
    def name(self) -> str:
        """The ablation, instead of a file."""
        return f"ablation {self.ablation}"

    @property
    def files(self) -> tuple[str, ...]:
        """The files that it is read from."""
        return () if self.reference is None else (self.reference.where,)

    @property
    def decisive(self) -> dict[str, Any]:
        """Everything that decides the values, for the metadata."""
        reference = None
        if self.ablation.needs_reference and self.reference is None:
            reference = {"name": "target"}
        elif self.ablation.needs_reference and self.reference is not None:
            reference = self.reference.described
        return {"ablation": str(self.ablation), "reference": reference, "seed": self.seed}

    def values(self, network: Network, observations: Observations, layers: Sequence[str]) -> dict[str, np.ndarray]:
        """What the layers output instead, for all observations at once: some kinds draw on all of them.

        :return: layer to (n, *shape)
        """
        own = network.activations(observations, layers)
        reference = own
        if self.ablation.needs_reference and self.reference is not None:
            reference = network.activations(self.reference.observations, layers)
        return self.ablation.values(own, reference=reference, seed=self.seed)


Source: TypeAlias = StoredSource | RecordedSource | AblatedSource


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class SourceRun:
    """``values``: layer to (n, *shape), rows as in the target. ``scores``: (n, n_actions), None if unknown.

    ``is_of_this_agent``: whether both are known to come from these very weights.
    """

    values: Mapping[str, np.ndarray]
    scores: np.ndarray | None
    is_of_this_agent: bool


def run_source(network: Network, source: Source, observations: Observations, layers: Sequence[str]) -> SourceRun:
    """The values of a source at the layers that are patched.

    :param observations: of the target run
    """
    output = network.layers.output
    if isinstance(source, AblatedSource):
        return SourceRun(values=source.values(network, observations, layers), scores=None, is_of_this_agent=False)
    if isinstance(source, RecordedSource):
        recorded = list(dict.fromkeys([*layers, *([output] if output else [])]))
        values = network.activations(source.inputs.observations, recorded)
        scores = values[output] if output else network.scores(source.inputs.observations)
        return SourceRun(values=values, scores=scores, is_of_this_agent=True)
    values = dict(source.activations.values)
    stored = values.get(output, values.get(FINAL_Q_VALUES))
    if stored is None:  # the scores follow from the last stored layer that everything after depends on alone
        cuts = [name for name, layer in network.layers.layers.items() if layer.is_cut and name in values]
        if cuts:
            stored = network.patched(observations, replacing({cuts[-1]: "all"}, values)).scores
    return SourceRun(values=values, scores=stored, is_of_this_agent=source.weights_match is True)
