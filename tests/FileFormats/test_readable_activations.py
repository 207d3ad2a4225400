from __future__ import annotations

import json
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from Neuron_Selection.errors import InputError
from Neuron_Selection.FileFormats.activations import save_activations
from Neuron_Selection.FileFormats.readable_activations import load_readable, open_activations
from tests.conftest import ROOT
from tests.raised import Parts, parts, raises

LAYERS = {"q_net.0": "q_net.0", "q_net.q_net.0": "q_net.0", "q_net.2": "q_net.2"}
VALUES = {"q_net.0": np.array([[1, -2.5], [3, 1e-30]], np.float32), "q_net.2": np.array([[0.1], [7]], np.float32)}
METADATA = {"format": 1, "run": {}}


def saved(folder: Path, values: dict[str, np.ndarray] = VALUES) -> Path:
    path = folder / "clean_activations_readable.json"
    save_activations(folder / "clean_activations.npz", path, ["a", "b"], values, metadata=METADATA)
    return path


def refused(path: Path, **error: Any) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with raises(InputError, file=path, **error):
            load_readable(path, LAYERS)


def test_both_forms_of_a_run_are_the_same(tmp_path: Path) -> None:
    path = saved(tmp_path)
    for one in (open_activations(path, LAYERS), open_activations(tmp_path / "clean_activations.npz", LAYERS)):
        assert one.ids == ("a", "b")
        assert list(one.values) == list(VALUES)
        for layer, array in VALUES.items():
            assert one.values[layer].dtype == np.float32
            assert np.array_equal(one.values[layer], array)


@pytest.mark.parametrize(
    ("value", "error"),
    [
        ("[[1e39]]", parts(found="a number beyond float32", expected="numbers in the range of float32")),
        ("[[-1e39]]", parts(found="a number beyond float32", expected="numbers in the range of float32")),
        (f"[[1{'0' * 400}]]", parts(found="an integer too large", expected="numbers")),
        ("[[true]]", parts(found="true", expected="numbers")),
        ("[[true, 1.5]]", parts(found="true", expected="numbers")),
        ("[[null]]", parts(found="null", expected="numbers")),
        ('[["1"]]', parts(found="'1'", expected="numbers")),
        ("[[1], [2]]", parts(found="shape (2, 1)", expected="[[numbers]]: a batch axis of 1, then the neurons")),
        ("[1]", parts(found="shape (1,)", expected="[[numbers]]: a batch axis of 1, then the neurons")),
        ("[[]]", parts(found="no values", expected="numbers")),
        ("[[1], [2, 3]]", parts(found="lists of unequal lengths", expected="a full array")),
        ("1", parts(found="shape ()", expected="[[numbers]]: a batch axis of 1, then the neurons")),
    ],
)
def test_values_that_are_no_activations_are_refused(value: str, error: Parts, tmp_path: Path) -> None:
    path = tmp_path / "other_readable.json"
    path.write_text(f'{{"a": {{"q_net.0": {value}}}}}')
    refused(path, field="'a'.q_net.0", **error)


def test_a_number_beyond_every_float_is_refused_by_its_place(tmp_path: Path) -> None:
    path = tmp_path / "other_readable.json"
    path.write_text('{"a": {"q_net.0": [[1e999]]}}')
    refused(path, field="'a'.'q_net.0'[0][0]", found="the literal 1e999", expected="finite numbers")


def test_an_edited_file_is_refused_if_its_npz_is_next_to_it(tmp_path: Path) -> None:
    path = saved(tmp_path)
    path.write_text(path.read_text().replace("-2.5", "-2.25"))
    refused(path, names=["clean_activations.npz"])
    (tmp_path / "clean_activations.npz").unlink()  # without it, the file may be of another suite
    assert load_readable(path, LAYERS).values["q_net.0"][0, 1] == -2.25


def test_an_npz_of_others_next_to_it_is_ignored(tmp_path: Path) -> None:
    path = saved(tmp_path)
    path.write_text(path.read_text() + "\n")
    np.savez(tmp_path / "clean_activations.npz", **{"a_q_net.0": np.ones((1, 2), np.float32)})
    assert load_readable(path, LAYERS).ids == ("a", "b")


def test_layers_come_in_the_order_of_the_network_whatever_the_hash_seed(tmp_path: Path) -> None:
    path = tmp_path / "f.json"
    names = [f"q_net.{number}" for number in range(9)]
    path.write_text(json.dumps({"a": {name: [[1.0]] for name in reversed(names)}}))
    code = (
        "import sys; from pathlib import Path; from Neuron_Selection.FileFormats.readable_activations import *\n"
        "names = sys.argv[2:]; print(*load_readable(Path(sys.argv[1]), dict(zip(names, names))).values)"
    )
    for seed in ("1", "2"):
        reported = subprocess.run(
            [sys.executable, "-c", code, str(path), *names], env={"PYTHONHASHSEED": seed, "PYTHONPATH": str(ROOT)},
            capture_output=True, text=True, check=True, cwd=ROOT,
        ).stdout  # fmt: skip
        assert reported.split() == names
