"""Sweep files: what is written is read, block by block; what is no sweep is refused with the reason."""

from __future__ import annotations

import json
import re
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from Neuron_Selection.errors import InputError
from Neuron_Selection.FileFormats.results import sweep as sweep_module
from Neuron_Selection.FileFormats.results.sweep import opened_sweep, stored_sweep, written_sweep
from tests.raised import Parts, parts, raises

METADATA: dict[str, Any] = {
    "format": 1,
    "run": {"weights_sha256": "ab" * 32},
    "ids": ["env-1-6,4,0-0763", "b_c", "d"],
    "clusters": {"b_c": "1"},
    "patches": [{"q_net.0": [0]}, {"q_net.2": "all"}, {"q_net.0": [2]}, {"q_net.0": [1], "q_net.2": [0, 3]}],
    "directions": {"denoising": {"source": "clean_inputs.json", "target": "corrupted_inputs.json"}},
    "n_actions": 2,
}
RANDOM = np.random.default_rng(0)
ARRAYS: dict[str, np.ndarray] = {
    "clean_q_values": RANDOM.normal(size=(3, 2)),
    "corrupted_q_values": RANDOM.normal(size=(3, 2)),
    "denoising_q_net.0": RANDOM.normal(size=(3, 2, 2)),
    "denoising_q_net.0_flags": np.array([2, 0], np.uint8),
    "denoising_q_net.2": RANDOM.normal(size=(3, 1, 2)),
    "denoising_q_net.2_flags": np.array([1], np.uint8),
    "denoising_q_net.0+q_net.2": RANDOM.normal(size=(3, 1, 2)),
    "denoising_q_net.0+q_net.2_flags": np.array([0], np.uint8),
}


def written(path: Path, arrays: dict[str, np.ndarray] | None = None, **changed: Any) -> Path:
    metadata = {key: value for key, value in {**METADATA, **changed}.items() if value is not ...}
    with written_sweep(path) as writer:
        for name, array in (ARRAYS if arrays is None else arrays).items():
            writer.add(name, array)
        writer.add_metadata(metadata)
    return path


def read_whole(path: Path) -> None:
    with opened_sweep(path) as sweep:
        sweep.q_values("clean")
        sweep.q_values("corrupted")
        sweep.flags("denoising")
        for group in sweep.header.groups:
            for _ in sweep.blocks("denoising", group):
                pass


@pytest.mark.parametrize("block_bytes", [1, 40, 1 << 20])
def test_what_is_written_is_read_whatever_the_size_of_the_blocks(
    block_bytes: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sweep_module, "BLOCK_BYTES", block_bytes)
    with opened_sweep(written(tmp_path / "s.npz")) as sweep:
        header = sweep.header
        assert header.ids == tuple(METADATA["ids"])
        assert header.clusters == {"b_c": "1"}
        assert header.weights_sha256 == "ab" * 32
        assert [(group.name, group.numbers) for group in header.groups] == [
            ("q_net.0", (1, 3)), ("q_net.2", (2,)), ("q_net.0+q_net.2", (4,)),
        ]  # fmt: skip
        assert sweep.flags("denoising") == ["dead", "constant", "", ""]
        for run in ("clean", "corrupted"):
            assert np.array_equal(sweep.q_values(run), ARRAYS[f"{run}_q_values"])
        for group in header.groups:
            blocks = [(rows, np.array(block)) for rows, block in sweep.blocks("denoising", group)]
            assert np.array_equal(np.concatenate([block for _, block in blocks]), ARRAYS[f"denoising_{group.name}"])
            assert [rows.start for rows, _ in blocks] == list(range(0, 3, len(blocks[0][1])))


def test_numpy_reads_a_sweep_by_itself(tmp_path: Path) -> None:
    with np.load(written(tmp_path / "s.npz")) as stored:
        assert np.array_equal(stored["denoising_q_net.0"], ARRAYS["denoising_q_net.0"])
        assert json.loads(stored["__metadata__"].tobytes())["ids"] == METADATA["ids"]


def test_the_same_sweep_is_the_same_bytes_and_one_that_fails_leaves_the_old_one(tmp_path: Path) -> None:
    path = written(tmp_path / "s.npz")
    before = path.read_bytes()
    assert written(tmp_path / "t.npz").read_bytes() == before
    with pytest.raises(KeyboardInterrupt), written_sweep(path) as writer:
        writer.add("clean_q_values", ARRAYS["clean_q_values"])
        raise KeyboardInterrupt
    assert path.read_bytes() == before
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["s.npz", "t.npz"]


def test_finite_values_whose_squares_overflow_are_refused_before_anything_is_computed(tmp_path: Path) -> None:
    huge = {**ARRAYS, "denoising_q_net.2": np.full((3, 1, 2), 1e300)}
    with raises(
        InputError,
        file="s.npz",
        field="'denoising_q_net.2'",
        found="a number beyond float32",
        expected="numbers in the range of float32",
    ):
        read_whole(written(tmp_path / "s.npz", huge))


def test_the_metadata_of_a_whole_sweep_are_found_and_of_nothing_else(tmp_path: Path) -> None:
    path = written(tmp_path / "s.npz")
    assert stored_sweep(path).complete == METADATA
    assert stored_sweep(tmp_path / "none.npz").complete is None
    incomplete = {name: array for name, array in ARRAYS.items() if name != "denoising_q_net.2"}
    assert stored_sweep(written(tmp_path / "t.npz", incomplete)).complete is None
    path.write_bytes(path.read_bytes()[:-30])
    assert stored_sweep(path).complete is None


@pytest.mark.parametrize(
    ("field", "value", "error"),
    [
        (
            "format",
            99,
            parts(
                field="metadata.format",
                found="99",
                expected="a whole number, at most 1",
                hint="written by a newer suite",
            ),
        ),
        ("run", [], parts(field="metadata.run", found="a list", expected="an object")),
        ("ids", {}, parts(field="metadata.ids", found="an object", expected="a list")),
        ("ids", [], parts(field="metadata.ids", found="a list of length 0", expected="a list of length at least 1")),
        ("ids", ["a", "a", "b"], parts(field="metadata.ids", problem="an id is listed twice")),
        ("ids", ["a", 1, "b"], parts(field="input id", found="1", expected="text")),
        ("clusters", {"b_c": 1}, parts(field="metadata.clusters[...]", found="a whole number", expected="text")),
        ("patches", "q_net.0", parts(field="metadata.patches", found="'q_net.0'", expected="a list")),
        (
            "patches",
            [{"q_net.0": [0]}, {"q_net.0": [True]}],
            parts(field="metadata.patches: entry 2: 'q_net.0'", found="true", expected="a neuron index from 0"),
        ),
        (
            "patches",
            [5],
            parts(field="metadata.patches: entry 1", found="5", expected="an object {layer: [indices] | 'all'}"),
        ),
        ("directions", {"sideways": {}}, parts(field="metadata.directions[...].source", problem="is missing")),
        (
            "directions",
            {"denoising": {"source": "x"}},
            parts(field="metadata.directions[...].target", problem="is missing"),
        ),
        ("n_actions", True, parts(field="metadata.n_actions", found="true", expected="a whole number")),
        (
            "n_actions",
            3,
            parts(field="'clean_q_values'", found="float64 of shape (3, 2)", expected="float64 of shape (3, 3)"),
        ),
        ("n_actions", ..., parts(field="metadata.n_actions", problem="is missing")),
    ],
)
def test_a_field_of_the_wrong_type_is_named(field: str, value: Any, error: Parts, tmp_path: Path) -> None:
    with raises(InputError, file="s.npz", **error):
        read_whole(written(tmp_path / "s.npz", **{field: value}))


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[data.index(ARRAYS["denoising_q_net.0"].tobytes()) + 5] ^= 4
    path.write_bytes(data)


def pack(path: Path) -> None:
    with np.load(path) as stored:
        arrays = {name: stored[name] for name in stored.files}
    with path.open("wb") as file:
        np.savez_compressed(file, **arrays)  # type: ignore[arg-type]


def replaced(name: str, array: np.ndarray | None) -> Callable[[Path], None]:
    def spoil(path: Path) -> None:
        arrays = {**ARRAYS, name: array}
        written(path, {key: value for key, value in arrays.items() if value is not None})

    return spoil


def cut(share: float) -> Callable[[Path], object]:
    return lambda path: path.write_bytes(path.read_bytes()[: int(path.stat().st_size * share)])


def with_nan() -> np.ndarray:
    array = ARRAYS["denoising_q_net.2"].copy()
    array[1, 0, 1] = np.nan
    return array


def with_one_row(difference: int) -> Callable[[Path], None]:
    """An array with three rows in its header and a row more or less in its data."""

    def spoil(path: Path) -> None:
        array = ARRAYS["denoising_q_net.2"]
        with written_sweep(path) as writer:
            for name, other in ARRAYS.items():
                rows = np.resize(array, (3 + difference, 1, 2)) if other is array else other
                writer.add_blocks(name, other.shape, other.dtype, [rows])
            writer.add_metadata(METADATA)

    return spoil


FAULTS: dict[str, tuple[Callable[[Path], object], Parts]] = {
    "a row too many": (with_one_row(1), parts(field="'denoising_q_net.2'", problem="has more bytes than the array")),
    "a row too few": (
        with_one_row(-1),
        parts(
            field="'denoising_q_net.2.npy'",
            problem=re.compile("the member is damaged .*"),
            hint="run_experiments.py makes it",
        ),
    ),
    "missing": (lambda path: path.unlink(), parts(problem="no such file", hint="run_experiments.py makes it")),
    "a directory": (lambda path: (path.unlink(), path.mkdir()), parts(found="a directory", expected="a file")),
    "empty": (
        lambda path: path.write_bytes(b""),
        parts(found="an empty file", expected="a sweep", hint="run_experiments.py makes it"),
    ),
    "JSON": (
        lambda path: path.write_text("{}"),
        parts(found="JSON", expected="a sweep", hint="run_experiments.py makes it"),
    ),
    "cut at 10 %": (
        cut(0.1),
        parts(found="a truncated or damaged zip", expected="a sweep", hint="run_experiments.py makes it"),
    ),
    "cut at 50 %": (
        cut(0.5),
        parts(found="a truncated or damaged zip", expected="a sweep", hint="run_experiments.py makes it"),
    ),
    "cut at 99 %": (
        cut(0.99),
        parts(found="a truncated or damaged zip", expected="a sweep", hint="run_experiments.py makes it"),
    ),
    "a bit flipped": (
        flip,
        parts(
            field="'denoising_q_net.0.npy'",
            problem=re.compile("the member is damaged .*CRC-32.*"),
            hint="run_experiments.py makes it",
        ),
    ),
    "packed": (pack, parts(field="'clean_q_values.npy'", found="a compressed member", expected="an uncompressed one")),
    "no metadata": (
        lambda path: np.savez(path, a=np.zeros(2)),
        parts(field="'__metadata__.npy'", problem="no such member", hint="run_experiments.py makes it"),
    ),
    "NaN": (
        replaced("denoising_q_net.2", with_nan()),
        parts(field="'denoising_q_net.2'", found="NaN or infinity", expected="finite numbers"),
    ),
    "array missing": (
        replaced("denoising_q_net.2", None),
        parts(field="'denoising_q_net.2.npy'", problem="no such member", hint="run_experiments.py makes it"),
    ),
    "float32": (
        replaced("clean_q_values", ARRAYS["clean_q_values"].astype(np.float32)),
        parts(field="'clean_q_values'", found="float32 of shape (3, 2)", expected="float64 of shape (3, 2)"),
    ),
    "flags": (
        replaced("denoising_q_net.2_flags", np.array([3], np.uint8)),
        parts(field="'denoising_q_net.2_flags'", found="3", expected="0, 1 or 2"),
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_what_is_no_sweep_is_refused_with_the_reason(fault: str, tmp_path: Path) -> None:
    spoil, error = FAULTS[fault]
    path = written(tmp_path / "s.npz")
    spoil(path)
    with raises(InputError, file=path, **error):
        read_whole(path)


def test_arrays_beyond_the_limit_of_plain_zips_are_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The header of a member is written before the zip knows its size; here the limit is 100 bytes, not 4 GiB."""
    monkeypatch.setattr(zipfile, "ZIP64_LIMIT", 100)
    read_whole(written(tmp_path / "s.npz"))
    with np.load(tmp_path / "s.npz") as stored:
        assert np.array_equal(stored["denoising_q_net.0"], ARRAYS["denoising_q_net.0"])
