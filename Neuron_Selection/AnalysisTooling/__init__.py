"""Analysis of patched runs: metrics, statistics and ranking.

``from Neuron_Selection.AnalysisTooling import analyze``
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from Neuron_Selection.AnalysisTooling.analysis_run import AnalyzedRuns, analyze

__all__ = ["AnalyzedRuns", "analyze"]


def __getattr__(name: str) -> Any:
    if name in __all__:
        return getattr(import_module(f"{__name__}.analysis_run"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
