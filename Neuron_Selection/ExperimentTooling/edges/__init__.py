"""Path patching of every edge between neighbouring layers, the strongest paths, and the circuit of the strongest edges.

``from Neuron_Selection.ExperimentTooling.edges import patch_edges``
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from Neuron_Selection.ExperimentTooling.edges.run import PatchedEdges, patch_edges

__all__ = ["PatchedEdges", "patch_edges"]


def __getattr__(name: str) -> Any:
    if name in __all__:
        return getattr(import_module(f"{__name__}.run"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
