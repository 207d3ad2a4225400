"""The observation statistics in a ``vecnormalize.pkl`` of Stable-Baselines3, read as data; nothing is unpickled."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from Neuron_Selection.errors import InputError, UntrustedError, shown
from Neuron_Selection.FileFormats.agent_zip.pickled_arrays import array_from, is_array_data, scalar_from
from Neuron_Selection.FileFormats.agent_zip.pickled_data import Built, Name, read_pickle
from Neuron_Selection.FileFormats.agent_zip.spaces import BoxSpace, DictSpace, LeafSpace, Space, describe_space
from Neuron_Selection.FileFormats.storage.atomic_files import read_bytes, sha256_of
from Neuron_Selection.FileFormats.storage.zip_members import what_it_is

_VEC_NORMALIZE = Name("stable_baselines3.common.vec_env.vec_normalize", "VecNormalize")
_RUNNING_MEAN_STD = Name("stable_baselines3.common.running_mean_std", "RunningMeanStd")
_EXPECTED = "a VecNormalize saved by Stable-Baselines3"
_SIZE_LIMIT = 1 << 28  # bytes; statistics are as large as a few observations
_WHOLE = ""  # the key under which the statistics of a space that is not a Dict are kept


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class MeanAndVariance:
    """Running statistics of observations, both arrays of the observations' shape, without infinities and NaN."""

    mean: np.ndarray
    variance: np.ndarray


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class VecNormalizeStatistics:
    """How VecNormalize changes observations; the statistics are checked against the agent's observation space.

    ``statistics``: by key of a Dict space, for the keys that are normalised; of another space under ``""``; empty for
    a VecNormalize with ``norm_obs=False``, which leaves observations unchanged. ``sha256``: of the file's bytes.
    """

    path: Path
    sha256: str
    clip_obs: float
    epsilon: float
    statistics: Mapping[str, MeanAndVariance]

    @property
    def described(self) -> dict[str, Any]:
        """The settings; ``keys``: of a Dict space, those that are normalised, None of another space."""
        keys = None if _WHOLE in self.statistics else list(self.statistics)
        return {
            "sha256": self.sha256,
            "norm_obs": bool(self.statistics),
            "keys": keys,
            "epsilon": self.epsilon,
            "clip_obs": self.clip_obs,
        }

    def normalised(self, observations: np.ndarray | dict[str, np.ndarray]) -> np.ndarray | dict[str, np.ndarray]:
        """The observations as ``VecNormalize.normalize_obs`` of Stable-Baselines3 returns them, bit for bit.

        Images are no exception: uint8 pixels become float32 values.

        :param observations: raw observations, (n, *shape), or one such array per key
        :return: float32 where they are normalised, else unchanged
        """
        if isinstance(observations, dict):
            parts = self.statistics
            return {key: self._part(one, parts[key]) if key in parts else one for key, one in observations.items()}
        return self._part(observations, self.statistics[_WHOLE]) if self.statistics else observations

    def raw_space(self, space: Space) -> Space:
        """The space of raw observations, for checks of their bounds.

        For images, Stable-Baselines3 replaces the bounds of the space by plus and minus ``clip_obs`` and the dtype by
        float32; an agent's zip stores only the replaced space. The bounds of the raw pixels are then unknown.
        """
        if isinstance(space, DictSpace):
            parts = space.spaces.items()
            return DictSpace(
                spaces={key: self._raw_part(part) if key in self.statistics else part for key, part in parts}
            )
        return self._raw_part(space) if self.statistics else space

    def _part(self, observations: np.ndarray, known: MeanAndVariance) -> np.ndarray:
        with np.errstate(over="ignore"):  # infinities are clipped
            scaled = (observations - known.mean) / np.sqrt(known.variance + self.epsilon)
            single: np.ndarray = np.clip(scaled, -self.clip_obs, self.clip_obs).astype(np.float32)
        return single

    def _raw_part(self, space: LeafSpace) -> LeafSpace:
        if not isinstance(space, BoxSpace) or len(space.shape) != 3 or space.dtype != np.float32:
            return space
        clip = np.float32(self.clip_obs)
        if np.any(space.low != -clip) or np.any(space.high != clip):
            return space
        unbounded = np.full(space.shape, np.inf, np.float32)
        return replace(space, low=-unbounded, high=unbounded)


def read_vec_normalize(path: Path, space: Space) -> VecNormalizeStatistics:
    """Read the statistics of observations; those of rewards and all other fields are ignored.

    :param path: a file written by ``VecNormalize.save``
    :param space: the agent's observation space
    :raises InputError: damaged, or of another observation space
    :raises UntrustedError: a call of something other than the classes of Stable-Baselines3 and numpy
    """
    data = read_bytes(path, limit=_SIZE_LIMIT, hint="--vecnormalize names a file saved by VecNormalize.save")
    state = _state_of(_record_in(data, path), _VEC_NORMALIZE, path, "", _EXPECTED)
    norm_obs = state.get("norm_obs")
    if not isinstance(norm_obs, bool):
        raise _wrong(path, "norm_obs", norm_obs, "a boolean")
    clip_obs = _number(state.get("clip_obs"), path, "clip_obs")
    epsilon = _number(state.get("epsilon"), path, "epsilon")
    if not clip_obs > 0:
        raise InputError(path, "clip_obs", found=shown(clip_obs), expected="a number above 0")
    if not 0 <= epsilon < math.inf:
        raise InputError(path, "epsilon", found=shown(epsilon), expected="a finite number, at least 0")
    return VecNormalizeStatistics(
        path=path,
        sha256=sha256_of(data),
        clip_obs=clip_obs,
        epsilon=epsilon,
        statistics=_statistics_in(state, space, path, epsilon) if norm_obs else {},
    )


def _record_in(data: bytes, path: Path) -> object:
    try:
        return read_pickle(data, where=path, what="")
    except InputError as error:
        found = "a zip" if data.startswith(b"PK") else what_it_is(data)
        if found in ("a bare pickle", "something other than a zip"):
            raise
        raise InputError(path, found=found, expected=_EXPECTED) from error


def _statistics_in(state: dict[str, Any], space: Space, path: Path, epsilon: float) -> dict[str, MeanAndVariance]:
    stored = state.get("obs_rms")
    if not isinstance(space, DictSpace):
        if isinstance(stored, dict):
            expected = f"those of one ({describe_space(space)})"
            raise InputError(path, "obs_rms", found="statistics of a Dict space", expected=expected)
        return {_WHOLE: _mean_and_variance(stored, space, path, "obs_rms", epsilon)}
    if not isinstance(stored, dict):
        _refuse_calls(stored, {_RUNNING_MEAN_STD}, path, "obs_rms", "statistics by key")
        raise InputError(
            path, "obs_rms", found="statistics of one space", expected=f"one per key ({describe_space(space)})"
        )
    keys = state.get("norm_obs_keys", list(space.spaces))  # files of old versions lack it: all keys are normalised
    if not isinstance(keys, list | tuple) or not all(isinstance(key, str) for key in keys):
        raise _wrong(path, "norm_obs_keys", keys, "a list of keys")
    statistics = {}
    for key in keys:
        if key not in space.spaces:
            problem = f"{shown(key)} is not a key of this space; keys: {', '.join(space.spaces)}"
            raise InputError(path, "norm_obs_keys", problem)
        field = f"obs_rms.{shown(key, quoted=False)}"
        if key not in stored:
            raise InputError(path, field, "is missing")
        statistics[key] = _mean_and_variance(stored[key], space.spaces[key], path, field, epsilon)
    return statistics


def _mean_and_variance(record: object, space: LeafSpace, path: Path, field: str, epsilon: float) -> MeanAndVariance:
    state = _state_of(record, _RUNNING_MEAN_STD, path, field, "a RunningMeanStd")
    if not isinstance(space, BoxSpace):
        found = f"statistics for a space that VecNormalize does not support ({describe_space(space)})"
        raise InputError(path, field, found=found, expected="a Box")
    mean, variance = (_array(state.get(name), space, path, f"{field}.{name}") for name in ("mean", "var"))
    if not np.all(variance >= 0) or not np.all(variance + epsilon > 0):
        expected = "at least 0" if epsilon else "above 0, as epsilon is 0"
        raise InputError(path, f"{field}.var", found=shown(float(variance.min())), expected=expected)
    return MeanAndVariance(mean=mean, variance=variance)


def _array(record: object, space: BoxSpace, path: Path, field: str) -> np.ndarray:
    try:
        array = array_from(record)
    except (ValueError, TypeError, OverflowError) as error:
        if isinstance(record, Built) and not is_array_data(record):
            raise _untrusted(record, path, field, "an array of numbers") from error
        raise InputError(path, field, found=f"no array ({error})", expected="an array of numbers") from error
    if space.is_image and array.shape == (*space.shape[1:], space.shape[0]) != space.shape:
        array = array.transpose(2, 0, 1)  # before SB3 1.7, images were transposed after they were normalised
    if array.shape != space.shape:
        expected = f"{space.shape}, as in the agent's observation space"
        raise InputError(path, field, found=f"shape {array.shape}", expected=expected)
    if array.dtype.kind == "b" or not np.all(np.isfinite(array)):
        raise InputError(path, field, found="booleans, NaN or infinity", expected="finite numbers")
    return array


def _number(record: object, path: Path, field: str) -> float:
    try:
        value = scalar_from(record) if isinstance(record, Built) else record
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise _wrong(path, field, record, "a number")
        number = float(value)
    except (ValueError, TypeError, OverflowError) as error:
        if isinstance(record, Built) and not is_array_data(record):
            raise _untrusted(record, path, field, "a number") from error
        raise _wrong(path, field, record, "a number") from error
    return number


def _state_of(record: object, name: Name, path: Path, field: str, expected: str) -> dict[str, Any]:
    """The attributes of an instance of the class ``name``."""
    _refuse_calls(record, {name}, path, field, expected)
    state = record.state if isinstance(record, Built) and record.args == () else None
    if not isinstance(state, dict) or not all(isinstance(key, str) for key in state):
        raise InputError(path, field, found="no attributes of one", expected=expected)
    return state


def _refuse_calls(record: object, allowed: set[Name], path: Path, field: str, expected: str) -> None:
    """Raise unless the record is a call of an allowed class."""
    if not isinstance(record, Built):
        raise _wrong(path, field, record, expected)
    if not isinstance(record.callable, Name) or record.callable not in allowed:
        raise _untrusted(record, path, field, expected)


def _untrusted(record: Built, path: Path, field: str, expected: str) -> UntrustedError:
    called = record.callable
    found = f"a call of {shown(str(called))}" if isinstance(called, Name) else "a call of the result of a call"
    return UntrustedError(path, field, found=found, expected=expected)


def _wrong(path: Path, field: str, record: object, expected: str) -> InputError:
    return InputError(
        path, field, found="another value" if isinstance(record, Built) else shown(record), expected=expected
    )
