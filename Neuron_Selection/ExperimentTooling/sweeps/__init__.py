"""Sweeps: every experiment on every pair of inputs, in one or both directions.

``from Neuron_Selection.ExperimentTooling.sweeps import run_sweep``
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from Neuron_Selection.ExperimentTooling.sweeps.run import SweepRun, run_sweep

__all__ = ["SweepRun", "run_sweep"]


def __getattr__(name: str) -> Any:
    if name in __all__:
        return getattr(import_module(f"{__name__}.run"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
