"""Pairs of inputs that an agent decides differently: nearest states, minimal sets of features, edited worlds.

``from Neuron_Selection.ObservationTooling.pair_making import make_pairs``
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from Neuron_Selection.ObservationTooling.pair_making.run import PairsWritten, make_pairs

__all__ = ["PairsWritten", "make_pairs"]


def __getattr__(name: str) -> Any:
    if name in __all__:
        return getattr(import_module(f"{__name__}.run"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
