"""Run episodes and collect the distinct observations, each at its first visit."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from Neuron_Selection.AnalysisTooling.measures.decisions import allowed_scores
from Neuron_Selection.FileFormats.observations import Observations, rows_of
from Neuron_Selection.FileFormats.state_frames import FramesArchive
from Neuron_Selection.FileFormats.visited_inputs import Visits
from Neuron_Selection.ObservationTooling.environments.acting import Acting, episode_generator
from Neuron_Selection.ObservationTooling.environments.episodes import Episodes
from Neuron_Selection.PatchingTooling.agent.network import Network, refuse_nonfinite_scores


@dataclass(frozen=True, kw_only=True, slots=True)
class Episode:
    """An episode that was run.

    ``end``: terminated, truncated, or stopped by the limit on steps. ``length``: its steps. ``total``: its return.
    """

    seed: int
    end: str
    length: int
    total: float


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Run:
    """Episodes by seed, the states they visited, and the actions of all steps.

    ``actions``: (n_steps,); ``seeds``: (n_steps,), of the episode of each; the steps of an episode are in their order.
    """

    episodes: Sequence[Episode]
    visits: Visits
    actions: np.ndarray
    seeds: np.ndarray


def run_episodes(
    episodes: Episodes,
    network: Network,
    acting: Acting,
    *,
    seeds: range,
    name: str,
    frames: FramesArchive | None,
    progress: Callable[[Iterable[Episode]], Iterable[Episode]] = iter,
) -> Run:
    """Run the episode of every seed, as many at once as ``episodes`` has rows.

    The episodes and visits do not depend on how many run at once.

    :param name: of the environment, the first part of the ids
    :param frames: takes a picture of each visited state; None takes none
    :param progress: iterates over the episodes as they end
    """
    log = _Log(episodes, frames)
    ended = {episode.seed: episode for episode in progress(log.run(seeds, network, acting))}
    keys = sorted(log.first, key=log.first.__getitem__)
    rows = np.array([log.first[key][2] for key in keys])
    of_step = log.columns()
    seeds_visited, steps = of_step["seeds"][rows], of_step["steps"][rows]
    ids = tuple(f"{name}-{seed}-{step}" for seed, step in zip(seeds_visited.tolist(), steps.tolist(), strict=True))
    if frames is not None:
        frames.name_all(dict(zip(keys, ids, strict=True)))
    visits = Visits(
        ids=ids,
        observations=log.observations_of(keys),
        seeds=seeds_visited,
        steps=steps,
        actions=of_step["actions"][rows],
        scores=of_step["scores"][rows].astype(np.float64),
        rewards=of_step["rewards"][rows],
        returns=np.array([ended[seed].total for seed in seeds_visited.tolist()]),
        masks=of_step["masks"][rows] if "masks" in of_step else None,
    )
    run = [ended[seed] for seed in seeds]
    return Run(episodes=run, visits=visits, actions=of_step["actions"], seeds=of_step["seeds"])


class _Log:
    """The steps of episodes that run at once, and which of them was the first in each state.

    ``first``: the bytes of an observation to (seed, step, number of the step in the log); the least is the first visit.
    """

    def __init__(self, episodes: Episodes, frames: FramesArchive | None) -> None:
        self._episodes, self._frames = episodes, frames
        self._batches: dict[str, list[np.ndarray]] = {}
        self._n_steps = 0
        self.first: dict[bytes, tuple[int, int, int]] = {}
        self._empty: Observations = np.zeros(0)  # no observations, with the shape and dtype of each

    def run(self, seeds: range, network: Network, acting: Acting) -> Iterator[Episode]:
        """Run one episode of each seed; a row whose episode has ended starts the next one."""
        episodes, n = self._episodes, len(self._episodes.running)
        observations = episodes.reset(seeds[:n])
        self._empty = rows_of(observations, slice(0))
        waiting = iter(seeds[n:])
        generators = {row: episode_generator(seed) for row, seed in enumerate(seeds[:n])}
        chosen, totals = np.zeros(n, np.int64), np.zeros(n)
        while episodes.running.any():
            rows = np.flatnonzero(episodes.running)
            seen = rows_of(observations, rows)
            scores = network.scores(seen)
            refuse_nonfinite_scores(scores)
            masks = episodes.action_masks(rows) if episodes.has_masks else None
            decisive = allowed_scores(scores, masks)
            chosen[rows] = acting.actions(decisive, [generators[row] for row in rows.tolist()])
            self._visit(rows, seen, masks)
            step = episodes.step(chosen)
            observations = step.observations
            self._add(scores=scores, actions=chosen[rows], rewards=step.rewards[rows])
            totals += step.rewards
            ended = np.flatnonzero(step.terminated | step.truncated)
            for row in ended.tolist():
                end = "terminated" if step.terminated[row] else "stopped" if episodes.stopped[row] else "truncated"
                seed, length = int(episodes.seeds[row]), int(episodes.steps[row])
                yield Episode(seed=seed, end=end, length=length, total=float(totals[row]))
            totals[ended] = 0
            for row, following in zip(ended.tolist(), waiting, strict=False):
                episodes.restart(row, following)
                generators[row] = episode_generator(following)
            if len(ended):
                observations = episodes.observations_of(slice(None))

    def _visit(self, rows: np.ndarray, seen: Observations, masks: np.ndarray | None) -> None:
        """Note the states that no earlier step has visited; steps are ordered by seed, then by their place.

        States are the same if their observations are, and their masks.
        """
        seeds, steps = self._episodes.seeds[rows], self._episodes.steps[rows]
        self._add(seeds=seeds, steps=steps)
        keys = _bytes_of(seen)
        if masks is not None:
            self._add(masks=masks)
            keys = [key + mask for key, mask in zip(keys, _bytes_of(masks), strict=True)]
        numbers = range(self._n_steps, self._n_steps + len(rows))
        self._n_steps += len(rows)
        visits = zip(seeds.tolist(), steps.tolist(), numbers, strict=True)
        for place, (key, visit) in enumerate(zip(keys, visits, strict=True)):
            earlier = self.first.get(key)
            if earlier is None or visit < earlier:
                self.first[key] = visit
                if self._frames is not None:
                    self._frames.keep(key, self._episodes.frame(int(rows[place])))

    def _add(self, **columns: np.ndarray) -> None:
        for name, values in columns.items():
            self._batches.setdefault(name, []).append(values)

    def columns(self) -> dict[str, np.ndarray]:
        """The columns of the log, one row per step."""
        return {name: np.concatenate(batches) for name, batches in self._batches.items()}

    def observations_of(self, keys: Sequence[bytes]) -> Observations:
        """The observations with these bytes, (n, *shape)."""
        if not isinstance(self._empty, dict):
            return _arrays_of(keys, self._empty, start=0)
        parts, start = {}, 0
        for name, empty in self._empty.items():
            parts[name] = _arrays_of(keys, empty, start=start)
            start += _size_of(empty)
        return parts


def _bytes_of(observations: Observations) -> list[bytes]:
    """The bytes of each observation, by which equal ones are recognised."""
    if isinstance(observations, dict):
        return [b"".join(parts) for parts in zip(*map(_bytes_of, observations.values()), strict=True)]
    flat = np.ascontiguousarray(observations).reshape(len(observations), -1)
    data: list[bytes] = flat.view(np.dtype((np.void, flat.itemsize * flat.shape[1]))).ravel().tolist()
    return data


def _arrays_of(data: Sequence[bytes], like: np.ndarray, *, start: int) -> np.ndarray:
    """The arrays whose bytes begin at ``start``, (n, *shape)."""
    end = start + _size_of(like)
    joined = b"".join(one[start:end] for one in data)
    return np.frombuffer(joined, like.dtype).reshape(len(data), *like.shape[1:])


def _size_of(like: np.ndarray) -> int:
    """The bytes of one row."""
    return like.dtype.itemsize * int(np.prod(like.shape[1:]))
