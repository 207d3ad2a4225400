"""Episodes in lockstep: several environments, each with its own seed, observed as the network gets them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import gymnasium
import numpy as np

from Neuron_Selection.errors import InputError, UsageError, shown
from Neuron_Selection.FileFormats.agent_zip.spaces import describe_space
from Neuron_Selection.FileFormats.observations import Observations
from Neuron_Selection.ObservationTooling.environments.environment import Environment
from Neuron_Selection.ObservationTooling.environments.registered import environment_errors
from Neuron_Selection.ObservationTooling.environments.space_checks import checked_view
from Neuron_Selection.ObservationTooling.environments.views import WHOLE, LeafView
from Neuron_Selection.PatchingTooling.opened_agent import OpenedAgent

MAX_STEPS = 1000


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Step:
    """What one step of n episodes returned; rows as in ``Episodes``.

    ``observations``: (n, *shape) after the step, or one such array per key. ``rewards``: (n,), float64.
    ``terminated``, ``truncated``: (n,), of this step; the step limit of ``Episodes`` truncates as well.
    ``infos``: n dicts, as the environments returned them.

    A row whose episode had ended before the step repeats its last observation, with reward 0, neither terminated nor
    truncated, and no info.
    """

    observations: Observations
    rewards: np.ndarray
    terminated: np.ndarray
    truncated: np.ndarray
    infos: tuple[Mapping[str, Any], ...]


class Episodes:
    """n environments, one episode each, stepped together; an episode that ends is not started again.

    ::

        episodes = Episodes(environment, agent, n=16)
        observations = episodes.reset(range(16))
        while episodes.running.any():
            actions = agent.network.scores(observations).argmax(axis=1)
            step = episodes.step(actions)
            observations = step.observations
        episodes.close()

    Observations are what the network receives: in the wrappers, with stacked frames, images transposed, normalised with
    the agent's VecNormalize statistics, which are read as data and never updated. Each call returns new arrays.
    Environments are made anew, never copied, and ``reset`` may be called as often as needed.

    :param n: the number of environments
    :param max_steps: an episode is truncated after so many steps
    :param with_frames: ``frames`` can be called
    :raises SuiteError: the environment cannot be made, or its spaces are not the agent's

    ``running``: (n,), whether an episode goes on. ``stopped``: (n,), whether it was truncated by ``max_steps`` alone.
    ``steps``: (n,), its steps so far. ``seeds``: its seeds.
    """

    def __init__(
        self,
        environment: Environment,
        agent: OpenedAgent,
        *,
        n: int,
        max_steps: int = MAX_STEPS,
        with_frames: bool = False,
    ) -> None:
        self.environment, self.max_steps = environment, max_steps
        self._normalizer, self._space = agent.normalizer, agent.agent_zip.observation_space
        first = environment.make(with_frames=with_frames)
        self._envs = [first]
        self._view = checked_view(first, environment, agent)
        self._is_dict = WHOLE not in self._view
        for _ in range(n - 1):
            self._envs.append(environment.make(with_frames=with_frames))
        if len({id(env) for env in self._envs}) < n:
            raise UsageError(f"{environment.where}: the factory returned one environment twice, expected a new one")
        self._stacks = {key: np.zeros((n, *leaf.stacked), leaf.dtype) for key, leaf in self._view.items()}
        self.seeds: tuple[int, ...] = ()
        self.running = np.zeros(n, bool)
        self.stopped = np.zeros(n, bool)
        self.steps = np.zeros(n, np.int64)

    @property
    def envs(self) -> Sequence[gymnasium.Env[Any, Any]]:
        """The environments, in their wrappers, by row."""
        return self._envs

    def reset(self, seeds: Sequence[int]) -> Observations:
        """Start an episode of each seed.

        :param seeds: at most n; rows beyond them do not run
        :return: the first observations, (n, *shape), or one such array per key; rows that do not run are zeros
        """
        self.seeds = tuple(seeds)
        self.running[:] = np.arange(len(self.running)) < len(self.seeds)
        self.stopped[:] = False
        self.steps[:] = 0
        for stack in self._stacks.values():
            stack[:] = 0
        for row, seed in enumerate(self.seeds):
            with environment_errors(f"{self.environment.where}, seed {seed}"):
                observation, _ = self._envs[row].reset(seed=int(seed))
            self._take(row, observation)
        return self._observations()

    def step(self, actions: np.ndarray) -> Step:
        """Take one step in every episode that is running.

        :param actions: (n,), whole numbers; those of rows that do not run are ignored
        """
        n = len(self.running)
        rewards, infos = np.zeros(n), [dict[str, Any]() for _ in range(n)]
        terminated, truncated = np.zeros(n, bool), np.zeros(n, bool)
        for row in np.flatnonzero(self.running).tolist():
            with environment_errors(f"{self.environment.where}, seed {self.seeds[row]}, step {self.steps[row]}"):
                observation, reward, ends, is_cut, infos[row] = self._envs[row].step(int(actions[row]))
                rewards[row], terminated[row], truncated[row] = reward, ends, is_cut
            self.steps[row] += 1
            self._take(row, observation)
        if not np.isfinite(rewards).all():
            raise self._wrong(int(np.flatnonzero(~np.isfinite(rewards))[0]), "reward", "NaN or infinity", "a number")
        self.stopped = self.running & ~terminated & ~truncated & (self.steps >= self.max_steps) | self.stopped
        truncated |= self.running & self.stopped
        self.running = self.running & ~terminated & ~truncated
        return Step(
            observations=self._observations(),
            rewards=rewards,
            terminated=terminated,
            truncated=truncated,
            infos=tuple(infos),
        )

    def add_rows(self, count: int) -> None:
        """Make further environments, whose rows come after the others and do not run."""
        self._envs += [self.environment.make() for _ in range(count)]
        for key, stack in self._stacks.items():
            self._stacks[key] = np.concatenate([stack, np.zeros((count, *stack.shape[1:]), stack.dtype)])
        self.running, self.stopped = (
            np.concatenate([flags, np.zeros(count, bool)]) for flags in (self.running, self.stopped)
        )
        self.steps = np.concatenate([self.steps, np.zeros(count, np.int64)])

    def restart(self, row: int, seed: int) -> None:
        """Start an episode in one row; the other rows stay where they are."""
        self.seeds = (*self.seeds[:row], *[0] * (row - len(self.seeds)), seed, *self.seeds[row + 1 :])
        self.running[row], self.stopped[row], self.steps[row] = True, False, 0
        for stack in self._stacks.values():
            stack[row] = 0
        with environment_errors(f"{self.environment.where}, seed {seed}"):
            observation, _ = self._envs[row].reset(seed=int(seed))
        self._take(row, observation)

    def advance(self, row: int, action: int) -> tuple[float, bool, bool, Mapping[str, Any]]:
        """Take one step in one row that is running.

        :return: its reward, whether it was terminated and truncated, and its info, as in ``Step``
        """
        with environment_errors(f"{self.environment.where}, seed {self.seeds[row]}, step {self.steps[row]}"):
            observation, reward, terminated, truncated, info = self._envs[row].step(action)
            reward = float(reward)
        if not math.isfinite(reward):
            raise self._wrong(row, "reward", "NaN or infinity", "a number")
        self.steps[row] += 1
        self._take(row, observation)
        if not terminated and not truncated and self.steps[row] >= self.max_steps:
            self.stopped[row] = truncated = True
        self.running[row] = not terminated and not truncated
        return reward, bool(terminated), bool(truncated), info

    def observations_of(self, rows: Sequence[int]) -> Observations:
        """What the network receives in some rows, (n_rows, *shape), or one such array per key."""
        return self._observations(list(rows))

    def frame(self, row: int) -> np.ndarray:
        """A picture of an episode's current state, (height, width, 3), uint8.

        :raises InputError: the environment renders no such pictures
        """
        with environment_errors(f"{self.environment.where}, render"):
            frame = self._envs[row].render()
        if not isinstance(frame, np.ndarray) or frame.dtype != np.uint8 or frame.ndim != 3 or frame.shape[2] != 3:
            raise InputError(
                self.environment.where,
                "render()",
                found="no picture",
                expected="an array (height, width, 3) of uint8",
                hint="render_mode rgb_array; a factory must take render_mode",
            )
        return frame

    def close(self) -> None:
        """Close all environments."""
        for env in self._envs:
            env.close()

    def _take(self, row: int, observation: Any) -> None:
        """Put an environment's observation behind its earlier ones."""
        if self._is_dict and not isinstance(observation, Mapping):
            raise self._wrong(row, "observation", shown(observation), "a dict")
        for key, leaf in self._view.items():
            part = observation.get(key) if self._is_dict else observation
            field = f"observation.{key}" if self._is_dict else "observation"
            _push(self._stacks[key][row : row + 1], self._array(part, leaf, row, field)[None], leaf)

    def _array(self, part: Any, leaf: LeafView, row: int, field: str) -> np.ndarray:
        array = np.asarray(part)
        if array.shape != leaf.shape or array.dtype.kind not in "iufb":
            found = f"shape {array.shape} of {array.dtype.name}"
            raise self._wrong(row, field, found, f"{leaf.shape} of {leaf.dtype.name}, as in its observation space")
        if array.dtype.kind == "f" and not np.isfinite(array).all():
            raise self._wrong(row, field, "NaN or infinity", "finite numbers")
        return array

    def _wrong(self, row: int, field: str, found: str, expected: str) -> InputError:
        where = f"{self.environment.where}, seed {self.seeds[row]}, step {self.steps[row]}"
        return InputError(where, field, found=found, expected=expected)

    def _observations(self, rows: Any = slice(None)) -> Observations:
        """What the network receives."""
        parts = {key: _transposed(self._stacks[key][rows], leaf) for key, leaf in self._view.items()}
        batch: Observations = parts if self._is_dict else parts[WHOLE]
        if self._normalizer is not None:
            batch = self._normalizer.normalised(batch)
        return batch

    def __repr__(self) -> str:
        return f"Episodes({self.environment.env}, n={len(self._envs)}, {describe_space(self._space)})"


def _push(stack: np.ndarray, observation: np.ndarray, leaf: LeafView) -> None:
    """Move the frames of a stack one place on, and put the observation last.

    :param stack: (1, *leaf.stacked), changed in place
    :param observation: (1, *leaf.shape)
    """
    if leaf.stacked == leaf.shape:
        stack[:] = observation
        return
    width = leaf.shape[leaf.axis]
    frames = np.moveaxis(stack, leaf.axis if leaf.axis < 0 else leaf.axis + 1, -1)
    newest = np.moveaxis(observation, leaf.axis if leaf.axis < 0 else leaf.axis + 1, -1)
    frames[..., :-width] = frames[..., width:].copy()
    frames[..., -width:] = newest


def _transposed(stack: np.ndarray, leaf: LeafView) -> np.ndarray:
    """A copy with the channels in front where Stable-Baselines3 puts them, in the dtype of the agent's space."""
    seen = np.moveaxis(stack, -1, 1) if leaf.is_transposed else stack
    copied: np.ndarray = np.array(seen, dtype=leaf.final_dtype, order="C", copy=True)
    return copied
