"""Candidate weights: the rules one by one, ties, extremes, keys of every published kind, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from Neuron_Selection.errors import InputError
from Neuron_Selection.FileFormats.results.cross_metric_summary import load_cross_metric_summary
from Neuron_Selection.FileFormats.weights.candidate_weights import load_candidate_weights, save_candidate_weights
from SaliencyTooling.weight_ranking import CandidateNeuron, candidate_neurons, rank_weights
from tests.raised import Parts, parts, raises

ROWS = {"q_net.0.weight": 8, "q_net.2.weight": 6, "q_net.4.weight": 3}


def candidate(experiment: str, parameter: str, neuron: int) -> CandidateNeuron:
    return CandidateNeuron(experiment=experiment, parameter=parameter, neuron=neuron)


def places(document: dict[str, Any]) -> list[tuple[str, int, int]]:
    return [(t["layer_name"], t["neuron_index"], t["weight_index"]) for t in document["weight_targets"]]


def test_an_example_by_hand() -> None:
    averages = {"a.weight": np.array([[0.1, 0.9, 0.5], [0.3, 0.2, 0.8]]), "b.weight": np.array([[0.7, 0.6]])}
    neurons = [candidate("one", "a.weight", 0), candidate("two", "b.weight", 0)]
    document = rank_weights(neurons, averages, averages, k=1, m=2)
    assert document["weight_targets"] == [
        {"layer_name": "a.weight", "neuron_index": 0, "weight_index": 1, "gradient_magnitude": 0.9,
         "source": "top_1_of_one", "priority": "guaranteed_k_1"},
        {"layer_name": "b.weight", "neuron_index": 0, "weight_index": 0, "gradient_magnitude": 0.7,
         "source": "top_1_of_two", "priority": "guaranteed_k_1"},
        {"layer_name": "b.weight", "neuron_index": 0, "weight_index": 1, "gradient_magnitude": 0.6,
         "source": "additional_from_two", "priority": "additional_global"},
        {"layer_name": "a.weight", "neuron_index": 0, "weight_index": 2, "gradient_magnitude": 0.5,
         "source": "additional_from_one", "priority": "additional_global"},
    ]  # fmt: skip
    assert document["metadata"] == {
        "k_per_neuron": 1, "additional_m": 2, "num_candidate_neurons": 2, "total_weights_selected": 4,
        "guaranteed_per_neuron": 2, "additional_selected": 2,
        "description": "Top 1 weights per neuron plus top 2 additional weights globally",
    }  # fmt: skip
    assert document["neuron_weights"]["one"] == {
        "layer_name": "a.weight",
        "neuron_index": 0,
        "weights": [0.1, 0.9, 0.5],
    }
    assert document["top_k_per_neuron"] == {
        "one": {"indices": [1], "values": [0.9]}, "two": {"indices": [0], "values": [0.7]}
    }  # fmt: skip
    assert document["additional_weights"] == {
        "two": {"indices": [1], "values": [0.6]}, "one": {"indices": [2], "values": [0.5]}
    }  # fmt: skip


@given(data=st.data())
def test_the_selection_is_the_rule_computed_slowly(data: st.DataObject) -> None:
    scores = {
        name: np.array(
            data.draw(st.lists(st.lists(st.integers(0, 4), min_size=3, max_size=3), min_size=2, max_size=2)), float
        )
        for name in ("a.weight", "b.weight")
    }
    every = [candidate(f"{name}{row}", name, row) for name in scores for row in range(2)]
    neurons = data.draw(st.permutations(every))[: data.draw(st.integers(1, 4))]
    k, m = data.draw(st.integers(0, 4)), data.draw(st.integers(0, 14))
    document = rank_weights(neurons, scores, scores, k=k, m=m)
    order = ["a.weight", "b.weight"]

    def rank(place: tuple[str, int, int]) -> tuple[float, int, int, int]:
        return -scores[place[0]][place[1], place[2]], order.index(place[0]), place[1], place[2]

    guaranteed, rest = [], []
    for neuron in neurons:
        row = sorted(((neuron.parameter, neuron.neuron, weight) for weight in range(3)), key=rank)
        guaranteed += row[:k]
        rest += row[k:]
    chosen = guaranteed + sorted(rest, key=rank)[:m]
    assert places(document) == sorted(chosen, key=rank)
    assert document["metadata"]["guaranteed_per_neuron"] == len(guaranteed)
    assert document["metadata"]["total_weights_selected"] == len(chosen)
    assert all((scores[l][n, w], "guaranteed" in t["priority"]) == (t["gradient_magnitude"], (l, n, w) in guaranteed)
               for t, (l, n, w) in zip(document["weight_targets"], places(document), strict=True))  # noqa: E741  # fmt: skip


def test_a_convolutions_weight_index_is_flat_in_its_row() -> None:
    averages = {"cnn.0.weight": np.arange(2 * 3 * 2 * 2, dtype=float).reshape(2, 3, 2, 2)}
    document = rank_weights([candidate("x", "cnn.0.weight", 1)], averages, averages, k=1, m=0)
    assert places(document) == [("cnn.0.weight", 1, 11)]


def summary(folder: Path, neurons: dict[str, Any]) -> Any:
    path = folder / "cross_metric_summary.json"
    path.write_text(json.dumps({"common_neurons": neurons}))
    return load_cross_metric_summary(path)


def test_keys_are_resolved_by_patch_then_position_then_name_and_count_once(tmp_path: Path) -> None:
    loaded = summary(tmp_path, {
        "exp_1_q_net.0": {"patch": {"q_net.2": [5]}},
        "exp_3_q_net.0": {},
        "q_net.2_neuron_5": {},
        "q_net.4_neuron_0": {"final_average_importance": 0.5},
    })  # fmt: skip
    definitions = [{"q_net.0": [0]}, {"q_net.0": [1]}, {"q_net.0": [7]}]
    found = candidate_neurons(loaded, ROWS, definitions=definitions)
    assert [(c.experiment, c.parameter, c.neuron) for c in found] == [
        ("exp_1_q_net.0", "q_net.2.weight", 5), ("exp_3_q_net.0", "q_net.0.weight", 7),
        ("q_net.4_neuron_0", "q_net.4.weight", 0),
    ]  # fmt: skip


def test_definitions_are_not_needed_where_every_key_has_its_patch(tmp_path: Path) -> None:
    loaded = summary(tmp_path, {"exp_9_q_net.0": {"patch": {"q_net.0": [1]}}})
    assert len(candidate_neurons(loaded, ROWS, definitions=[])) == 1


@pytest.mark.parametrize(
    ("key", "entry", "error"),
    [
        ("exp_3_q_net.0", {}, parts(found="experiment 3", expected="1..2 as in the definitions")),
        ("exp_2_q_net.0", {}, parts(found="layer 'q_net.2' at position 2 of the definitions", expected="'q_net.0'")),
        (
            "something",
            {},
            parts(problem="the key names no neuron", expected="a patch field, exp_<n>_<layer> or <layer>_neuron_<i>"),
        ),
        (
            "q_net.1_neuron_0",
            {},
            parts(problem="layer 'q_net.1' has no weight matrix; layers that have one: q_net.0, q_net.2, q_net.4"),
        ),
        ("q_net.0_neuron_8", {}, parts(found="neuron 8", expected="0..7 in q_net.0")),
        (
            "a",
            {"patch": {"q_net.0": [1, 2]}},
            parts(problem="patches several neurons", expected="one layer, one neuron"),
        ),
        (
            "a",
            {"patch": {"q_net.0": "all"}},
            parts(problem="patches several neurons", expected="one layer, one neuron"),
        ),
        (
            "a",
            {"patch": {"q_net.0": [1], "q_net.2": [1]}},
            parts(problem="patches several neurons", expected="one layer, one neuron"),
        ),
    ],
)
def test_keys_that_resolve_to_no_single_neuron_are_errors(key: str, entry: Any, error: Parts, tmp_path: Path) -> None:
    with raises(InputError, file="cross_metric_summary.json", field=f"common_neurons.{key}", **error):
        candidate_neurons(summary(tmp_path, {key: entry}), ROWS, definitions=[{"q_net.0": [0]}, {"q_net.2": [1]}])


def test_the_error_for_a_network_without_any_weight_matrix_is_a_sentence(tmp_path: Path) -> None:
    with raises(
        InputError,
        file="cross_metric_summary.json",
        field="common_neurons.q_net.0_neuron_1",
        problem="layer 'q_net.0' has no weight matrix, nor has any other layer of this network",
    ):
        candidate_neurons(summary(tmp_path, {"q_net.0_neuron_1": {}}), {}, definitions=[])


def test_no_important_neuron_names_the_step_that_gave_none(tmp_path: Path) -> None:
    with raises(
        InputError, file="cross_metric_summary.json", field="common_neurons", problem="contains no important neuron"
    ):
        candidate_neurons(summary(tmp_path, {}), ROWS, definitions=[])


def test_published_summaries_of_every_form_are_resolved(published_files: Path) -> None:
    rows = {"features_extractor.mlp.0.weight": 64, "q_net.0.weight": 64, "q_net.2.weight": 64, "q_net.4.weight": 5}
    for name, count in (("agent159_cross_metric_summary", 12), ("v6_cross_metric_summary_nested", None)):
        loaded = load_cross_metric_summary(published_files / f"{name}.json")
        found = candidate_neurons(loaded, rows, definitions=[])
        assert len(found) == (count or len(loaded.neurons))
        assert all(f"{c.parameter.removesuffix('.weight')}_neuron_{c.neuron}" == c.experiment for c in found)
    with raises(
        InputError,
        file="v6_cross_metric_summary_empty.json",
        field="common_neurons",
        problem="contains no important neuron",
    ):
        candidate_neurons(
            load_cross_metric_summary(published_files / "v6_cross_metric_summary_empty.json"), rows, definitions=[]
        )


@pytest.mark.parametrize(
    ("change", "error"),
    [
        (
            lambda d: d.update(weight_targets=[]),
            parts(field="weight_targets", found="a list of length 0", expected="a list of length at least 1"),
        ),
        (lambda d: d.update(weight_targets=5), parts(field="weight_targets", found="5", expected="a list")),
        (
            lambda d: d["weight_targets"][0].update(layer_name="a.bias"),
            parts(field="weight_targets[0].layer_name", found="'a.bias'", expected="the name of a weight"),
        ),
        (
            lambda d: d["weight_targets"][0].update(neuron_index=-1),
            parts(field="weight_targets[0].neuron_index", found="-1", expected="a whole number, at least 0"),
        ),
        (
            lambda d: d["weight_targets"][0].update(weight_index=1.5),
            parts(field="weight_targets[0].weight_index", found="1.5", expected="a whole number"),
        ),
        (
            lambda d: d["weight_targets"][0].update(weight_index=True),
            parts(field="weight_targets[0].weight_index", found="true", expected="a whole number"),
        ),
        (
            lambda d: d["weight_targets"].append(d["weight_targets"][0]),
            parts(field="weight_targets[1]", problem="a.weight[0,1] is listed twice"),
        ),
    ],
)
def test_candidate_files_are_checked_target_by_target(change: Any, error: Parts, tmp_path: Path) -> None:
    averages = {"a.weight": np.array([[0.1, 0.9]])}
    document = rank_weights([candidate("x", "a.weight", 0)], averages, averages, k=1, m=0)
    path = tmp_path / "candidate_weights.json"
    save_candidate_weights(path, document)
    assert load_candidate_weights(path) == document
    change(document)
    path.write_text(json.dumps(document))
    with raises(InputError, file=path, **error):
        load_candidate_weights(path)
