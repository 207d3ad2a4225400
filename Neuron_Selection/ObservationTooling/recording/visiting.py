"""Run episodes and collect the distinct observations, each at its first visit."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import NamedTuple

import numpy as np

from Neuron_Selection.FileFormats.observations import Observations, rows_of
from Neuron_Selection.FileFormats.state_frames import FramesArchive
from Neuron_Selection.FileFormats.visited_inputs import Visits
from Neuron_Selection.ObservationTooling.environments.acting import Acting, episode_generator
from Neuron_Selection.ObservationTooling.environments.episodes import Episodes
from Neuron_Selection.PatchingTooling.agent.network import Network, refuse_nonfinite_scores


@dataclass(frozen=True, kw_only=True, slots=True)
class Episode:
    """An episode that was run. ``end``: terminated, truncated, or stopped by the limit on steps."""

    seed: int
    end: str
    actions: Sequence[int]
    rewards: Sequence[float]


class _Visit(NamedTuple):
    """The first visit of a state; visits are ordered by the seed of the episode, then by step."""

    seed: int
    step: int
    scores: Sequence[float]


def run_episodes(
    episodes: Episodes,
    network: Network,
    acting: Acting,
    *,
    seeds: range,
    name: str,
    frames: FramesArchive | None,
    progress: Callable[[Iterable[Episode]], Iterable[Episode]] = iter,
) -> tuple[list[Episode], Visits]:
    """Run the episode of every seed, as many at once as ``episodes`` has rows.

    What is returned does not depend on how many run at once.

    :param name: of the environment, the first part of the ids
    :param frames: takes a picture of each visited state; None takes none
    :param progress: iterates over the episodes as they end
    """
    running = _Running(episodes, network, acting, frames)
    run = {episode.seed: episode for episode in progress(running.run(seeds))}
    keys = sorted(running.visits, key=lambda key: running.visits[key][:2])
    visits = [running.visits[key] for key in keys]
    ids = tuple(f"{name}-{visit.seed}-{visit.step}" for visit in visits)
    if frames is not None:
        frames.name_all(dict(zip(keys, ids, strict=True)))
    returns = {seed: float(sum(episode.rewards)) for seed, episode in run.items()}
    return [run[seed] for seed in seeds], Visits(
        ids=ids,
        observations=running.observations_of(keys),
        seeds=np.array([visit.seed for visit in visits], np.int64),
        steps=np.array([visit.step for visit in visits], np.int64),
        actions=np.array([run[visit.seed].actions[visit.step] for visit in visits], np.int64),
        scores=np.array([visit.scores for visit in visits], np.float64),
        rewards=np.array([run[visit.seed].rewards[visit.step] for visit in visits], np.float64),
        returns=np.array([returns[visit.seed] for visit in visits], np.float64),
    )


class _Running:
    """Episodes that run at once, and the states visited so far.

    ``visits``: by the bytes of the observation.
    """

    def __init__(self, episodes: Episodes, network: Network, acting: Acting, frames: FramesArchive | None) -> None:
        self._episodes, self._network, self._acting, self._frames = episodes, network, acting, frames
        self.visits: dict[bytes, _Visit] = {}
        self._empty: Observations = np.zeros(0)  # no observations, with the shape and dtype of each

    def run(self, seeds: range) -> Iterator[Episode]:
        """Run one episode of each seed; a row whose episode has ended starts the next one."""
        episodes, n = self._episodes, len(self._episodes.running)
        observations = episodes.reset(seeds[:n])
        self._empty = rows_of(observations, slice(0))
        waiting = iter(seeds[n:])
        generators = {row: episode_generator(seed) for row, seed in enumerate(seeds[:n])}
        actions: list[list[int]] = [[] for _ in range(n)]
        rewards: list[list[float]] = [[] for _ in range(n)]
        chosen = np.zeros(n, np.int64)
        while episodes.running.any():
            rows = np.flatnonzero(episodes.running)
            places = rows.tolist()
            seen = rows_of(observations, rows)
            scores = self._network.scores(seen)
            refuse_nonfinite_scores(scores)
            chosen[rows] = self._acting.actions(scores, [generators[row] for row in places])
            self._visit(places, seen, scores.tolist())
            step = episodes.step(chosen)
            observations = step.observations
            for row, action, reward in zip(places, chosen[rows].tolist(), step.rewards[rows].tolist(), strict=True):
                actions[row].append(action)
                rewards[row].append(reward)
            ended = np.flatnonzero(step.terminated | step.truncated)
            for row in ended.tolist():
                end = "terminated" if step.terminated[row] else "stopped" if episodes.stopped[row] else "truncated"
                yield Episode(seed=int(episodes.seeds[row]), end=end, actions=actions[row], rewards=rewards[row])
                actions[row], rewards[row] = [], []
            following = list(islice(waiting, len(ended)))
            if following:
                observations = episodes.start(ended[: len(following)], following)
                generators.update(zip(ended.tolist(), map(episode_generator, following), strict=False))

    def _visit(self, rows: Sequence[int], seen: Observations, scores: Sequence[Sequence[float]]) -> None:
        """Keep the states that no earlier episode, nor this one before, has visited."""
        seeds, steps = self._episodes.seeds.tolist(), self._episodes.steps.tolist()
        for key, row, values in zip(_bytes_of(seen), rows, scores, strict=True):
            earlier = self.visits.get(key)
            if earlier is None or (seeds[row], steps[row]) < (earlier.seed, earlier.step):
                self.visits[key] = _Visit(seeds[row], steps[row], values)
                if self._frames is not None:
                    self._frames.keep(key, self._episodes.frame(row))

    def observations_of(self, keys: Sequence[bytes]) -> Observations:
        """The observations with these bytes, (n, *shape)."""
        if not isinstance(self._empty, dict):
            return _arrays_of(keys, self._empty)
        parts, start = {}, 0
        for name, empty in self._empty.items():
            end = start + empty.dtype.itemsize * int(np.prod(empty.shape[1:]))
            parts[name] = _arrays_of([key[start:end] for key in keys], empty)
            start = end
        return parts


def _bytes_of(observations: Observations) -> list[bytes]:
    """The bytes of each observation, by which equal ones are recognised."""
    if isinstance(observations, dict):
        return [b"".join(parts) for parts in zip(*map(_bytes_of, observations.values()), strict=True)]
    flat = np.ascontiguousarray(observations).reshape(len(observations), -1)
    data: list[bytes] = flat.view(np.dtype((np.void, flat.itemsize * flat.shape[1]))).ravel().tolist()
    return data


def _arrays_of(data: Sequence[bytes], like: np.ndarray) -> np.ndarray:
    return np.frombuffer(b"".join(data), like.dtype).reshape(len(data), *like.shape[1:])
