from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from Neuron_Selection.errors import InputError
from Neuron_Selection.FileFormats.weights.average_gradients import (
    MAGNITUDE,
    MARGIN,
    SIGNED,
    AverageGradients,
    load_average_gradients,
    save_average_gradients,
)
from tests.raised import Parts, parts, raises

OF_Q_VALUES = "Mean over the inputs of the absolute gradient of the greatest Q-value, for every weight and bias"
MEANS = {
    MAGNITUDE: {"q_net.0.weight": np.array([[0.5, 0.0], [2.0, 1e-30]]), "q_net.0.bias": np.array([1.0, 3.0])},
    SIGNED: {"q_net.0.weight": np.array([[-0.5, 0.0], [1.0, -1e-30]]), "q_net.0.bias": np.array([-1.0, 3.0])},
    MARGIN: {"q_net.0.weight": np.array([[0.1, 0.2], [0.3, 0.4]]), "q_net.0.bias": np.array([0.0, 0.5])},
}


def saved(path: Path, **changed: Any) -> Path:
    save_average_gradients(path, AverageGradients(num_examples=7, means=MEANS, metadata={"run": {"a": 1}}))
    document = json.loads(path.read_text())
    path.write_text(json.dumps({key: value for key, value in {**document, **changed}.items() if value is not None}))
    return path


def test_averages_are_read_as_they_were_written(tmp_path: Path) -> None:
    loaded = load_average_gradients(saved(tmp_path / "a.json"))
    assert loaded.num_examples == 7
    assert loaded.metadata == {"num_examples": 7, "description": OF_Q_VALUES, "run": {"a": 1}}
    assert list(loaded.means) == list(MEANS)
    for key, means in MEANS.items():
        assert list(loaded.means[key]) == list(means)
        assert all(np.array_equal(loaded.means[key][name], array) for name, array in means.items())


def test_the_description_names_the_scores(tmp_path: Path) -> None:
    path, metadata = tmp_path / "a.json", {"run": {"scores": "logits"}}
    save_average_gradients(path, AverageGradients(num_examples=7, means=MEANS, metadata=metadata))
    assert load_average_gradients(path).metadata["description"] == OF_Q_VALUES.replace("Q-value", "logit")


def test_a_published_file_needs_the_magnitudes_only(tmp_path: Path) -> None:
    loaded = load_average_gradients(saved(tmp_path / "a.json", **{SIGNED: None, MARGIN: None, "metadata": None}))
    assert list(loaded.means) == [MAGNITUDE]
    assert loaded.num_examples == 0


def with_weight(key: str, value: Any) -> dict[str, Any]:
    means = {name: array.tolist() for name, array in MEANS[key].items()}
    return {key: {**means, "q_net.0.weight": value}}


@pytest.mark.parametrize(
    ("changed", "error"),
    [
        (
            with_weight(MAGNITUDE, [[0.5, -0.1], [1, 1]]),
            parts(
                field="average_gradients.q_net.0.weight", found="a negative value", expected="means of absolute values"
            ),
        ),
        (
            with_weight(MARGIN, [[0.5, -0.1], [1, 1]]),
            parts(
                field="average_margin_gradients.q_net.0.weight",
                found="a negative value",
                expected="means of absolute values",
            ),
        ),
        (
            with_weight(MARGIN, [[0.5, 0.1]]),
            parts(
                field="average_margin_gradients.q_net.0.weight",
                problem="does not have the shape it has in average_gradients",
            ),
        ),
        (
            with_weight(SIGNED, [[0.5, 0.1]]),
            parts(
                field="average_signed_gradients.q_net.0.weight",
                problem="does not have the shape it has in average_gradients",
            ),
        ),
        (
            {SIGNED: {"other": [1.0]}},
            parts(
                field="average_signed_gradients.other", problem="does not have the shape it has in average_gradients"
            ),
        ),
        (
            {SIGNED: [1.0]},
            parts(field="average_signed_gradients", found="a list", expected="an object", hint="average.py makes it"),
        ),
        (
            with_weight(MAGNITUDE, [[0.5, True], [1, 1]]),
            parts(field="average_gradients.q_net.0.weight", found="true", expected="numbers"),
        ),
        (
            with_weight(MAGNITUDE, [[0.5, 10**400], [1, 1]]),
            parts(field="average_gradients.q_net.0.weight", found="an integer too large", expected="numbers"),
        ),
        (
            {MAGNITUDE: {}},
            parts(
                field="average_gradients",
                found="an object of length 0",
                expected="an object of length at least 1",
                hint="average.py makes it",
            ),
        ),
        ({MAGNITUDE: None}, parts(field="average_gradients", problem="is missing", hint="average.py makes it")),
        ({"metadata": 3}, parts(field="metadata", found="3", expected="an object", hint="average.py makes it")),
        (
            {"metadata": {"num_examples": -1}},
            parts(field="metadata.num_examples", found="-1", expected="a whole number, at least 0"),
        ),
        (
            {"metadata": {"num_examples": True}},
            parts(field="metadata.num_examples", found="true", expected="a whole number"),
        ),
    ],
)
def test_what_are_no_averages_is_refused(changed: dict[str, Any], error: Parts, tmp_path: Path) -> None:
    path = saved(tmp_path / "a.json", **changed)
    with raises(InputError, file=path, **error):
        load_average_gradients(path)


def test_a_magnitude_beyond_every_float_is_refused(tmp_path: Path) -> None:
    path = saved(tmp_path / "a.json")
    path.write_text(path.read_text().replace("2.0", "1e999"))
    with raises(
        InputError,
        file="a.json",
        field="'average_gradients'.'q_net.0.weight'[1][0]",
        found="the literal 1e999",
        expected="finite numbers",
    ):
        load_average_gradients(path)
