"""Recording of an agent's own episodes: the states that it visits, and what it does there.

``from Neuron_Selection.ObservationTooling.recording import record_inputs``
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from Neuron_Selection.ObservationTooling.recording.run import Recorded, record_inputs

__all__ = ["Recorded", "record_inputs"]


def __getattr__(name: str) -> Any:
    if name in __all__:
        return getattr(import_module(f"{__name__}.run"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
