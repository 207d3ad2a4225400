"""What is reported of exact values: a row for each experiment, one for each state, and arrays of everything."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from Neuron_Selection.ObservationTooling.finite_worlds.finite_world import FiniteWorld
from Parameter_Selection.RolloutTooling.episodes.link import link_of
from Parameter_Selection.RolloutTooling.episodes.statistics import BEHAVIOUR, DECISIONS_ONLY, NO_EFFECT
from Parameter_Selection.RolloutTooling.exact.exact_values import ExactValues
from Parameter_Selection.RolloutTooling.experiments.chosen import ChosenExperiments
from Parameter_Selection.RolloutTooling.experiments.controls import compare_with_controls

CLASSES = ("goal", "death", "loop")
"""Ends of a state: success, death, or neither however long the episode; with chance, the likeliest of them."""
TOLERANCE = 1e-9
RULE = (
    "no effect: in no state does the action differ. behaviour: the value of the start distribution differs by more "
    f"than {TOLERANCE:g}. decisions only: actions differ, the value of the start distribution does not."
)
COLUMNS = (
    "experiment", "description", "patch", "layer", "control_of", "class", "value", "difference", "return", "length",
    "success", "death", "states_goal", "states_death", "states_loop", "states_flipped", "states_class_changed",
    "loop_to_goal", "goal_to_death", "goal_to_loop", "groups_changed", "mean_state_difference", "identity_residual",
    "importance", "control_sets", "control_effect", "control_p",
)  # fmt: skip
STATE_COLUMNS = (
    "state", "label", "group", "start", "class", "value", "experiments_flip", "experiments_goal", "experiments_death",
    "experiments_loop", "value_min", "value_max",
)  # fmt: skip


def exact_document(
    chosen: ChosenExperiments,
    world: FiniteWorld,
    policies: np.ndarray,
    values: ExactValues,
    *,
    importances: Mapping[str, float],
    gamma: float,
    horizon: int,
) -> dict[str, Any]:
    """The document of a results file."""
    experiments, classes = chosen.experiments, values.classes
    flipped = _differs(policies)
    rows = []
    for number in range(len(policies)):
        row = {**dict.fromkeys(COLUMNS), **_row(world, values, classes, flipped, number)}
        if number:
            one = experiments[number - 1]
            row |= {"experiment": one.name, "description": one.description, "patch": one.patch, "layer": one.layer}
            row |= {"control_of": " ".join(one.control_of), "importance": importances.get(one.patch)}
        else:
            row |= {"experiment": "baseline", "description": "the unchanged agent", "class": None}
        rows.append(row)
    baseline, *rest = rows
    compare_with_controls(experiments, rest)
    single = [row for row, one in zip(rest, experiments, strict=True) if one.is_single_neuron]
    asked = [row["class"] for row in rest if not row["control_of"]]
    return {
        "rule": RULE,
        "states": world.n_states,
        "groups": len(set(world.groups)),
        "gamma": gamma,
        "horizon": horizon,
        "world": world.remark,
        "ablation": None if chosen.ablation is None else str(chosen.ablation),
        "classes": {name: asked.count(name) for name in (NO_EFFECT, DECISIONS_ONLY, BEHAVIOUR)},
        "largest_identity_residual": float(values.residuals.max()),
        "baseline": baseline,
        "experiments": rest,
        "link": link_of(single, effect="difference", measures=("states_flipped", "importance")),
        "link_all_states": link_of(single, effect="mean_state_difference", measures=("states_flipped", "importance")),
    }


def _differs(policies: np.ndarray) -> np.ndarray:
    """Whether the policy in each state is another one than the baseline's, (m, n)."""
    different: np.ndarray = np.not_equal(policies, policies[:1])
    return different if different.ndim == 2 else np.any(different, axis=2)


def _row(
    world: FiniteWorld, values: ExactValues, classes: np.ndarray, flipped: np.ndarray, number: int
) -> dict[str, Any]:
    before, after = classes[0], classes[number]
    changed = np.flatnonzero(before != after)
    moves = Counter(f"{CLASSES[before[state]]}_to_{CLASSES[after[state]]}" for state in changed)
    difference = float(values.from_start[number] - values.from_start[0])
    name = DECISIONS_ONLY if flipped[number].any() else NO_EFFECT
    if abs(difference) > TOLERANCE:
        name = BEHAVIOUR
    limited = {key: float(found[number]) for key, found in values.within_limit.items()}
    return {
        "class": name,
        "value": float(values.from_start[number]),
        "difference": difference,
        **limited,
        **{f"states_{kind}": int((after == code).sum()) for code, kind in enumerate(CLASSES)},
        "states_flipped": int(flipped[number].sum()),
        "states_class_changed": len(changed),
        "loop_to_goal": moves["loop_to_goal"],
        "goal_to_death": moves["goal_to_death"],
        "goal_to_loop": moves["goal_to_loop"],
        "moves": dict(sorted(moves.items())),
        "groups_changed": len({world.groups[state] for state in changed}) if world.groups else None,
        "changed_by_group": dict(Counter(world.groups[state] for state in changed)) if world.groups else {},
        "mean_state_difference": float((values.values[number] - values.values[0]).mean()),
        "identity_residual": float(values.residuals[number]),
    }


def state_rows(world: FiniteWorld, policies: np.ndarray, values: ExactValues) -> Iterator[dict[str, Any]]:
    """A row with ``STATE_COLUMNS`` for every state; counts are of experiments."""
    classes, flipped = values.classes, _differs(policies)
    counts = np.stack([(classes[1:] == code).sum(axis=0) for code in range(len(CLASSES))])
    flips, low, high = flipped[1:].sum(axis=0), values.values.min(axis=0), values.values.max(axis=0)
    for state in range(world.n_states):
        yield {
            "state": state,
            "label": world.labels[state],
            "group": world.groups[state] if world.groups else None,
            "start": float(world.start[state]),
            "class": CLASSES[classes[0, state]],
            "value": float(values.values[0, state]),
            "experiments_flip": int(flips[state]),
            **{f"experiments_{kind}": int(counts[code, state]) for code, kind in enumerate(CLASSES)},
            "value_min": float(low[state]),
            "value_max": float(high[state]),
        }


def value_arrays(names: Sequence[str], policies: np.ndarray, values: ExactValues) -> dict[str, np.ndarray]:
    """Everything about all states: values, class codes (0 goal, 1 death, 2 loop), and the policies."""
    compact = policies.astype(np.uint8) if policies.ndim == 2 and policies.max() < 256 else policies
    chances = {}
    if not np.isin(values.success, (0.0, 1.0)).all():
        chances = {"success": values.success, "death": values.death}
    return {
        "experiments": np.array(names),
        "values": values.values,
        **chances,
        "classes": values.classes,
        "actions" if policies.ndim == 2 else "probabilities": compact,
    }
