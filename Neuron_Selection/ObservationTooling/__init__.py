"""Where inputs come from: environments, recorded episodes, pairs, encodings, drawings."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from Neuron_Selection.ObservationTooling.environments.chosen import chosen_environment
    from Neuron_Selection.ObservationTooling.environments.episodes import Episodes

__all__ = ["Episodes", "chosen_environment"]

_MODULES = {"Episodes": "environments.episodes", "chosen_environment": "environments.chosen"}


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
