"""One network, one batch, one change: agents, layers, hooks, interventions, experiments.

``from Neuron_Selection.PatchingTooling import PatchingExperiment`` imports neither torch nor Stable-Baselines3; the
first forward pass does.
"""

from __future__ import annotations

import os
import sys
from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from Neuron_Selection.PatchingTooling.experiment import PatchingExperiment
    from Neuron_Selection.PatchingTooling.extraction import extract_activations
    from Neuron_Selection.PatchingTooling.opened_agent import OpenedAgent, open_agent
    from Neuron_Selection.PatchingTooling.patching_run import patch
    from Neuron_Selection.PatchingTooling.run_differences import compare_runs

__all__ = ["OpenedAgent", "PatchingExperiment", "compare_runs", "extract_activations", "open_agent", "patch"]

_MODULES = {
    "OpenedAgent": "opened_agent",
    "PatchingExperiment": "experiment",
    "compare_runs": "run_differences",
    "extract_activations": "extraction",
    "open_agent": "opened_agent",
    "patch": "patching_run",
}

if "torch" not in sys.modules:  # torch's MKL reads it once; without it a row's bits depend on its place in the batch
    os.environ.setdefault("MKL_CBWR", "AUTO")


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
