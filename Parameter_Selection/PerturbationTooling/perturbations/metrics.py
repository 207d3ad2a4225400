"""Effects of changed weights on decisions: Q change, flips, margin, regret, and the error of the linear prediction."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from Neuron_Selection.AnalysisTooling.measures.decisions import (
    allowed_scores,
    greedy_actions,
    near_ties,
    score_changes,
)


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Baseline:
    """The unchanged network: ``q_values`` (n, n_actions), its greedy ``actions`` (n,), which of these are near ties.

    ``masks``: (n, n_actions), the allowed actions; the scores of the others are minus infinity. None without masks.
    """

    q_values: np.ndarray
    actions: np.ndarray
    near_ties: np.ndarray
    masks: np.ndarray | None

    @property
    def greedy_q(self) -> np.ndarray:
        """Q-value of the greedy action, (n,)."""
        greedy: np.ndarray = self.q_values.max(axis=1)
        return greedy


def baseline_of(scores: np.ndarray, masks: np.ndarray | None = None) -> Baseline:
    """The unchanged network's decisions.

    :param scores: (n, n_actions)
    :param masks: (n, n_actions), the allowed actions
    """
    q_values = allowed_scores(scores, masks)
    return Baseline(
        q_values=q_values.astype(np.float64),
        actions=greedy_actions(q_values),
        near_ties=near_ties(q_values),
        masks=masks,
    )


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Effects:
    """Of k changes on n inputs, (k, n) each.

    ``q_change``: of the baseline's greedy action; ``q_change_max``: the largest of any action, in size;
    ``margin_change``: of that action's lead over its best rival (0 where one action only is allowed);
    ``self_regret``: loss of the new action under the unchanged network. Units of return. ``near_tie_flips``: flips
    whose decision before or after is a near tie, which numerical noise alone could undo.
    """

    flips: np.ndarray
    q_change: np.ndarray
    q_change_max: np.ndarray
    margin_change: np.ndarray
    self_regret: np.ndarray
    near_tie_flips: np.ndarray


def effects_of(baseline: Baseline, scores: np.ndarray) -> Effects:
    """The effects of each change, compared with the baseline.

    :param scores: (k, n, n_actions), of the changed networks
    """
    q_values = allowed_scores(scores, baseline.masks)
    rows, before = np.arange(len(baseline.actions)), baseline.q_values
    actions = np.argmax(q_values, axis=2)
    greedy = q_values[:, rows, baseline.actions].astype(np.float64)
    margin_change = _leads(q_values, baseline.actions) - _leads(before[None], baseline.actions)
    flips = actions != baseline.actions
    near = flips & baseline.near_ties
    near[flips] |= near_ties(q_values[flips])
    return Effects(
        flips=flips,
        q_change=greedy - baseline.greedy_q,
        q_change_max=np.abs(score_changes(before, q_values)).max(axis=2),
        margin_change=margin_change,
        self_regret=baseline.greedy_q - before[rows, actions],
        near_tie_flips=near,
    )


def _leads(q_values: np.ndarray, actions: np.ndarray) -> np.ndarray:
    """Lead of the given actions over the best other: negative after a flip.

    :param q_values: (k, n, n_actions)
    :param actions: (n,)
    :return: (k, n)
    """
    rows = np.arange(len(actions))
    if q_values.shape[2] < 2:
        return np.zeros(q_values.shape[:2])
    others = q_values.astype(np.float64)  # a copy
    own = others[:, rows, actions]
    others[:, rows, actions] = -np.inf
    rivals = others.max(axis=2)
    leads: np.ndarray = np.where(np.isneginf(rivals), 0.0, own - rivals)  # 0 for the only allowed action
    return leads


def records_of(effects: Effects, predicted: np.ndarray, ids: tuple[str, ...]) -> list[dict[str, Any]]:
    """One record for each change, means over the inputs.

    :param predicted: (k, n), gradient times change: the first-order prediction of ``q_change``
    """
    flips = effects.flips.sum(axis=1)
    columns = {
        "q_change": effects.q_change.mean(axis=1),
        "q_change_size": np.abs(effects.q_change).mean(axis=1),
        "q_change_max": effects.q_change_max.max(axis=1),
        "margin_change": effects.margin_change.mean(axis=1),
        "margin_change_size": np.abs(effects.margin_change).mean(axis=1),
        "self_regret": effects.self_regret.mean(axis=1),
        "predicted_q_change": predicted.mean(axis=1),
        "prediction_error": np.abs(effects.q_change - predicted).mean(axis=1),
    }
    lists = {name: values.tolist() for name, values in columns.items()}
    near = effects.near_tie_flips.sum(axis=1).tolist()
    n_inputs = len(ids)
    return [
        {
            "flips": int(count),
            "flip_share": int(count) / n_inputs,
            "near_tie_flips": near[number],
            **{name: values[number] for name, values in lists.items()},
            "flipped_ids": [ids[row] for row in np.flatnonzero(effects.flips[number])] if count else [],
        }
        for number, count in enumerate(flips)
    ]
