"""The reports: pages made from the results in agents' folders.

``from ReportTooling.reports import compare_agents, make_report``
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ReportTooling.reports.agent_report import Report, make_report
    from ReportTooling.reports.comparison import Comparison, compare_agents

_MODULES = {
    "Comparison": "comparison",
    "Report": "agent_report",
    "compare_agents": "comparison",
    "make_report": "agent_report",
}
__all__ = ["Comparison", "Report", "compare_agents", "make_report"]


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
