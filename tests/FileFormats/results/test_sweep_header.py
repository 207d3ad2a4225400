from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from Neuron_Selection.errors import InputError, UsageError, shown
from Neuron_Selection.FileFormats.directions import DIRECTIONS, TARGETS, directions_of
from Neuron_Selection.FileFormats.results.sweep import SweepGroup, groups_of, header_from
from tests.raised import Parts, parts, raises

PATH = Path("sweep.npz")
METADATA: dict[str, Any] = {
    "format": 1,
    "run": {"weights_sha256": "abc", "ablation": {"ablation": "zero"}},
    "ids": ["a", "b"],
    "clusters": {"b": "1"},
    "patches": [{"q_net.0": [0]}, {"q_net.2": "all", "q_net.0": [1]}, {"q_net.0": [2]}],
    "directions": {"noising": {"source": "corrupted", "target": "clean"}},
    "n_actions": 3,
}


def test_a_header_holds_what_its_metadata_describe() -> None:
    header = header_from(METADATA, PATH)
    assert (header.ids, header.clusters, header.n_actions) == (("a", "b"), {"b": "1"}, 3)
    assert header.patches == tuple(METADATA["patches"])
    assert (header.ablation, header.weights_sha256) == ("zero", "abc")
    assert header.metadata is METADATA
    other = header_from({**METADATA, "run": {}}, PATH)
    assert (other.ablation, other.weights_sha256) == (None, "")
    assert header.random_sets == ()
    assert header_from({**METADATA, "run": {"random_sets": [3]}}, PATH).random_sets == (3,)


def test_experiments_of_the_same_layers_form_a_group_in_the_order_in_which_they_come() -> None:
    groups = groups_of(({"b": [0]}, {"a": "all"}, {"b": [1]}, {"a": [0], "b": [0]}, {"b": [0], "a": [0]}))
    assert groups == (
        SweepGroup(layers=("b",), numbers=(1, 3)), SweepGroup(layers=("a",), numbers=(2,)),
        SweepGroup(layers=("a", "b"), numbers=(4,)), SweepGroup(layers=("b", "a"), numbers=(5,)),
    )  # fmt: skip
    assert groups[2].name == "a+b"


def test_the_target_of_a_direction_is_the_run_that_receives() -> None:
    assert DIRECTIONS == ("denoising", "noising")
    assert TARGETS == {"denoising": ("corrupted", "clean"), "noising": ("clean", "corrupted")}
    assert [directions_of(asked) for asked in ("both", "noising")] == [DIRECTIONS, ("noising",)]
    with raises(UsageError, field="direction", found="'forwards'", expected="denoising, noising or both"):
        directions_of("forwards")


@pytest.mark.parametrize(
    ("changed", "error"),
    [
        ({"ids": ["a", "a"]}, parts(field="metadata.ids", problem="an id is listed twice")),
        ({"ids": ["a\n"]}, parts(field="'a\\n'", problem="the input id contains an unprintable character")),
        ({"ids": ...}, parts(field="metadata.ids", problem="is missing")),
        ({"clusters": {"a": 1}}, parts(field="metadata.clusters[...]", found="a whole number", expected="text")),
        (
            {"patches": [{"q_net.0": [-1]}]},
            parts(field="metadata.patches: entry 1: 'q_net.0'", found="-1", expected="a neuron index from 0"),
        ),
        (
            {"directions": {"sideways": {"source": "a", "target": "b"}}},
            parts(field="metadata.directions", found="'sideways'", expected="denoising, noising or both"),
        ),
        (
            {"directions": {"noising": {"source": "a"}}},
            parts(field="metadata.directions[...].target", problem="is missing"),
        ),
        ({"directions": {}}, parts(field="metadata.directions", found="none", expected="denoising, noising or both")),
        ({"n_actions": True}, parts(field="metadata.n_actions", found="true", expected="a whole number")),
        ({"n_actions": 0}, parts(field="metadata.n_actions", found="0", expected="a whole number, at least 1")),
        (
            {"format": 2},
            parts(
                field="metadata.format",
                found="2",
                expected="a whole number, at most 1",
                hint="written by a newer suite",
            ),
        ),
        ({"command": ["run"]}, parts(field="metadata.command", found="a list", expected="an object")),
        ({"agent": "a.zip"}, parts(field="metadata.agent", found="'a.zip'", expected="an object")),
        (
            {"run": {"random_sets": [4]}},
            parts(field="run.random_sets", found="a list", expected="a list of some of the positions from 1"),
        ),
    ],
)
def test_a_field_that_is_not_what_it_must_be_is_named(changed: dict[str, Any], error: Parts) -> None:
    metadata = {key: value for key, value in {**METADATA, **changed}.items() if value is not ...}
    with raises(InputError, file=PATH, **error):
        header_from(metadata, PATH)


@pytest.mark.parametrize("metadata", [None, [], "text", 3])
def test_metadata_that_are_no_object_are_refused(metadata: Any) -> None:
    with raises(InputError, file=PATH, field="metadata", found=shown(metadata), expected="an object"):
        header_from(metadata, PATH)
