from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from Neuron_Selection.errors import InputError
from Neuron_Selection.FileFormats.weights.candidate_weights import KEYS, load_candidate_weights, save_candidate_weights
from tests.raised import Parts, parts, raises

TARGET = {"layer_name": "q_net.0.weight", "neuron_index": 1, "weight_index": 2, "gradient_magnitude": 0.5}


def document(*targets: Any) -> dict[str, Any]:
    return {**{key: {} for key in KEYS}, "weight_targets": list(targets)}


def test_candidate_weights_are_read_as_they_were_written(tmp_path: Path) -> None:
    path = tmp_path / "candidate_weights.json"
    save_candidate_weights(path, document(TARGET))
    assert load_candidate_weights(path) == document(TARGET)
    assert tuple(load_candidate_weights(path)) == KEYS


@pytest.mark.parametrize("magnitude", ["1e999", "1" + "0" * 400, "-0.5", "true", "null", '"1"'])
def test_a_magnitude_is_a_finite_number_from_0(magnitude: str, tmp_path: Path) -> None:
    path = tmp_path / "candidate_weights.json"
    path.write_text(json.dumps(document(TARGET)).replace("0.5", magnitude))
    field = re.compile(r"'?weight_targets'?\[0\]\.gradient_magnitude")
    with raises(InputError, file=path, field=field, found=..., expected=re.compile("(a )?finite number.*")):
        load_candidate_weights(path)


@pytest.mark.parametrize(
    ("targets", "error"),
    [
        (
            [],
            parts(
                field="weight_targets",
                found="a list of length 0",
                expected="a list of length at least 1",
                hint="extract.py makes it",
            ),
        ),
        ([1], parts(field="weight_targets[0]", found="1", expected="an object", hint="extract.py makes it")),
        ([TARGET, TARGET], parts(field="weight_targets[1]", problem="q_net.0.weight[1,2] is listed twice")),
        (
            [{**TARGET, "layer_name": "q_net.0.bias"}],
            parts(field="weight_targets[0].layer_name", found="'q_net.0.bias'", expected="the name of a weight"),
        ),
        (
            [{**TARGET, "neuron_index": -1}],
            parts(
                field="weight_targets[0].neuron_index",
                found="-1",
                expected="a whole number, at least 0",
                hint="extract.py makes it",
            ),
        ),
        (
            [{**TARGET, "weight_index": True}],
            parts(
                field="weight_targets[0].weight_index",
                found="true",
                expected="a whole number",
                hint="extract.py makes it",
            ),
        ),
    ],
)
def test_a_target_with_a_wrong_field_is_refused(targets: list[Any], error: Parts, tmp_path: Path) -> None:
    path = tmp_path / "candidate_weights.json"
    path.write_text(json.dumps(document(*targets)))
    with raises(InputError, file=path, **error):
        load_candidate_weights(path)


@pytest.mark.parametrize(
    ("content", "error"),
    [
        ({"metadata": {}}, parts(field="weight_targets", problem="is missing", hint="extract.py makes it")),
        (
            {"weight_targets": None},
            parts(field="weight_targets", found="null", expected="a list", hint="extract.py makes it"),
        ),
        ([TARGET], parts(found="a list", expected="an object", hint="extract.py makes it")),
    ],
)
def test_another_kind_of_file_is_refused_by_what_it_lacks(content: Any, error: Parts, tmp_path: Path) -> None:
    path = tmp_path / "candidate_weights.json"
    path.write_text(json.dumps(content))
    with raises(InputError, file=path, **error):
        load_candidate_weights(path)
