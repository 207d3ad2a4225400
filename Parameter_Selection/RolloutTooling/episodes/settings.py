"""How episodes are run, the same for the baseline and for every experiment."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from Neuron_Selection.errors import UsageError, shown
from Neuron_Selection.FileFormats.observations import Observations, count_of, rows_of
from Neuron_Selection.ObservationTooling.endings import Ending, ending_of
from Neuron_Selection.ObservationTooling.environments.acting import Acting, episode_generator
from Neuron_Selection.ObservationTooling.environments.environment import Environment
from Parameter_Selection.RolloutTooling.experiments.user_functions import UserFunction


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class EpisodeSettings:
    """How episodes are run.

    ``when``: a function of observation and step, the change is active where it is true. ``from_step``, ``to_step``:
    the first and the last step at which it is active, from 0. ``success``: a function of reward, terminated, truncated
    and info of the last step; or ``success_key``, a key of info; else the environment's own signals.
    """

    environment: Environment
    acting: Acting
    max_steps: int
    when: UserFunction | None = None
    from_step: int = 0
    to_step: int | None = None
    success: UserFunction | None = None
    success_key: str = ""

    @property
    def is_conditional(self) -> bool:
        """Whether a change may be inactive."""
        return self.when is not None or self.from_step > 0 or self.to_step is not None

    @property
    def decides_by_observation(self) -> bool:
        """Whether decisions and endings depend on nothing but the observation and the environment's own signals."""
        is_plain = self.success is None and not self.success_key
        return self.acting.kind == "greedy" and not self.is_conditional and is_plain

    def active(self, observations: Observations, steps: np.ndarray) -> np.ndarray:
        """Whether the change is active, (n,).

        :param observations: (n, *shape), as the network receives them
        :param steps: (n,)
        """
        within = steps >= self.from_step
        if self.to_step is not None:
            within = within & (steps <= self.to_step)
        if self.when is not None:
            for row in np.flatnonzero(within):
                within[row] = bool(self.when(_single(observations, int(row)), int(steps[row])))
        found: np.ndarray = within
        return found

    def drawn(self, seed: int) -> np.ndarray:
        """The random numbers of an episode's actions, (max_steps, 2); the same for every experiment."""
        if self.acting.kind == "greedy":  # none are used
            return np.broadcast_to(0.0, (self.max_steps, 2))
        return episode_generator(seed).random((self.max_steps, 2))

    def ending(
        self, meaning: str, *, reward: float, terminated: bool, truncated: bool, info: Mapping[str, Any]
    ) -> Ending:
        """Whether an episode succeeded.

        :param meaning: of termination in the environment
        """
        if self.success is not None:
            success = bool(self.success(reward, terminated, truncated, info))
        elif self.success_key:
            if self.success_key not in info:
                found = f"the keys {', '.join(map(str, info)) or 'of an empty dict'}"
                raise UsageError(f"--success info[{self.success_key}]: found {shown(found, quoted=False)} at the end")
            success = bool(info[self.success_key])
        else:
            return ending_of(meaning, reward=reward, terminated=terminated, truncated=truncated, info=info)
        return Ending(success=success, death=terminated and not success)

    @property
    def decisive(self) -> dict[str, Any]:
        """Everything that decides the episodes, for the metadata."""
        return {
            "environment": self.environment.described(),
            "policy": str(self.acting),
            "max_steps": self.max_steps,
            "when": None if self.when is None else self.when.described,
            "from_step": self.from_step,
            "to_step": self.to_step,
            "success": self.success_key if self.success is None else self.success.described,
        }


def _single(observations: Observations, row: int) -> Any:
    """One observation without its batch axis."""
    return rows_of(observations, row)


def joined(parts: list[Observations]) -> Observations:
    """Batches of observations one after the other."""
    dicts = [part for part in parts if isinstance(part, dict)]
    if dicts:
        return {key: np.concatenate([part[key] for part in dicts]) for key in dicts[0]}
    return np.concatenate([part for part in parts if not isinstance(part, dict)])


def fingerprints(observations: Observations) -> list[bytes]:
    """Eight bytes for each observation, different for different observations but for chance."""
    from hashlib import blake2b

    arrays = list(observations.values()) if isinstance(observations, dict) else [observations]
    contiguous = [np.ascontiguousarray(array) for array in arrays]
    return [
        blake2b(b"".join(array[row].tobytes() for array in contiguous), digest_size=8).digest()
        for row in range(count_of(observations))
    ]
