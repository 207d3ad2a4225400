"""Folders of results by input: experiments are matched by name, in whatever order the files list them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from Neuron_Selection.AnalysisTooling.runs.runs_by_input import runs_by_input
from Neuron_Selection.errors import InputError
from tests.raised import Parts, parts, raises

EXPERIMENTS = {"exp_1_q_net.0": {"q_net.0": [4]}, "exp_2_q_net.0": {"q_net.0": [7]}, "exp_3_q_net.2": {"q_net.2": [1]}}


def write(folder: Path, direction: str, row: int, names: list[str], **changed: Any) -> Path:
    """A published file; the Q-values name their input and experiment."""
    document = {}
    for name in names:
        patched = [float(row), 10.0 * list(EXPERIMENTS).index(name) + row]
        result = {
            "baseline_output": [[0.0, float(row)]], "baseline_action": 1, "patched_output": [patched],
            "patched_action": int(np.argmax(patched)), "action_changed": "False", "patched_layers": ["q_net.0"],
            "patch_configuration": EXPERIMENTS[name], **changed,
        }  # fmt: skip
        document[name] = {"patch_configuration": EXPERIMENTS[name], "results": result, "input_id": f"id {row}"}
    path = folder / direction / f"id_{row}.json"
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(document))
    return path


def patched(folder: Path) -> dict[str, np.ndarray]:
    runs = runs_by_input(folder, {})
    assert runs.patches == tuple(EXPERIMENTS.values())
    return {name: np.concatenate([block.patched for block in one.blocks()]) for name, one in runs.directions.items()}


def test_experiments_are_matched_by_their_names_not_by_their_order(tmp_path: Path) -> None:
    names = list(EXPERIMENTS)
    for row in range(3):
        write(tmp_path, "denoising", row, names if row % 2 == 0 else names[::-1])
        write(tmp_path, "noising", row, names[::-1])
    expected = np.array([[[row, 10.0 * number + row] for number in range(3)] for row in range(3)])
    for found in patched(tmp_path).values():
        assert np.array_equal(found, expected)


def test_the_other_direction_has_the_same_experiments_and_inputs(tmp_path: Path) -> None:
    names = list(EXPERIMENTS)
    for row in range(2):
        write(tmp_path, "denoising", row, names)
        write(tmp_path, "noising", row, names[:2])
    with raises(
        InputError, file="id_0.json", field="'exp_3_q_net.2'", problem="the experiment differs from the first file"
    ):
        runs_by_input(tmp_path, {})
    for row in range(2):
        write(tmp_path, "noising", row + 1, names)
    (tmp_path / "noising" / "id_0.json").unlink()
    with raises(InputError, file="noising", field="input ids", problem="differ from those in denoising ('id 0')"):
        runs_by_input(tmp_path, {})


@pytest.mark.parametrize(
    ("changed", "field", "error"),
    [
        (
            {"patch_configuration": {"q_net.0": 5}},
            "'exp_1_q_net.0'.patch_configuration: 'q_net.0'",
            parts(found="5", expected="a list of indices or 'all'"),
        ),
        (
            {"patch_configuration": None},
            "'exp_1_q_net.0'.patch_configuration",
            parts(found="null", expected="an object {layer: [indices] | 'all'}"),
        ),
        (
            {"patch_configuration": {}},
            "'exp_1_q_net.0'.patch_configuration",
            parts(problem="contains no layers", expected="{layer: [indices] | 'all'}"),
        ),
        (
            {"patched_output": [[1.0, 10**400]]},
            "'exp_1_q_net.0'.patched_output[0][1]",
            parts(found="an integer of 1329 bits", expected="a finite number"),
        ),
        ({"source_output": [[1.0]]}, "source_output", parts(found="scores of 1 actions", expected="2")),
        ({"source_output": "x"}, "source_output", parts(found="scores of 0 actions", expected="2")),
        ({"source_output": [["x", "y"]]}, "source_output", parts(found="'x'", expected="numbers")),
    ],
)
def test_what_does_not_belong_there_is_refused(
    changed: dict[str, Any], field: str, error: Parts, tmp_path: Path
) -> None:
    write(tmp_path, "denoising", 0, list(EXPERIMENTS), **changed)
    with raises(InputError, file="id_0.json", field=field, **error):
        runs_by_input(tmp_path, {})


MISSING = parts(field="'exp_2_q_net.0'.baseline_output", problem="is missing")


@pytest.mark.parametrize(
    ("results", "error"),
    [
        ({}, parts(found="results of 1 inputs", expected="experiments of one input")),
        (None, MISSING),
        ([], MISSING),
    ],
)
def test_an_experiment_without_results_is_refused(results: Any, error: Parts, tmp_path: Path) -> None:
    path = write(tmp_path, "denoising", 0, list(EXPERIMENTS))
    document = json.loads(path.read_text())
    document["exp_2_q_net.0"]["results"] = results
    path.write_text(json.dumps(document))
    with raises(InputError, file="id_0.json", **error):
        runs_by_input(tmp_path, {})
