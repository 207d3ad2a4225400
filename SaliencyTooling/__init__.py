"""Gradients by weight, and the weights to perturb that follow from them.

``from SaliencyTooling import compute_gradients`` imports numpy and torch when the name is first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from SaliencyTooling.candidate_selection import find_candidate_weights, select_weights
    from SaliencyTooling.gradient_runs import average_gradients, compute_gradients

__all__ = ["average_gradients", "compute_gradients", "find_candidate_weights", "select_weights"]
_MODULES = {
    "average_gradients": "gradient_runs",
    "compute_gradients": "gradient_runs",
    "find_candidate_weights": "candidate_selection",
    "select_weights": "candidate_selection",
}


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
