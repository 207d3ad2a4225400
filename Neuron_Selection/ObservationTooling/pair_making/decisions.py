"""Which decisions the two sides of a pair must have."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from Neuron_Selection.AnalysisTooling.measures.decisions import action_margins, greedy_actions, near_ties
from Neuron_Selection.errors import UsageError, shown


@dataclass(frozen=True, kw_only=True, slots=True)
class WantedDecisions:
    """Conditions on the decisions of a pair; None means any action.

    ``min_margin``: the smallest lead of the greedy action on both sides, in units of the scores. A near tie, which
    float noise alone could change, is no decision whatever the margin.
    """

    min_margin: float = 0.0
    from_action: int | None = None
    to_action: int | None = None

    def __post_init__(self) -> None:
        if not 0 <= self.min_margin < np.inf:
            raise UsageError(field="min_margin", found=f"{self.min_margin:g}", expected="a finite number from 0")
        if self.from_action is not None and self.from_action == self.to_action:
            raise UsageError(
                f"from_action and to_action are both {self.to_action}; the two sides of a pair must differ"
            )

    def clear(self, scores: np.ndarray) -> np.ndarray:
        """Whether each decision is neither a near tie nor below the margin, (n,).

        :param scores: (n, n_actions)
        """
        clear: np.ndarray = (action_margins(scores) >= self.min_margin) & ~near_ties(scores)
        return clear

    def allow_clean(self, scores: np.ndarray) -> np.ndarray:
        """Whether each input may be the clean side, (n,)."""
        actions = greedy_actions(scores)
        allowed = self.clear(scores)
        if self.from_action is not None:
            allowed &= actions == self.from_action
        return allowed if self.to_action is None else allowed & (actions != self.to_action)

    def allow_corrupted(self, scores: np.ndarray) -> np.ndarray:
        """Whether each input may be the corrupted side of some pair, (n,)."""
        allowed = self.clear(scores)
        return allowed if self.to_action is None else allowed & (greedy_actions(scores) == self.to_action)

    def flipped(self, scores: np.ndarray, clean_actions: np.ndarray | int) -> np.ndarray:
        """Whether each input may be the corrupted side of a pair whose clean side has this action, (n,)."""
        flipped: np.ndarray = self.allow_corrupted(scores) & (greedy_actions(scores) != clean_actions)
        return flipped


def action_number(text: str, names: tuple[str, ...] | None, n_actions: int, *, flag: str) -> int:
    """The number of an action that is given by its number or its name.

    :param names: of the actions, from ``encoding.json``
    :raises UsageError: neither
    """
    if text.isascii() and text.isdigit() and len(text) < 10 and int(text) < n_actions:
        return int(text)
    if names and text in names:
        return names.index(text)
    known = f" or one of {', '.join(names)}" if names else ""
    raise UsageError(field=flag, found=shown(text), expected=f"an action from 0 to {n_actions - 1}{known}")
