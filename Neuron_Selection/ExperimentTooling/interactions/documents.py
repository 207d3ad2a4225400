"""Interactions as a JSON document and as the rows of two tables."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from Neuron_Selection.ExperimentTooling.interactions.direction import DirectionInteractions, Group, Rules
from Neuron_Selection.ExperimentTooling.interactions.naming import KINDS

_SHOWN = 10


def document_of(
    found: Mapping[str, DirectionInteractions | None], *, counts: Mapping[str, Mapping[str, Any]], rules: Rules
) -> dict[str, Any]:
    """``{direction: {...}}``.

    :param found: None where no pair has contrast
    :param counts: of pairs and clusters, by direction
    """
    return {
        direction: {
            **counts[direction],
            "threshold": rules.threshold,
            "q_threshold": rules.q_threshold,
            "neurons": [] if one is None else list(player_records(one)),
            "shapley": None if one is None else _shapley(one, rules),
            "kinds": dict.fromkeys(KINDS, 0) | ({} if one is None else Counter(one.kinds.tolist())),
            "groups": [] if one is None else [_group(one, group) for group in one.groups],
            "strongest": [] if one is None else [pair_record(one, pair) for pair in strongest(one)],
        }
        for direction, one in found.items()
    }


def strongest(one: DirectionInteractions) -> Sequence[int]:
    """The pairs of largest interaction, at most ten, without those that have none."""
    order = np.argsort(-np.abs(one.interactions), kind="stable")[:_SHOWN]
    return [int(pair) for pair in order if one.interactions[pair]]


def player_records(one: DirectionInteractions) -> Iterator[dict[str, Any]]:
    """A record for each neuron, with the position of its group from 1."""
    group_of = {player: number for number, group in enumerate(one.groups, start=1) for player in group.players}
    for player, (layer, neuron) in enumerate(one.names):
        errors = None if one.shapley is None else one.shapley.errors
        yield {
            "layer": layer,
            "neuron": neuron,
            "effect": float(one.effects[player]),
            "shapley": None if one.shapley is None else float(one.shapley.values[player]),
            "standard_error": None if errors is None else float(errors[player]),
            "group": group_of.get(player),
        }


def player_rows(found: Mapping[str, DirectionInteractions | None]) -> Iterator[dict[str, Any]]:
    """The same as rows."""
    for direction, one in found.items():
        if one is not None:
            yield from ({"direction": direction, **record} for record in player_records(one))


def pair_rows(found: Mapping[str, DirectionInteractions | None]) -> Iterator[dict[str, Any]]:
    """A row for every two neurons."""
    for direction, one in found.items():
        if one is not None:
            for pair in range(len(one.interactions)):
                yield {"direction": direction, **pair_record(one, pair)}


def pair_record(one: DirectionInteractions, pair: int) -> dict[str, Any]:
    """Effects, interaction, statistics and name of two neurons."""
    first, second = one.first[pair], one.second[pair]
    (layer, neuron), (other_layer, other_neuron) = one.names[first], one.names[second]
    effect, other, interaction = (float(v) for v in (one.effects[first], one.effects[second], one.interactions[pair]))
    low, high = (None if np.isnan(end) else float(end) for end in one.intervals[:, pair])
    return {
        "layer": layer,
        "neuron": neuron,
        "other_layer": other_layer,
        "other_neuron": other_neuron,
        "effect": effect,
        "other_effect": other,
        "effect_together": effect + other + interaction,
        "interaction": interaction,
        "interval_low": low,
        "interval_high": high,
        "p": float(one.p[pair]),
        "q": float(one.q[pair]),
        "kind": str(one.kinds[pair]),
    }


def _group(one: DirectionInteractions, group: Group) -> dict[str, Any]:
    patch: dict[str, list[int]] = {}
    for player in group.players:
        layer, neuron = one.names[player]
        patch.setdefault(layer, []).append(neuron)
    return {"patch": patch, "effect": group.effect, "sum_of_effects": group.sum_of_effects}


def _shapley(one: DirectionInteractions, rules: Rules) -> dict[str, Any] | None:
    if one.shapley is None:
        return None
    is_exact = one.shapley.errors is None
    return {
        "method": "all subsets" if is_exact else "random orders",
        "permutations": None if is_exact else rules.permutations,
        "total": one.shapley.total,
    }
