"""What ``make_pairs.py`` prints: the pairs, why there are not more, and how to read them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def pair_lines(summary: Mapping[str, Any]) -> list[str]:
    """How many pairs of which kind were made.

    :param summary: of ``MadePairs``
    """
    clusters = summary["clusters"]
    spread = "no clusters in the inputs file" if clusters is None else f"{clusters} clusters"
    changes = ", ".join(f"{change}: {count}" for change, count in summary["action_changes"].items())
    lines = [f"{summary['pairs']} pairs by method {summary['method']}, {spread}", f"actions {changes}"]
    if summary["method"] == "environment":
        lines.append("edits " + ", ".join(f"{kind}: {count}" for kind, count in summary["edits"].items()))
    elif summary["method"] == "features":
        lines.append(
            f"{summary['group']} taken: {_range(summary['taken'])}; "
            f"mean share of those that differ: {summary['share_of_features']:.3g}"
        )
    else:
        lines.append(f"entries that differ: {_range(summary['differing_entries'])}")
    return lines


def remarks(summary: Mapping[str, Any], *, n_pairs: int) -> list[str]:
    """Why there are not more pairs, and what the corrupted inputs are; one sentence each."""
    sentences = []
    if summary["method"] == "environment":
        sentences.append(
            f"{summary['possible']} of {summary['edits_run']} edits in {summary['states']} states of "
            f"{summary['starts']} different starts change the decision; a clean input is used once"
        )
    else:
        unclear = summary["unclear"]
        left_out = f", without {unclear} whose decision is a near tie or below --min_margin" if unclear else ""
        sentences.append(
            f"{summary['possible']} pairs are possible, one for each clean state of {summary['states']} "
            f"different states{left_out}"
        )
        if summary["compared"] < summary["possible"]:
            sentences.append(
                f"the nearest states of {summary['compared']} of them were searched, drawn from the clusters in turn"
            )
    if summary["pairs"] < n_pairs:
        more = (
            "other seeds (--first_env_seed, --n_env_seeds) give more"
            if summary["method"] == "environment"
            else "more episodes, or record_inputs.py --policy epsilon=0.3, give more states"
        )
        sentences.append(f"{summary['pairs']} of at most {n_pairs} pairs were made: {more}")
    if summary["method"] == "features":
        sentences.append(
            f"{summary['visited']} of {summary['pairs']} corrupted inputs are visited states; the others are mixtures "
            "of two states, which may be no observation of the environment"
        )
    return sentences


def _range(spread: Mapping[str, float]) -> str:
    return f"{spread['least']:g} to {spread['most']:g}, median {spread['median']:g}"
