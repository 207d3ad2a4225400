"""Where the values come from that a patch puts in: a stored run, a run of other inputs, an ablation."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

from Neuron_Selection.FileFormats.activations import Activations
from Neuron_Selection.FileFormats.inputs import Inputs
from Neuron_Selection.PatchingTooling.patching.ablations import Ablation


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class StoredSource:
    """Activations of an earlier run; ``weights_match`` is None where they do not say whose they are."""

    activations: Activations
    weights_match: bool | None = None

    @property
    def name(self) -> str:
        """The file, or a word for arrays."""
        return self.activations.where

    @property
    def files(self) -> tuple[str, ...]:
        """What is read for it."""
        return (self.name,)

    @property
    def decisive(self) -> dict[str, Any]:
        """All that decides the values, for the metadata."""
        return {
            "name": Path(self.name).name,
            "sha256": self.activations.sha256,
            "weights_match": self.weights_match,
        }


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class RecordedSource:
    """A run of other inputs with the same ids, recorded on the spot."""

    inputs: Inputs

    @property
    def name(self) -> str:
        """The inputs file, or a word for arrays."""
        return self.inputs.where

    @property
    def files(self) -> tuple[str, ...]:
        """What is read for it."""
        return (self.name,)

    @property
    def decisive(self) -> dict[str, Any]:
        """All that decides the values, for the metadata."""
        return {"name": Path(self.name).name, "sha256": self.inputs.sha256}


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class AblatedSource:
    """No other run: the neurons are taken out. ``reference`` None means the target inputs themselves."""

    ablation: Ablation
    reference: Inputs | None
    seed: int

    @property
    def name(self) -> str:
        """The ablation, in the place of a file."""
        return f"ablation {self.ablation}"

    @property
    def files(self) -> tuple[str, ...]:
        """What is read for it."""
        return () if self.reference is None else (self.reference.where,)

    @property
    def decisive(self) -> dict[str, Any]:
        """All that decides the values, for the metadata."""
        reference = None
        if self.ablation.needs_reference:
            reference = (
                {"name": "target"}
                if self.reference is None
                else {
                    "name": Path(self.reference.where).name,
                    "sha256": self.reference.sha256,
                }
            )
        return {"ablation": str(self.ablation), "reference": reference, "seed": self.seed}


Source: TypeAlias = StoredSource | RecordedSource | AblatedSource
