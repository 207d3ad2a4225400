"""vecnormalize.pkl: bit equality with Stable-Baselines3, and what is refused."""

from __future__ import annotations

import os
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from gymnasium import spaces
from stable_baselines3.common.vec_env import VecNormalize

from Neuron_Selection.errors import InputError, UntrustedError
from Neuron_Selection.FileFormats.agent_zip.pickled_data import read_pickle
from Neuron_Selection.FileFormats.agent_zip.spaces import BoxSpace, DictSpace, Space, space_from
from Neuron_Selection.FileFormats.agent_zip.vec_normalize import VecNormalizeStatistics, read_vec_normalize
from Neuron_Selection.FileFormats.storage.atomic_files import sha256_of
from tests.FileFormats.crafted import Call, dumps, numpy_1_array
from tests.made_agents import vector_space
from tests.made_normalizers import new_normalizer, saved
from tests.raised import Parts, parts, raises

VECTOR = vector_space(4)
IMAGE = spaces.Box(0, 255, (3, 5, 6), np.uint8)
PARTS = spaces.Dict(
    {
        "grid": spaces.Box(-1, 1, (2, 3), np.float32),
        "image": IMAGE,
        "state": spaces.Discrete(5),
        "vector": spaces.Box(-np.inf, np.inf, (4,), np.float64),
    }
)
BOXES: dict[str, spaces.Box] = {
    "float32": VECTOR,
    "float64": spaces.Box(-1e300, 1e300, (4,), np.float64),
    "one number": spaces.Box(-1, 1, (), np.float32),
    "integers": spaces.Box(-9, 9, (4, 2), np.int16),
    "image": IMAGE,
}


def record(space: spaces.Space) -> Space:
    """The space as the suite reads it from a zip."""
    return space_from(read_pickle(pickle.dumps(space), where="", what=""), where="", field="")


def read(path: Path, space: spaces.Space = VECTOR) -> VecNormalizeStatistics:
    return read_vec_normalize(path, record(space))


def batch_of(space: spaces.Space, count: int = 7) -> Any:
    space.seed(1)
    rows = [space.sample() for _ in range(count)]
    if isinstance(space, spaces.Dict):
        return {key: np.stack([row[key] for row in rows]) for key in space.spaces}
    return np.stack(rows)


def same_bits(found: Any, expected: Any) -> bool:
    if isinstance(expected, dict):
        return list(found) == list(expected) and all(same_bits(found[key], expected[key]) for key in expected)
    return found.dtype == expected.dtype and found.shape == expected.shape and found.tobytes() == expected.tobytes()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "vecnormalize.pkl"


@pytest.mark.parametrize("settings", [{}, {"clip_obs": 0.5, "epsilon": 0.25}, {"clip_obs": 3}, {"clip_obs": np.inf}])
@pytest.mark.parametrize("name", BOXES)
def test_observations_are_normalised_as_by_stable_baselines3(path: Path, name: str, settings: dict[str, Any]) -> None:
    space = BOXES[name]
    normalizer = new_normalizer(space, **settings)
    batch = batch_of(space)
    before = batch.copy()
    with np.errstate(over="ignore"):  # the largest float64 values are infinite in float32
        expected = normalizer.normalize_obs(batch)
    known = read(saved(normalizer, path), space)
    assert same_bits(known.normalised(batch), expected)
    assert same_bits(batch, before)
    assert known.sha256 == sha256_of(path.read_bytes())
    assert same_bits(np.concatenate([known.normalised(batch[:1]), known.normalised(batch[1:])]), expected)


@pytest.mark.parametrize("keys", [["vector"], ["image", "grid"], []])
def test_of_a_dict_only_the_chosen_keys_are_normalised(path: Path, keys: list[str]) -> None:
    space = spaces.Dict(dict(PARTS.spaces))  # VecNormalize writes into it
    normalizer = new_normalizer(space, norm_obs_keys=keys)
    batch = batch_of(PARTS)
    known = read(saved(normalizer, path), PARTS)
    assert same_bits(known.normalised(batch), normalizer.normalize_obs(batch))
    assert set(known.statistics) == set(keys)
    for key in set(batch) - set(keys):
        assert known.normalised(batch)[key] is batch[key]


def test_files_without_norm_obs_keys_normalise_every_key(path: Path) -> None:
    space = spaces.Dict({key: PARTS.spaces[key] for key in ("grid", "vector")})
    normalizer = new_normalizer(space)
    batch = batch_of(space)
    expected = normalizer.normalize_obs(batch)
    del normalizer.norm_obs_keys
    assert same_bits(read(saved(normalizer, path), space).normalised(batch), expected)


@pytest.mark.parametrize("space", [VECTOR, PARTS, spaces.Discrete(4)])
def test_without_norm_obs_nothing_changes(path: Path, space: spaces.Space) -> None:
    known = read(saved(new_normalizer(space, norm_obs=False), path), space)
    batch = batch_of(space)
    assert known.normalised(batch) is batch or same_bits(known.normalised(batch), batch)
    assert known.statistics == {}


def test_statistics_of_numpy_1_are_read(path: Path) -> None:
    normalizer = new_normalizer(VECTOR)
    expected = normalizer.normalize_obs(batch_of(VECTOR))
    normalizer.obs_rms.mean = numpy_1_array(normalizer.obs_rms.mean)
    path.write_bytes(dumps(normalizer))
    assert b"numpy.core.multiarray" in path.read_bytes()
    assert same_bits(read(path).normalised(batch_of(VECTOR)), expected)


def test_a_published_file_is_read(published_agents: Path) -> None:
    path = published_agents / "a2c-Acrobot-v1" / "vecnormalize.pkl"
    space = spaces.Box(-30, 30, (6,), np.float32)
    known = read(path, space)
    with raises(
        InputError,
        file="vecnormalize.pkl",
        field="obs_rms.mean",
        found="shape (6,)",
        expected="(4,), as in the agent's observation space",
    ):
        read(path)
    normalizer = new_normalizer(space)
    normalizer.obs_rms.mean, normalizer.obs_rms.var = known.statistics[""].mean, known.statistics[""].variance
    assert (known.clip_obs, known.epsilon) == (10.0, 1e-8)
    assert np.all(known.statistics[""].variance > 0.1)
    assert same_bits(known.normalised(batch_of(space)), normalizer.normalize_obs(batch_of(space)))


# ---------------------------------------------------------------- images


def test_the_bounds_that_stable_baselines3_gives_to_normalised_images_do_not_concern_raw_ones(path: Path) -> None:
    normalizer = new_normalizer(IMAGE, clip_obs=5)
    stored = normalizer.observation_space
    assert stored.dtype == np.float32
    known = read(saved(normalizer, path), stored)
    raw = known.raw_space(record(stored))
    assert isinstance(raw, BoxSpace)
    assert np.all(np.isinf(raw.low)) and np.all(np.isinf(raw.high))  # noqa: PT018
    batch = batch_of(IMAGE)
    assert same_bits(known.normalised(batch.astype(np.float32)), normalizer.normalize_obs(batch))


def test_other_bounds_are_those_of_raw_observations(path: Path) -> None:
    known = read(saved(new_normalizer(VECTOR), path))
    assert known.raw_space(of_vector := record(VECTOR)) is of_vector
    two = spaces.Dict({"image": spaces.Box(-10, 10, (3, 5, 6), np.float32), "vector": VECTOR})
    known = read(saved(new_normalizer(two, norm_obs_keys=["vector"]), path), two)
    raw = known.raw_space(record(two))
    assert isinstance(raw, DictSpace)
    assert all(np.all(part.high == 10) for part in raw.spaces.values() if isinstance(part, BoxSpace))


def test_statistics_of_images_with_channels_last_are_transposed(path: Path) -> None:
    last = spaces.Box(0, 255, (5, 6, 3), np.uint8)
    normalizer = new_normalizer(last)
    batch = batch_of(last)
    expected = normalizer.normalize_obs(batch).transpose(0, 3, 1, 2)
    known = read(saved(normalizer, path), IMAGE)
    assert np.array_equal(known.normalised(batch.transpose(0, 3, 1, 2)), expected)


# ---------------------------------------------------------------- what is refused


def refused(path: Path, space: spaces.Space = VECTOR, kind: type[InputError] = InputError, **error: Any) -> None:
    with raises(kind, file=path, **error):
        read(path, space)


def test_a_payload_runs_nothing(path: Path) -> None:
    marker = path.with_name("marker")
    payload = Call(os.system, f"touch {marker}")

    def not_trusted(value: Any, **error: Any) -> None:
        path.write_bytes(pickle.dumps(value))
        refused(path, kind=UntrustedError, found=f"a call of '{os.system.__module__}.system'", **error)

    not_trusted(payload, expected="a VecNormalize saved by Stable-Baselines3")
    for field in ("obs_rms", "clip_obs", "epsilon"):
        normalizer = new_normalizer(VECTOR)
        setattr(normalizer, field, payload)
        not_trusted(normalizer, field=field, expected=...)
    for field in ("mean", "var"):
        normalizer = new_normalizer(VECTOR)
        setattr(normalizer.obs_rms, field, payload)
        not_trusted(normalizer, field=f"obs_rms.{field}", expected="an array of numbers")
    normalizer = new_normalizer(VECTOR)
    normalizer.old_reward = payload
    saved(normalizer, path)
    read(path)  # other fields are ignored
    assert not marker.exists()
    pickle.loads(pickle.dumps(payload))
    assert marker.exists()


@pytest.mark.parametrize(
    ("field", "value", "error"),
    [
        ("norm_obs", 1, parts(found="1", expected="a boolean")),
        ("clip_obs", 0, parts(found="0.0", expected="a number above 0")),
        ("clip_obs", float("nan"), parts(found="NaN", expected="a number above 0")),
        ("clip_obs", "5", parts(found="'5'", expected="a number")),
        ("clip_obs", True, parts(found="true", expected="a number")),
        ("clip_obs", 10**400, parts(found="an integer of 1329 bits", expected="a number")),
        ("epsilon", -1e-8, parts(found="-1e-08", expected="a finite number, at least 0")),
        ("epsilon", None, parts(found="null", expected="a number")),
        ("obs_rms", None, parts(found="null", expected="a RunningMeanStd")),
        (
            "obs_rms",
            {},
            parts(found="statistics of a Dict space", expected="those of one (Box (4,) float32)"),
        ),
        (
            "obs_rms.mean",
            1.5,
            parts(found="no array (not an array)", expected="an array of numbers"),
        ),
        (
            "obs_rms.mean",
            np.zeros(3),
            parts(found="shape (3,)", expected="(4,), as in the agent's observation space"),
        ),
        (
            "obs_rms.mean",
            np.array([0, 1, np.nan, 3]),
            parts(found="booleans, NaN or infinity", expected="finite numbers"),
        ),
        (
            "obs_rms.mean",
            np.zeros(4, bool),
            parts(found="booleans, NaN or infinity", expected="finite numbers"),
        ),
        (
            "obs_rms.mean",
            np.array(["a"] * 4),
            parts(
                found="no array (a dtype other than of booleans, integers or floats)",
                expected="an array of numbers",
            ),
        ),
        ("obs_rms.var", np.array([1, 2, 3, -1.0]), parts(found="-1.0", expected="at least 0")),
    ],
)
def test_a_wrong_field_is_named(path: Path, field: str, value: Any, error: Parts) -> None:
    normalizer = new_normalizer(VECTOR)
    first, _, name = field.partition(".")
    setattr(getattr(normalizer, first) if name else normalizer, name or first, value)
    refused(saved(normalizer, path), field=field, **error)


def test_a_variance_of_0_without_epsilon_is_refused(path: Path) -> None:
    normalizer = new_normalizer(VECTOR)
    normalizer.obs_rms.var[2] = 0
    read(saved(normalizer, path))
    normalizer.epsilon = 0
    refused(saved(normalizer, path), field="obs_rms.var", found="0.0", expected="above 0, as epsilon is 0")


def test_statistics_of_another_kind_of_space_are_refused(path: Path) -> None:
    of_one = saved(new_normalizer(VECTOR), path)
    grid = spaces.Dict({"grid": PARTS.spaces["grid"]})
    expected = "one per key (Dict {grid: Box (2, 3) float32})"
    refused(of_one, grid, field="obs_rms", found="statistics of one space", expected=expected)
    found = "statistics for a space that VecNormalize does not support (Discrete 3)"
    refused(of_one, spaces.Discrete(3), field="obs_rms", found=found, expected="a Box")
    normalizer = new_normalizer(grid)
    refused(saved(normalizer, path), field="obs_rms", found="statistics of a Dict space", expected=...)
    other = spaces.Dict({"other": VECTOR})
    refused(path, other, field="norm_obs_keys", names=["'grid'", "other"])
    normalizer.norm_obs_keys = "grid"
    refused(saved(normalizer, path), grid, field="norm_obs_keys", found="'grid'", expected="a list of keys")
    normalizer.norm_obs_keys, normalizer.obs_rms = ["grid"], {}
    refused(saved(normalizer, path), grid, field="obs_rms.grid", problem="is missing")


@pytest.mark.parametrize(
    ("data", "error"),
    [
        (b"", parts(found="an empty file", expected="a VecNormalize saved by Stable-Baselines3")),
        (
            b"version https://git-lfs.github.com/spec/v1\noid sha256:0123\nsize 4678\n",
            parts(found="a git-lfs pointer instead of the file", expected="a VecNormalize saved by Stable-Baselines3"),
        ),
        (b"<!DOCTYPE html>", parts(found="a web page", expected="a VecNormalize saved by Stable-Baselines3")),
        (b"PK\x03\x04", parts(found="a zip", expected="a VecNormalize saved by Stable-Baselines3")),
        (b'{"mean": 0}', parts(found="JSON", expected="a VecNormalize saved by Stable-Baselines3")),
        (b"\x00\x01", parts(found="a damaged pickle", expected="a pickle of plain data")),
        (pickle.dumps([1]), parts(found="a list", expected="a VecNormalize saved by Stable-Baselines3")),
        (pickle.dumps(VecNormalize), parts(found="Name", expected="a VecNormalize saved by Stable-Baselines3")),
        (
            b"\x80\x02cstable_baselines3.common.vec_env.vec_normalize\nVecNormalize\n)\x81.",
            parts(found="no attributes of one", expected="a VecNormalize saved by Stable-Baselines3"),
        ),
    ],
)
def test_a_file_that_is_something_else_is_named(path: Path, data: bytes, error: Parts) -> None:
    path.write_bytes(data)
    refused(path, **error)


def test_a_file_cut_short_anywhere_is_refused(path: Path) -> None:
    data = saved(new_normalizer(VECTOR), path).read_bytes()
    for length in range(0, len(data), 7):
        path.write_bytes(data[:length])
        refused(path, found=..., expected=...)


def test_a_missing_file_is_named(path: Path) -> None:
    refused(path, problem="no such file")
