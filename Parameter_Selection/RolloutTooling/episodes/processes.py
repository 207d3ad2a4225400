"""Blocks of episodes one after the other, or in several processes with the same results."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from Neuron_Selection.FileFormats.observations import Observations, rows_of
from Neuron_Selection.ObservationTooling.environments.episodes import Episodes
from Neuron_Selection.PatchingTooling.ablations import Ablation
from Neuron_Selection.PatchingTooling.opened_agent import OpenedAgent, open_agent
from Parameter_Selection.RolloutTooling.episodes.baseline import run_baseline
from Parameter_Selection.RolloutTooling.episodes.block import Outcomes, run_block
from Parameter_Selection.RolloutTooling.episodes.settings import EpisodeSettings, joined
from Parameter_Selection.RolloutTooling.experiments.ablated_values import AblatedValues
from Parameter_Selection.RolloutTooling.experiments.deciders import Deciders
from Parameter_Selection.RolloutTooling.experiments.experiment import Experiment
from Parameter_Selection.RolloutTooling.experiments.opening import options_of

Progress = Callable[..., Iterable[Any]]
_ROWS_AT_ONCE = 1 << 15  # experiments times episodes of a block
_MOST_EPISODES = 64  # of a block
_REFERENCE_STEPS = 64  # of an episode of the baseline, evenly spaced, that are reference inputs by default


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Work:
    """What every process needs beside the agents.

    ``reference``: inputs for ablations that need them. ``seed``: of drawn ablations. ``gamma``: of discounted returns.
    """

    experiments: Sequence[Experiment]
    settings: EpisodeSettings
    ablation: Ablation | None
    reference: Observations | None
    seed: int
    gamma: float

    def deciders(self, agent: OpenedAgent, against: OpenedAgent | None) -> Deciders:
        """The experiments on an agent."""
        ablated = None
        if self.ablation is not None:
            ablated = AblatedValues(agent.network, self.ablation, self.reference, seed=self.seed)
        other = None if against is None else against.network
        return Deciders(network=agent.network, experiments=self.experiments, ablated=ablated, against=other)


def run_episodes(
    agent: OpenedAgent,
    against: OpenedAgent | None,
    work: Work,
    seeds: Sequence[int],
    *,
    jobs: int,
    progress: Progress | None,
) -> list[Outcomes]:
    """Run all episodes, block by block; what a block gives does not depend on the others."""
    size = min(max(1, _ROWS_AT_ONCE // (1 + len(work.experiments))), _MOST_EPISODES, -(-len(seeds) // jobs))
    blocks = [seeds[start : start + size] for start in range(0, len(seeds), size)]

    def counted(results: Iterable[Outcomes]) -> list[Outcomes]:
        return list(results if progress is None else progress(results, total=len(blocks), unit="block"))

    if jobs == 1 or len(blocks) == 1:
        pool = Episodes(work.settings.environment, agent, n=size, max_steps=work.settings.max_steps)
        try:
            deciders = work.deciders(agent, against)
            return counted(run_block(deciders, pool, work.settings, block, gamma=work.gamma) for block in blocks)
        finally:
            pool.close()
    from concurrent.futures import ProcessPoolExecutor
    from multiprocessing import get_context

    opened = [(one.folder.zip_path, options_of(one)) for one in (agent, against) if one is not None]
    with ProcessPoolExecutor(
        min(jobs, len(blocks)), mp_context=get_context("spawn"), initializer=_begin, initargs=(opened, work, size)
    ) as executor:
        return counted(executor.map(_run_block, blocks))


def reference_from_baseline(agent: OpenedAgent, settings: EpisodeSettings, seeds: Sequence[int]) -> Observations:
    """Visited observations of the unchanged agent, at most 64 evenly spaced ones of each episode."""
    pool = Episodes(settings.environment, agent, n=min(_MOST_EPISODES, len(seeds)), max_steps=settings.max_steps)
    kept: list[Observations] = []
    try:
        for start in range(0, len(seeds), _MOST_EPISODES):
            for episode in run_baseline(agent.network, pool, settings, seeds[start : start + _MOST_EPISODES]):
                length = len(episode.actions)
                places = np.unique(np.linspace(0, length - 1, min(length, _REFERENCE_STEPS)).round().astype(np.intp))
                kept.append(rows_of(episode.observations, places))
    finally:
        pool.close()
    return joined(kept)


_process: dict[str, Any] = {}


def _begin(opened: Sequence[tuple[Path, dict[str, Any]]], work: Work, size: int) -> None:
    """Open the agents and make the environments of this process."""
    os.environ.setdefault("MKL_CBWR", "AUTO")
    agent, *others = (open_agent(path, **options) for path, options in opened)
    _process["deciders"] = work.deciders(agent, others[0] if others else None)
    _process["pool"] = Episodes(work.settings.environment, agent, n=size, max_steps=work.settings.max_steps)
    _process["work"] = work


def _run_block(seeds: Sequence[int]) -> Outcomes:
    work: Work = _process["work"]
    return run_block(_process["deciders"], _process["pool"], work.settings, seeds, gamma=work.gamma)
