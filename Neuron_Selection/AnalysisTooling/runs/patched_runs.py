"""Patched runs: Q-values of many experiments in each direction."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from Neuron_Selection.FileFormats.scores import scores_in


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Block:
    """``patched``: (inputs of ``rows``, ``experiments``, n_actions)."""

    rows: slice
    experiments: np.ndarray
    patched: np.ndarray


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class DirectionRuns:
    """The runs of one direction.

    ``baseline``: Q-values of the target run, (n_inputs, n_actions); ``contrast``: those of the other run of each pair,
    None if unknown. All scores are minus infinity for actions that the target run's masks forbid. ``flags``: for each
    experiment "", or the reason why it cannot have an effect. ``blocks`` may be called several times.
    """

    baseline: np.ndarray
    contrast: np.ndarray | None
    source: str
    target: str
    flags: tuple[str, ...]
    blocks: Callable[[], Iterator[Block]]


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class PatchedRuns:
    """The runs of all directions.

    ``decisive``: fingerprints of the files; ``settings``: engine, dtype and ablation of the runs, and what their scores
    are called unless they are Q-values; ``command``: the
    command that made them, empty if unknown. ``random_sets``: positions, from 0, of the experiments drawn as control.
    """

    where: str
    ids: tuple[str, ...]
    clusters: Mapping[str, str]
    names: tuple[str, ...]
    patches: tuple[Mapping[str, Any], ...]
    directions: Mapping[str, DirectionRuns]
    weights_sha256: str
    decisive: Mapping[str, Any]
    settings: Mapping[str, Any]
    command: Mapping[str, Any]
    random_sets: tuple[int, ...] = ()

    @property
    def scores(self) -> str:
        """What the scores are called."""
        return scores_in(self.settings)

    @property
    def is_random(self) -> np.ndarray:
        """Which experiments are random sets, (n_experiments,)."""
        random = np.zeros(len(self.names), bool)
        random[list(self.random_sets)] = True
        return random
