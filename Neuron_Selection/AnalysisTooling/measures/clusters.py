"""Clusters of inputs that are not independent, such as inputs of one environment seed."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from Neuron_Selection.errors import InputError, UsageError, shown

MOST_CLUSTERS = 2000
_WAYS = ("auto", "file", "id_seed", "input")
_ID_SEED = re.compile(r".*?([0-9]+)[-_][0-9]+[,_][0-9]+[,_][0-3][-_][0-9]+", re.DOTALL)


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Clusters:
    """The cluster of each input, ``of_input``: (n_inputs,).

    ``description``: what defines a cluster. ``merged_from``: the original number of clusters, if they were merged.
    """

    of_input: np.ndarray
    count: int
    description: str
    merged_from: int | None


def clusters_of(ids: Sequence[str], named: Mapping[str, str], cluster_by: str, *, where: object) -> Clusters:
    """The cluster of each input.

    More than 2,000 clusters are merged into 2,000 at random: merging whole clusters keeps the statistics valid, and
    limits their time and memory.

    :param named: id to cluster, from an inputs file; an id without one is a cluster of its own
    :param cluster_by: ``file``: as in ``named``; ``id_seed``: the environment seed in
        ``<env>-<seed>-<x>,<y>,<heading>-<n>``; ``input``: each input alone; ``auto``: ``file`` if ``named`` is not
        empty, else ``input``
    :raises InputError: an id without a seed, or no cluster in the file
    :raises UsageError: any other ``cluster_by``
    """
    if cluster_by not in _WAYS:
        raise UsageError(
            field="cluster_by", found=shown(cluster_by), expected=f"{', '.join(_WAYS[:-1])} or {_WAYS[-1]}"
        )
    if cluster_by == "auto":
        cluster_by = "file" if named else "input"
    if cluster_by == "file":
        if not named:
            hint = "--cluster_by id_seed and input do not use it"
            raise InputError(where, "cluster", "no input has this key", hint=hint)
        keys = [("cluster", named[input_id]) if input_id in named else ("input", input_id) for input_id in ids]
        alone = sum(kind == "input" for kind, _ in keys)
        description = "cluster of the inputs file" + (f", {alone} inputs without one each alone" if alone else "")
    elif cluster_by == "id_seed":
        keys = [("seed", _seed_in(input_id, where)) for input_id in ids]
        description = "environment seed in the id"
    else:
        keys = [("input", input_id) for input_id in ids]
        description = "each input alone"
    number_of = {key: number for number, key in enumerate(dict.fromkeys(keys))}
    of_input = np.array([number_of[key] for key in keys], np.intp)
    count = len(number_of)
    merged_from = count if count > MOST_CLUSTERS else None
    if merged_from is not None:
        dealt = np.random.default_rng(0).permutation(count) % MOST_CLUSTERS
        of_input, count = dealt[of_input], MOST_CLUSTERS
    return Clusters(of_input=of_input, count=count, description=description, merged_from=merged_from)


def _seed_in(input_id: str, where: object) -> str:
    match = _ID_SEED.fullmatch(input_id)
    if match is None:
        raise InputError(
            where,
            f"input id {shown(input_id)}",
            "does not contain a seed, as in <env>-<seed>-<x>,<y>,<heading>-<number>",
        )
    return match[1]
