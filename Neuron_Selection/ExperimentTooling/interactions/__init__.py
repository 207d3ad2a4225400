"""Neurons that work together or stand in for each other: pairwise interactions, Shapley values, groups.

``from Neuron_Selection.ExperimentTooling.interactions import find_interactions``
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from Neuron_Selection.ExperimentTooling.interactions.run import Interactions, find_interactions

__all__ = ["Interactions", "find_interactions"]


def __getattr__(name: str) -> Any:
    if name in __all__:
        return getattr(import_module(f"{__name__}.run"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
