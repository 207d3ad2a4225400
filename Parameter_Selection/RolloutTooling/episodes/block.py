"""A block of episodes: the baseline and all experiments on some seeds, as arrays that can be put together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace

import numpy as np

from Neuron_Selection.ObservationTooling.environments.episodes import Episodes
from Parameter_Selection.RolloutTooling.episodes.baseline import Episode, run_baseline
from Parameter_Selection.RolloutTooling.episodes.branches import Branch, decide_on_baseline_states, run_branches
from Parameter_Selection.RolloutTooling.episodes.settings import EpisodeSettings
from Parameter_Selection.RolloutTooling.experiments.deciders import Deciders

UNKNOWN = -1
"""Of success and death, where the environment does not report them."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Path:
    """One episode as it went, of the baseline or of the experiments that share it.

    ``members``: the numbers of the experiments, the baseline 0 among them if it is its own.
    """

    episode: int
    members: np.ndarray
    actions: np.ndarray
    rewards: np.ndarray
    states: np.ndarray


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Outcomes:
    """Episodes of the baseline, row 0, and of every experiment; columns are seeds.

    ``returns``, ``discounted``, ``lengths``; ``success``, ``death``: 0, 1 or UNKNOWN; ``truncated``;
    ``flips_baseline``: states of the baseline's episode in which the action differs; ``flips_own``: states of the own
    episode in which it differs from what the baseline would do there; ``partings``: the first step at which the paths
    part, -1 for never. ``actions``: (1 + n_experiments, n_episodes, n_actions), how often each was taken. ``paths``:
    every different episode.
    """

    seeds: np.ndarray
    returns: np.ndarray
    discounted: np.ndarray
    lengths: np.ndarray
    success: np.ndarray
    death: np.ndarray
    truncated: np.ndarray
    flips_baseline: np.ndarray
    flips_own: np.ndarray
    partings: np.ndarray
    actions: np.ndarray
    paths: tuple[Path, ...]


def run_block(
    deciders: Deciders,
    pool: Episodes,
    settings: EpisodeSettings,
    seeds: Sequence[int],
    *,
    gamma: float,
) -> Outcomes:
    """Run the baseline and every experiment on some seeds.

    :param pool: with a row for each seed at least
    :param gamma: of the discounted returns
    """
    episodes = run_baseline(deciders.network, pool, settings, seeds)
    decided = decide_on_baseline_states(deciders, settings, episodes)
    shape = (1 + len(deciders.experiments), len(seeds))
    n_actions = int(pool.envs[0].action_space.n)  # type: ignore[attr-defined]
    found = Outcomes(
        seeds=np.array(seeds),
        returns=np.zeros(shape),
        discounted=np.zeros(shape),
        lengths=np.zeros(shape, np.int64),
        success=np.full(shape, UNKNOWN, np.int8),
        death=np.full(shape, UNKNOWN, np.int8),
        truncated=np.zeros(shape, bool),
        flips_baseline=np.concatenate([np.zeros((1, len(seeds)), np.int64), decided.flips]),
        flips_own=np.zeros(shape, np.int64),
        partings=np.concatenate([np.full((1, len(seeds)), -1), decided.partings]),
        actions=np.zeros((*shape, n_actions), np.int64),
        paths=(),
    )
    paths: list[Path] = []
    for number, episode in enumerate(episodes):
        members = np.flatnonzero(found.partings[:, number] < 0)
        paths.append(_entered(found, episode, number, members, gamma))
    for branch in run_branches(deciders, pool, settings, episodes, decided=decided):
        paths.append(_entered(found, branch, branch.episode, branch.members, gamma))
        found.flips_own[branch.members, branch.episode] = sum(branch.flips)
    paths.sort(key=lambda path: (path.episode, int(path.members[0])))
    return replace(found, paths=tuple(paths))


def put_together(blocks: Sequence[Outcomes]) -> Outcomes:
    """The episodes of several blocks, in their order."""
    parts: dict[str, np.ndarray] = {}
    for one in fields(Outcomes):
        if one.name not in ("paths", "seeds"):
            parts[one.name] = np.concatenate([getattr(block, one.name) for block in blocks], axis=1)
    paths: list[Path] = []
    first = 0
    for block in blocks:
        paths += [replace(path, episode=first + path.episode) for path in block.paths]
        first += len(block.seeds)
    return Outcomes(seeds=np.concatenate([block.seeds for block in blocks]), paths=tuple(paths), **parts)


def _entered(found: Outcomes, episode: Episode | Branch, number: int, members: np.ndarray, gamma: float) -> Path:
    """Enter an episode for all experiments that share it."""
    rewards, actions = np.asarray(episode.rewards), np.asarray(episode.actions)
    found.returns[members, number] = rewards.sum()
    found.discounted[members, number] = rewards @ gamma ** np.arange(len(rewards))
    found.lengths[members, number] = len(actions)
    found.truncated[members, number] = episode.truncated
    for name, value in (("success", episode.ending.success), ("death", episode.ending.death)):
        getattr(found, name)[members, number] = UNKNOWN if value is None else int(value)
    found.actions[members, number] = np.bincount(actions, minlength=found.actions.shape[2])
    states = np.frombuffer(b"".join(episode.states[: len(actions)]), np.uint64)
    return Path(episode=number, members=members, actions=actions, rewards=rewards, states=states)
