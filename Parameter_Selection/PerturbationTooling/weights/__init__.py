"""Weights to change, and agents with changed weights.

``from Parameter_Selection.PerturbationTooling.weights import write_agent`` imports numpy when the name is first used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from Parameter_Selection.PerturbationTooling.weights.agent_edits import write_agent

__all__ = ["write_agent"]


def __getattr__(name: str) -> Any:
    if name == "write_agent":
        from Parameter_Selection.PerturbationTooling.weights.agent_edits import write_agent

        return write_agent
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
