"""Summaries of important neurons in every published form, and the table of results next to them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from Neuron_Selection.errors import InputError
from Neuron_Selection.FileFormats.results.cross_metric_summary import load_cross_metric_summary
from Neuron_Selection.FileFormats.results.results_table import (
    CONTROL_COLUMNS,
    EXPERIMENT_COLUMNS,
    results_table_bytes,
    save_with_summary,
    stored_analysis,
)
from Neuron_Selection.FileFormats.storage.json_files import json_bytes
from tests.raised import Parts, parts, raises

OURS: dict[str, Any] = {
    "description": "d",
    "metrics_info": {"action_flip": {"threshold": 0.0, "common_count": 1}},
    "common_count": 1,
    "common_neurons": {
        "exp_62_q_net.0": {"patch": {"q_net.0": [61]}, "final_average_importance": 0.5, "action_flip": {}}
    },
    "metadata": {"format": 1, "run": {"weights_sha256": "ab"}},
}


def test_what_we_write_is_read(tmp_path: Path) -> None:
    path = tmp_path / "cross_metric_summary.json"
    path.write_bytes(json_bytes(OURS))
    summary = load_cross_metric_summary(path)
    (neuron,) = summary.neurons
    assert summary.weights_sha256 == "ab"
    assert (neuron.key, neuron.patch, neuron.position, neuron.layer, neuron.neuron, neuron.importance) == (
        "exp_62_q_net.0", {"q_net.0": [61]}, 62, "q_net.0", None, 0.5
    )  # fmt: skip


def test_the_three_published_forms_are_read(published_files: Path) -> None:
    flat = load_cross_metric_summary(published_files / "agent159_cross_metric_summary.json")
    assert len(flat.neurons) == 12
    first = flat.neurons[0]
    assert (first.layer, first.neuron, first.position, first.patch) == ("q_net.0", 7, None, None)
    assert first.importance == pytest.approx(0.6401174501992174)
    assert flat.metrics_info["kl_divergence"]["denoising_count"] == 192
    nested = load_cross_metric_summary(published_files / "v6_cross_metric_summary_nested.json")
    (only,) = nested.neurons
    assert (only.layer, only.neuron, only.importance) == ("q_net.0", 12, None)
    assert only.values["kl_divergence"]["noising"]["input_count"] == 6
    empty = load_cross_metric_summary(published_files / "v6_cross_metric_summary_empty.json")
    assert empty.neurons == ()
    assert empty.weights_sha256 == ""


def test_a_key_is_a_position_or_a_name_or_only_a_key(tmp_path: Path) -> None:
    path = tmp_path / "s.json"
    keys = ["exp_3_q_net.0_neuron_5", "features_extractor.mlp.0_neuron_0", "something", "exp_0_q_net.0", "exp_1_a_b"]
    path.write_text(json.dumps({"common_neurons": {key: {} for key in keys}}))
    found = [(n.position, n.layer, n.neuron) for n in load_cross_metric_summary(path).neurons]
    assert found == [
        (3, "q_net.0_neuron_5", None), (None, "features_extractor.mlp.0", 0), (None, None, None),
        (None, None, None), (1, "a_b", None),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("changed", "error"),
    [
        (
            {"common_neurons": ...},
            parts(field="common_neurons", problem="is missing", hint="analyze_metrics.py makes it"),
        ),
        (
            {"common_neurons": []},
            parts(field="common_neurons", found="a list", expected="an object", hint="analyze_metrics.py makes it"),
        ),
        (
            {"common_neurons": {"exp_1_q_net.0": 3}},
            parts(field="common_neurons.exp_1_q_net.0", found="3", expected="an object"),
        ),
        (
            {"common_neurons": {"a": {"patch": [1]}}},
            parts(field="common_neurons.a.patch", found="a list", expected="an object {layer: [indices] | 'all'}"),
        ),
        (
            {"common_neurons": {"a": {"patch": {"q_net.0": [1.5]}}}},
            parts(field="common_neurons.a.patch: 'q_net.0'", found="1.5", expected="a neuron index from 0"),
        ),
        (
            {"common_neurons": {"a": {"patch": {"q_net.0": [-1]}}}},
            parts(field="common_neurons.a.patch: 'q_net.0'", found="-1", expected="a neuron index from 0"),
        ),
        (
            {"common_neurons": {"a": {"patch": None}}},
            parts(field="common_neurons.a.patch", found="null", expected="an object {layer: [indices] | 'all'}"),
        ),
        (
            {"common_neurons": {"a": {"final_average_importance": "1"}}},
            parts(field="common_neurons.a.final_average_importance", found="'1'", expected="a finite number or null"),
        ),
        (
            {"common_neurons": {"a": {"final_average_importance": True}}},
            parts(field="common_neurons.a.final_average_importance", found="true", expected="a finite number or null"),
        ),
        (
            {"common_neurons": {"a": {"final_average_importance": 10**400}}},
            parts(
                field="common_neurons.a.final_average_importance",
                found="an integer of 1329 bits",
                expected="a finite number",
            ),
        ),
        (
            {"metrics_info": [1]},
            parts(field="metrics_info", found="a list", expected="an object", hint="analyze_metrics.py makes it"),
        ),
        (
            {"metrics_info": {"kl": 1}},
            parts(
                field="metrics_info[...]",
                found="a whole number",
                expected="an object",
                hint="analyze_metrics.py makes it",
            ),
        ),
        (
            {"common_count": -1},
            parts(
                field="common_count",
                found="-1",
                expected="a whole number, at least 0",
                hint="analyze_metrics.py makes it",
            ),
        ),
        (
            {"common_count": True},
            parts(field="common_count", found="true", expected="a whole number", hint="analyze_metrics.py makes it"),
        ),
        ({"metadata": 1}, parts(field="metadata", found="1", expected="an object", hint="analyze_metrics.py makes it")),
        (
            {"metadata": {"format": 7}},
            parts(
                field="metadata.format",
                found="7",
                expected="a whole number, at most 1",
                hint="written by a newer suite",
            ),
        ),
    ],
)
def test_a_field_of_the_wrong_type_is_named(changed: dict[str, Any], error: Parts, tmp_path: Path) -> None:
    path = tmp_path / "s.json"
    path.write_text(json.dumps({key: value for key, value in {**OURS, **changed}.items() if value is not ...}))
    with raises(InputError, file=path, **error):
        load_cross_metric_summary(path)


@pytest.mark.parametrize(
    ("content", "error"),
    [
        (None, parts(problem="no such file", hint="analyze_metrics.py makes it")),
        ("[]", parts(found="a list", expected="an object", hint="analyze_metrics.py makes it")),
        (
            '{"common_neurons": {"a": {"x": NaN}}}',
            parts(field="'common_neurons'.a.x", found="the literal NaN", expected="finite numbers"),
        ),
        (
            '{"common_neurons": {"a": {}, "a": {}}}',
            parts(field="'common_neurons'.a", found="a duplicate key", expected="unique keys"),
        ),
    ],
)
def test_what_is_no_summary_is_refused(content: str | None, error: Parts, tmp_path: Path) -> None:
    path = tmp_path / "s.json"
    if content is not None:
        path.write_text(content)
    with raises(InputError, file=path, **error):
        load_cross_metric_summary(path)


def row(**changed: Any) -> dict[str, Any]:
    return {**dict.fromkeys([*EXPERIMENT_COLUMNS, "a_metric", *CONTROL_COLUMNS], 3), **changed}


def table_bytes(*rows: dict[str, Any]) -> bytes:
    return results_table_bytes(rows, metrics=["a_metric"])


def test_a_table_has_its_columns_in_a_fixed_order_and_empty_cells_for_what_is_undefined() -> None:
    patch = f"q_net.0:{','.join(map(str, range(40_000)))}"
    rows = [row(effect=0.1 + 0.2, q=None, patch=patch, kl_divergence=0.5)]
    data = results_table_bytes(rows, metrics=["a_metric"], selection_metrics=["kl_divergence"])
    header, line = data.decode().splitlines()
    assert header.split(",") == [*EXPERIMENT_COLUMNS, "a_metric", *CONTROL_COLUMNS, "kl_divergence"]
    cells = dict(zip(header.split(","), line.replace(f'"{patch}"', "the patch").split(","), strict=True))
    assert (cells["effect"], cells["q"], cells["patch"]) == ("0.30000000000000004", "", "the patch")


def test_metadata_belong_to_a_table_and_its_summary_or_to_none(tmp_path: Path) -> None:
    table, summary = tmp_path / "results.csv", tmp_path / "cross_metric_summary.json"
    save_with_summary(table, table_bytes(row()), summary, json_bytes(OURS), metadata={"format": 1})
    stored = stored_analysis(table, summary).complete
    assert stored is not None
    assert stored["format"] == 1
    summary.write_text(summary.read_text() + " ")
    assert stored_analysis(table, summary).complete is None
