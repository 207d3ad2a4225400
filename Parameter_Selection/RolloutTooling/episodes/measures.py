"""What is measured of episodes: one row for the baseline and for every experiment."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from Parameter_Selection.RolloutTooling.episodes.block import UNKNOWN, Outcomes
from Parameter_Selection.RolloutTooling.episodes.statistics import class_of, interquartile_means, paired_statistics
from Parameter_Selection.RolloutTooling.experiments.controls import compare_with_controls
from Parameter_Selection.RolloutTooling.experiments.deciders import BASELINE
from Parameter_Selection.RolloutTooling.experiments.experiment import Experiment

COLUMNS = (
    "experiment", "description", "patch", "layer", "control_of", "class", "return", "return_iqm", "length", "success",
    "death", "truncated", "difference", "difference_low", "difference_high", "p", "q", "probability_of_improvement",
    "flips_baseline_states", "flips_own_states", "parted", "first_parting", "new_states", "new_state_steps",
    "action_shares", "importance", "control_sets", "control_effect", "control_p",
)  # fmt: skip


def rollout_rows(
    experiments: Sequence[Experiment], outcomes: Outcomes, *, importances: Mapping[str, float], seed: int
) -> list[dict[str, Any]]:
    """A row with ``COLUMNS`` for the baseline, and one for each experiment.

    :param importances: patch spec to one-step importance, where it is known
    """
    is_control = np.array([bool(one.control_of) for one in experiments])
    statistics = paired_statistics(outcomes.returns, clusters_of(outcomes), is_control=is_control, seed=seed)
    new_states, new_steps = _new_states(outcomes)
    rows = [{**dict.fromkeys(COLUMNS), "experiment": "baseline", **_episodes(outcomes, 0)}]
    rows[0] |= {"description": "the unchanged agent", "return_iqm": float(interquartile_means(outcomes.returns[:1])[0])}
    states = int(outcomes.lengths[0].sum())
    for number, one in enumerate(experiments, start=1):
        parted = outcomes.partings[number] >= 0
        paired = statistics.row(number - 1)
        flips = int(outcomes.flips_baseline[number].sum())
        rows.append(
            {
                **dict.fromkeys(COLUMNS),
                "experiment": one.name,
                "description": one.description,
                "patch": one.patch,
                "layer": one.layer,
                "control_of": " ".join(one.control_of),
                "class": class_of(flips, paired["q"]),
                **_episodes(outcomes, number),
                "return_iqm": float(statistics.iqm[number - 1]),
                **paired,
                "flips_baseline_states": flips / states,
                "flips_own_states": float(outcomes.flips_own[number].sum() / outcomes.lengths[number].sum()),
                "parted": float(parted.mean()),
                "first_parting": float(np.median(outcomes.partings[number][parted])) if parted.any() else None,
                "new_states": int(new_states[number]),
                "new_state_steps": float(new_steps[number] / outcomes.lengths[number].sum()),
                "importance": importances.get(one.patch),
            }
        )
    compare_with_controls(experiments, rows[1:])
    return rows


def clusters_of(outcomes: Outcomes) -> np.ndarray:
    """The cluster of each episode, (n_episodes,): seeds with the same baseline episode are one cluster.

    Layouts that several seeds share would otherwise count as independent evidence.
    """
    numbers: dict[bytes, int] = {}
    clusters = np.zeros(len(outcomes.seeds), np.intp)
    for path in outcomes.paths:
        if path.members[0] == BASELINE:
            key = path.states.tobytes() + path.actions.tobytes()
            clusters[path.episode] = numbers.setdefault(key, len(numbers))
    return clusters


def _episodes(outcomes: Outcomes, number: int) -> dict[str, Any]:
    """Means over the episodes of one experiment."""
    taken = outcomes.actions[number].sum(axis=0)
    return {
        "return": float(outcomes.returns[number].mean()),
        "length": float(outcomes.lengths[number].mean()),
        "success": _share(outcomes.success[number]),
        "death": _share(outcomes.death[number]),
        "truncated": float(outcomes.truncated[number].mean()),
        "action_shares": " ".join(f"{share:.6g}" for share in taken / taken.sum()),
    }


def _share(values: np.ndarray) -> float | None:
    """The share of episodes; None if the environment does not report some."""
    return None if (values == UNKNOWN).any() else float(values.mean())


def _new_states(outcomes: Outcomes) -> tuple[np.ndarray, np.ndarray]:
    """Observations that occur in no episode of the baseline: how many different ones, and the steps in them."""
    count = len(outcomes.returns)
    own = [path.states for path in outcomes.paths if path.members[0] == BASELINE]
    known = np.unique(np.concatenate(own))
    steps = np.zeros(count, np.int64)
    different: list[list[np.ndarray]] = [[] for _ in range(count)]
    for path in outcomes.paths:
        new = path.states[~np.isin(path.states, known)]
        steps[path.members] += len(new)
        if len(new):
            once = np.unique(new)
            for member in path.members:
                different[member].append(once)
    counts = [len(np.unique(np.concatenate(parts))) if parts else 0 for parts in different]
    return np.array(counts), steps
