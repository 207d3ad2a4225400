"""The printed summary of a recording, and remarks on what it means for pairs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_OTHER_POLICIES = ("epsilon=0.3", "random")  # each visits states that the one before it never visits


def other_policy(acting: str) -> str | None:
    """A way of acting that visits states which ``acting`` does not; None for an agent that acts at random already."""
    if acting not in _OTHER_POLICIES:
        return _OTHER_POLICIES[0]
    return next(iter(_OTHER_POLICIES[_OTHER_POLICIES.index(acting) + 1 :]), None)


def summary_lines(summary: Mapping[str, Any]) -> list[str]:
    """The summary as lines of text."""
    returns, lengths = summary["returns"], summary["lengths"]
    ends = ", ".join(f"{count} {end}" for end, count in summary["ends"].items())
    return [
        f"episodes: {summary['episodes']} ({ends}), return {_spread(returns)}, length {_spread(lengths)}",
        f"distinct states: {summary['distinct_states']} in {summary['steps']} steps",
        f"actions taken: {_counts(summary['actions_taken'])}",
        f"states by greedy action: {_counts(summary['states_per_greedy_action'])}",
    ]


def remarks(summary: Mapping[str, Any], *, max_steps: int, policy: str) -> list[str]:
    """What a user should know before using the states.

    :param policy: how the agent acted
    """
    found = []
    stopped = summary["ends"].get("stopped", 0)
    if stopped:
        found.append(
            f"{stopped} of {summary['episodes']} episodes did not end and were stopped by --max_steps {max_steps}"
        )
    step = summary["differs_at_step"]
    if step is not None:
        place = "the first observation" if step == 0 else f"the observation after step {step}"
        found.append(f"the environment is not deterministic: with the same seed and actions, {place} differs")
    if not has_contrast(summary):
        (action,) = summary["states_per_greedy_action"]
        other = other_policy(policy)
        found.append(
            f"the greedy action is {action} in all {summary['distinct_states']} states, so no two of them make a pair: "
            + (f"record with --policy {other}, " if other else "the agent may be constant; record ")
            + "more --episodes, or another --seed"
        )
    return found


def has_contrast(summary: Mapping[str, Any]) -> bool:
    """Whether the agent takes different greedy actions in the recorded states."""
    return len(summary["states_per_greedy_action"]) > 1


def _spread(values: Mapping[str, float]) -> str:
    return f"{values['mean']:.4g} ({values['min']:.4g} to {values['max']:.4g})"


def _counts(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{action}: {count}" for action, count in counts.items())
