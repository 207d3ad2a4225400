"""Circuits: runs with only some edges intact, faithfulness and its relatives, curves, and hypothesis tests.

``from Neuron_Selection.ExperimentTooling.circuits import check_circuit``
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from Neuron_Selection.ExperimentTooling.circuits.check import CheckedCircuit, check_circuit

__all__ = ["CheckedCircuit", "check_circuit"]


def __getattr__(name: str) -> Any:
    if name in __all__:
        return getattr(import_module(f"{__name__}.check"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
