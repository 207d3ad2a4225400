"""Attribution by gradients, with its error against the exact effect of each neuron.

``from Neuron_Selection.ExperimentTooling.attribution import attribute_neurons``
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from Neuron_Selection.ExperimentTooling.attribution.run import Attribution, attribute_neurons

__all__ = ["Attribution", "attribute_neurons"]


def __getattr__(name: str) -> Any:
    if name in __all__:
        return getattr(import_module(f"{__name__}.run"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
