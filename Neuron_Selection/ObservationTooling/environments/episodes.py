"""Episodes in lockstep: several environments, each with its own seed, observed as the network gets them."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import gymnasium
import numpy as np

from Neuron_Selection.errors import InputError, SuiteWarning, UsageError
from Neuron_Selection.FileFormats.observations import Observations
from Neuron_Selection.ObservationTooling.environments.environment import Environment
from Neuron_Selection.ObservationTooling.environments.observed_rows import ObservedRows, longer
from Neuron_Selection.ObservationTooling.environments.registered import environment_errors
from Neuron_Selection.ObservationTooling.environments.space_checks import checked_view
from Neuron_Selection.PatchingTooling.agent.algorithms import has_action_masks
from Neuron_Selection.PatchingTooling.opened_agent import OpenedAgent

MAX_STEPS = 1000
_NO_INFO: Mapping[str, Any] = MappingProxyType({})


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
    """n environments, one episode each, stepped together; an episode that has ended stays so until ``restart``.

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

    ``has_masks``: the agent was trained with action masks, and the environment has ``action_masks()``.
    ``running``: (n,), whether an episode continues. ``stopped``: (n,), whether it was truncated by ``max_steps`` alone.
    ``steps``: (n,), its steps so far. ``seeds``: (n,), its seed.
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
        first = environment.make(with_frames=with_frames)
        self._envs = [first]
        self._observed = ObservedRows(checked_view(first, environment, agent), agent.normalizer, n=n)
        self._n_actions = agent.architecture.n_actions
        needs_masks = has_action_masks(agent.agent_zip)
        self.has_masks = needs_masks and first.has_wrapper_attr("action_masks")
        if needs_masks and not self.has_masks:
            missing = "has no action_masks(), though the agent was trained with masks; every action is allowed"
            warnings.warn(SuiteWarning(f"{environment.where}: {missing}"), stacklevel=2)
        for _ in range(n - 1):
            self._envs.append(environment.make(with_frames=with_frames))
        if len({id(env) for env in self._envs}) < n:
            raise UsageError("the factory returned one environment twice, expected a new one", field=environment.where)
        self.seeds = np.zeros(n, np.int64)
        self.running = np.zeros(n, bool)
        self.stopped = np.zeros(n, bool)
        self.steps = np.zeros(n, np.int64)

    @property
    def envs(self) -> Sequence[gymnasium.Env[Any, Any]]:
        """The environments, in their wrappers, by row."""
        return self._envs

    def reset(self, seeds: Sequence[int]) -> Observations:
        """Start an episode of each seed, in the first rows.

        :param seeds: at most n; rows beyond them do not run
        :return: the first observations, (n, *shape), or one such array per key; rows that do not run are zeros
        """
        self.running[:], self.stopped[:], self.steps[:] = False, False, 0
        self._observed.clear(slice(None))
        for row, seed in enumerate(seeds):
            self.restart(row, seed)
        return self.observations_of(slice(None))

    def restart(self, row: int, seed: int) -> None:
        """Start an episode in one row, whatever its state; the other rows stay as they are."""
        self.running[row], self.stopped[row], self.steps[row], self.seeds[row] = True, False, 0, seed
        self._observed.clear(row)
        with environment_errors(lambda: self._place(row)):
            observation, _ = self._envs[row].reset(seed=int(seed))
        self._take(np.array([row]), [observation])

    def add_rows(self, count: int) -> None:
        """Make further environments, whose rows come after the others and do not run."""
        self._envs += [self.environment.make() for _ in range(count)]
        self._observed.add_rows(count)
        self.running, self.stopped = longer(self.running, count), longer(self.stopped, count)
        self.steps, self.seeds = longer(self.steps, count), longer(self.seeds, count)

    def step(self, actions: np.ndarray) -> Step:
        """Take one step in every episode that is running.

        :param actions: (n,), whole numbers; those of rows that do not run are ignored
        """
        n, rows = len(self.running), np.flatnonzero(self.running)
        rewards, infos = np.zeros(n), [_NO_INFO] * n
        terminated, truncated = np.zeros(n, bool), np.zeros(n, bool)
        rewards[rows], terminated[rows], truncated[rows], of_rows = self.step_rows(rows, actions[rows])
        for row, info in zip(rows.tolist(), of_rows, strict=True):
            infos[row] = info
        return Step(
            observations=self.observations_of(slice(None)),
            rewards=rewards,
            terminated=terminated,
            truncated=truncated,
            infos=tuple(infos),
        )

    def step_rows(
        self, rows: np.ndarray, actions: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray, list[Mapping[str, Any]]]:
        """Take one step in some rows, which are running; the others stay as they are.

        :param actions: (n_rows,), whole numbers
        :return: rewards, terminated, truncated, (n_rows,) each, and infos, as in ``Step``
        """
        rewards, infos = np.zeros(len(rows)), [_NO_INFO] * len(rows)
        terminated, truncated = np.zeros(len(rows), bool), np.zeros(len(rows), bool)
        made: list[Any] = []
        with environment_errors(lambda: self._place(int(rows[len(made)]))):
            for place, (row, action) in enumerate(zip(rows.tolist(), actions.tolist(), strict=True)):
                observation, rewards[place], terminated[place], truncated[place], infos[place] = self._envs[row].step(
                    action
                )
                made.append(observation)
        self.steps[rows] += 1
        self._take(rows, made)
        if not np.isfinite(rewards).all():
            raise self._wrong_reward(int(rows[np.flatnonzero(~np.isfinite(rewards))[0]]))
        is_stopped = ~(terminated | truncated) & (self.steps[rows] >= self.max_steps)
        truncated |= is_stopped
        self.stopped[rows] = is_stopped
        self.running[rows] = ~(terminated | truncated)
        return rewards, terminated, truncated, infos

    def advance(self, row: int, action: int) -> tuple[float, bool, bool, Mapping[str, Any]]:
        """Take one step in one row that is running.

        :return: its reward, whether it was terminated and truncated, and its info, as in ``Step``
        """
        rewards, terminated, truncated, (info,) = self.step_rows(np.array([row]), np.array([action]))
        return float(rewards[0]), bool(terminated[0]), bool(truncated[0]), info

    def observations_of(self, rows: Any) -> Observations:
        """What the network receives in some rows, (n_rows, *shape), or one such array per key.

        :param rows: a list or array of rows, or a slice
        """
        return self._observed.observations_of(rows)

    def action_masks(self, rows: np.ndarray) -> np.ndarray:
        """Which actions are allowed now in some rows, (n_rows, n_actions), as ``action_masks()`` returns them.

        :raises InputError: masks of another length, or one that allows no action
        """
        masks = np.zeros((len(rows), self._n_actions), bool)
        for place, row in enumerate(rows.tolist()):
            with environment_errors(lambda row=row: self._place(row)):  # type: ignore[misc]
                mask = np.asarray(self._envs[row].get_wrapper_attr("action_masks")())
            if mask.shape != masks.shape[1:] or not mask.any():
                found = f"shape {mask.shape}" if mask.shape != masks.shape[1:] else "no allowed action"
                expected = f"{self._n_actions} values, at least one of them true"
                raise InputError(self._place(row), "action_masks()", found=found, expected=expected)
            masks[place] = mask
        return masks

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

    def _take(self, rows: np.ndarray, observations: Sequence[Any]) -> None:
        self._observed.take(rows, observations, where=self._place)

    def _wrong_reward(self, row: int) -> InputError:
        return InputError(self._place(row), "reward", found="NaN or infinity", expected="a finite number")

    def _place(self, row: int) -> str:
        return f"{self.environment.where}, seed {self.seeds[row]}, step {self.steps[row]}"
