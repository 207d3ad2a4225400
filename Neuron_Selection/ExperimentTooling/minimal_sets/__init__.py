"""The smallest sets of neurons that explain decisions: goals, search, proofs, results.

``from Neuron_Selection.ExperimentTooling.minimal_sets import find_minimal_sets``
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from Neuron_Selection.ExperimentTooling.minimal_sets.run import MinimalSets, find_minimal_sets

__all__ = ["MinimalSets", "find_minimal_sets"]


def __getattr__(name: str) -> Any:
    if name in __all__:
        return getattr(import_module(f"{__name__}.run"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
