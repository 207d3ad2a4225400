"""Runs: sampled episodes, exact values where the world is finite, and their printed summaries.

``from Parameter_Selection.RolloutTooling.rollouts import run_rollouts, exact_rollouts``
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from Parameter_Selection.RolloutTooling.experiments.chosen import Changes
    from Parameter_Selection.RolloutTooling.rollouts.exact_run import exact_rollouts
    from Parameter_Selection.RolloutTooling.rollouts.sampled_run import run_rollouts

__all__ = ["Changes", "exact_rollouts", "run_rollouts"]

_TOOLING = "Parameter_Selection.RolloutTooling"
_MODULES = {
    "Changes": f"{_TOOLING}.experiments.chosen",
    "exact_rollouts": f"{_TOOLING}.rollouts.exact_run",
    "run_rollouts": f"{_TOOLING}.rollouts.sampled_run",
}


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return getattr(import_module(_MODULES[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
