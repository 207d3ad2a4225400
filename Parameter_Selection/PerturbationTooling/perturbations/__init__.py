"""Effects of changed weights on the decisions, each alone and all together, compared with random weights.

``from Parameter_Selection.PerturbationTooling.perturbations import perturb_weights`` imports numpy when the name is
first used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from Parameter_Selection.PerturbationTooling.perturbations.run import perturb_weights

__all__ = ["perturb_weights"]


def __getattr__(name: str) -> Any:
    if name == "perturb_weights":
        from Parameter_Selection.PerturbationTooling.perturbations.run import perturb_weights

        return perturb_weights
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
