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
    ("changed", "says"),
    [
        (with_weight(MAGNITUDE, [[0.5, -0.1], [1, 1]]), "average_gradients.q_net.0.weight: found a negative value"),
        (with_weight(MARGIN, [[0.5, -0.1], [1, 1]]), "average_margin_gradients.q_net.0.weight: found a negative val"),
        (with_weight(MARGIN, [[0.5, 0.1]]), "average_margin_gradients.q_net.0.weight: does not have the shape"),
        (with_weight(SIGNED, [[0.5, 0.1]]), "average_signed_gradients.q_net.0.weight: does not have the shape"),
        ({SIGNED: {"other": [1.0]}}, "average_signed_gradients.other: does not have the shape it has in"),
        ({SIGNED: [1.0]}, "average_signed_gradients: found a list"),
        (with_weight(MAGNITUDE, [[0.5, True], [1, 1]]), "average_gradients.q_net.0.weight: found true"),
        (with_weight(MAGNITUDE, [[0.5, 10**400], [1, 1]]), "average_gradients.q_net.0.weight: found"),
        ({MAGNITUDE: {}}, "average_gradients: found an object of length 0, expected an object of length at least 1"),
        ({MAGNITUDE: None}, "average_gradients: is missing"),
        ({"metadata": 3}, "metadata: found 3"),
        ({"metadata": {"num_examples": -1}}, "metadata.num_examples: found -1"),
        ({"metadata": {"num_examples": True}}, "metadata.num_examples: found true"),
    ],
)
def test_what_are_no_averages_is_refused(changed: dict[str, Any], says: str, tmp_path: Path) -> None:
    path = saved(tmp_path / "a.json", **changed)
    with pytest.raises(InputError) as caught:
        load_average_gradients(path)
    assert says in str(caught.value)


def test_a_magnitude_beyond_every_float_is_refused(tmp_path: Path) -> None:
    path = saved(tmp_path / "a.json")
    path.write_text(path.read_text().replace("2.0", "1e999"))
    with pytest.raises(InputError, match="found the literal 1e999, expected finite numbers"):
        load_average_gradients(path)
