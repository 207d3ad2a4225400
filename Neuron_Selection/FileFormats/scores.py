"""What the scores of a run are: the metadata of a run name them unless they are Q-values."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

Q_VALUES, LOGITS = "Q-values", "logits"


def scores_in(run: Mapping[str, Any]) -> str:
    """What the scores of a run are called, from its metadata."""
    return LOGITS if run.get("scores") == LOGITS else Q_VALUES


def scores_metadata(scores: str) -> dict[str, str]:
    """The part of a run's metadata that names its scores; empty for Q-values."""
    return {} if scores == Q_VALUES else {"scores": scores}
