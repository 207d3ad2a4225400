"""What is analysed, wherever it comes from: Q-values of many experiments, direction by direction."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Block:
    """``patched``: (inputs of ``rows``, ``experiments``, n_actions)."""

    rows: slice
    experiments: np.ndarray
    patched: np.ndarray


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class DirectionRuns:
    """The runs of one direction.

    ``baseline``: the target's Q-values, (n_inputs, n_actions); ``contrast``: those of the other run of each pair,
    None where unknown. ``flags``: for each experiment "", or why it cannot matter. ``blocks`` can be called again.
    """

    baseline: np.ndarray
    contrast: np.ndarray | None
    source: str
    target: str
    flags: tuple[str, ...]
    blocks: Callable[[], Iterator[Block]]


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class PatchedRuns:
    """All runs.

    ``decisive``: fingerprints of what they were read from; ``told``: how they were made, for people; ``command``: what
    was typed for them, empty where unknown. ``random_sets``: which experiments were drawn as control, from 0.
    """

    where: str
    ids: tuple[str, ...]
    clusters: Mapping[str, str]
    names: tuple[str, ...]
    patches: tuple[Mapping[str, Any], ...]
    directions: Mapping[str, DirectionRuns]
    weights_sha256: str
    decisive: Mapping[str, Any]
    told: Mapping[str, Any]
    command: Mapping[str, Any]
    random_sets: tuple[int, ...] = ()

    @property
    def is_random(self) -> np.ndarray:
        """Which experiments are random sets, (n_experiments,)."""
        random = np.zeros(len(self.names), bool)
        random[list(self.random_sets)] = True
        return random
