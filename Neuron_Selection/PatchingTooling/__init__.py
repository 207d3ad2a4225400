"""One network, one batch, one change: agents, layers, hooks, experiments.

``from Neuron_Selection.PatchingTooling import PatchingExperiment`` imports neither torch nor Stable-Baselines3;
the first forward pass does.
"""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from Neuron_Selection.PatchingTooling.experiment import PatchingExperiment

__all__ = ["PatchingExperiment"]

if "torch" not in sys.modules:  # torch's MKL reads it once; without it a row's bits depend on its place in the batch
    os.environ.setdefault("MKL_CBWR", "AUTO")


def __getattr__(name: str) -> Any:
    if name == "PatchingExperiment":
        from Neuron_Selection.PatchingTooling.experiment import PatchingExperiment

        return PatchingExperiment
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
