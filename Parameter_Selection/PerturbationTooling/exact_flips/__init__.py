"""The smallest change of a weight that changes the greedy action: exact for ReLU, else a bracket.

``from Parameter_Selection.PerturbationTooling.exact_flips import find_smallest_flips`` imports numpy when the name is
first used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from Parameter_Selection.PerturbationTooling.exact_flips.run import find_smallest_flips

__all__ = ["find_smallest_flips"]


def __getattr__(name: str) -> Any:
    if name == "find_smallest_flips":
        from Parameter_Selection.PerturbationTooling.exact_flips.run import find_smallest_flips

        return find_smallest_flips
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
