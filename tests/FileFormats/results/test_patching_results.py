from __future__ import annotations

import json
from pathlib import Path

import pytest

from Neuron_Selection.errors import InputError, UsageError
from Neuron_Selection.FileFormats.provenance import meta_path
from Neuron_Selection.FileFormats.results.patching_results import (
    load_patching_results,
    results_path,
    save_patching_results,
    stored_results,
)
from Neuron_Selection.FileFormats.storage.json_files import json_bytes
from tests.raised import parts, raises

PATH = Path("patching.json")
META = {"format": 1, "suite_version": "x"}


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def record(**changed):
    fields = {
        "baseline_output": [[0.5, 1.5]],
        "baseline_action": 1,
        "patched_output": [[2, 1.25]],
        "patched_action": 0,
        "action_changed": True,
        "patched_layers": ["q_net.0"],
    }
    return {key: value for key, value in {**fields, **changed}.items() if value is not ...}


def load(document):
    PATH.write_bytes(document if isinstance(document, bytes) else json.dumps(document).encode())
    return load_patching_results(PATH)


def test_one_experiment_comes_back_as_it_was_saved():
    results = {"x-6,4,0": record(), "ö": record(action_changed=False)}
    assert save_patching_results(PATH, results, metadata=META) == PATH
    assert load_patching_results(PATH) == {"": results}
    assert PATH.read_bytes() == json_bytes(results)


def test_several_experiments_come_back_under_their_names():
    results = {
        "exp_1_q_net.0": {"patch_configuration": {"q_net.0": [1]}, "results": {"a": record(), "b": record()}},
        "exp_2_q_net.2": {"patch_configuration": {"q_net.2": "all"}, "results": {"a": record()}},
    }
    save_patching_results(PATH, results, metadata=META)
    assert load_patching_results(PATH) == {name: entry["results"] for name, entry in results.items()}


def test_an_input_called_like_a_field_is_an_input():
    results = {"exp_1_x": {"patch_configuration": {"x": [1]}, "results": {"baseline_action": record()}}}
    assert load(results) == {"exp_1_x": {"baseline_action": record()}}


def test_the_published_file_of_one_input_is_read(published_files):
    path = published_files / "agent159_denoising_81102_1_1_1_0006.json"
    stored = json.loads(path.read_text())
    loaded = load_patching_results(path)
    assert list(loaded) == list(stored)
    for name, entry in stored.items():
        (result,) = loaded[name].values()
        assert entry["results"]["action_changed"] in ("True", "False")
        assert result["action_changed"] is (entry["results"]["action_changed"] == "True")
        assert result["patched_output"] == entry["results"]["patched_output"]


def test_a_file_organised_by_input_keeps_the_id_it_stores():
    entry = {"patch_configuration": {}, "results": record(), "patch_analysis": {}}
    assert load({"exp_1": {**entry, "input_id": "x,1"}, "exp_2": entry}) == {
        "exp_1": {"x,1": record()},
        "exp_2": {"": record()},
    }


@pytest.mark.parametrize(("stored", "read"), [("True", True), ("False", False), (True, True), (False, False)])
def test_action_changed_is_read_as_a_boolean(stored, read):
    assert load({"a": record(action_changed=stored)})[""]["a"]["action_changed"] is read


BY_INPUT = {"exp": {"results": record()}}


@pytest.mark.parametrize(
    ("document", "error"),
    [
        (b"", parts(found="an empty file", expected="JSON")),
        ([], parts(found="a list", expected="an object of results")),
        ({}, parts(found="an object", expected="an object of results")),
        ({"a": 1}, parts(field="'a'", found="1", expected="a result")),
        ({"exp": {"results": {"a": 1}}}, parts(field="'exp'.'a'", found="1", expected="an object")),
        ({"a": record(patched_output=...)}, parts(field="'a'.patched_output", problem="is missing")),
        (
            {"exp": {"results": {"a": record(action_changed=...)}}},
            parts(field="'exp'.'a'.action_changed", problem="is missing"),
        ),
        ({"a": {"results": "text"}}, parts(field="'a'.baseline_output", problem="is missing")),
        (
            {"a": record(baseline_output=[0.5, 1.5])},
            parts(field="'a'.baseline_output", found="a list of length 2", expected="a list of length at most 1"),
        ),
        (
            {"a": record(baseline_output=[[]])},
            parts(field="'a'.baseline_output[0]", found="a list of length 0", expected="a list of length at least 1"),
        ),
        (
            {"a": record(patched_output=[[1, 2], [3, 4]])},
            parts(field="'a'.patched_output", found="a list of length 2", expected="a list of length at most 1"),
        ),
        (
            {"a": record(patched_output=[[1, "2"]])},
            parts(field="'a'.patched_output[0][1]", found="'2'", expected="a finite number"),
        ),
        (
            {"a": record(patched_output=[[1, True]])},
            parts(field="'a'.patched_output[0][1]", found="true", expected="a finite number"),
        ),
        (
            b'{"a": ' + json.dumps(record(patched_output=[[1, 2]])).replace("[[1, 2]]", "[[1, 1e999]]").encode() + b"}",
            parts(field="'a'.patched_output[0][1]", found="the literal 1e999", expected="finite numbers"),
        ),
        ({"a": record(baseline_output=None)}, parts(field="'a'.baseline_output", found="null", expected="a list")),
        (
            {"a": record(baseline_action=2)},
            parts(field="'a'.baseline_action", found="2", expected="an action from 0 to 1"),
        ),
        (
            {"a": record(patched_action=-1)},
            parts(field="'a'.patched_action", found="-1", expected="a whole number, at least 0"),
        ),
        (
            {"a": record(patched_action=True)},
            parts(field="'a'.patched_action", found="true", expected="a whole number"),
        ),
        ({"a": record(patched_action=1.0)}, parts(field="'a'.patched_action", found="1.0", expected="a whole number")),
        (
            {"a": record(action_changed="true")},
            parts(field="'a'.action_changed", found="'true'", expected="true or false"),
        ),
        ({"a": record(action_changed=1)}, parts(field="'a'.action_changed", found="1", expected="true or false")),
        (
            {"a": record(action_changed=["True"])},
            parts(field="'a'.action_changed", found="a list", expected="true or false"),
        ),
        (
            {"exp": {"results": record(baseline_action="1")}},
            parts(field="'exp'.baseline_action", found="'1'", expected="a whole number"),
        ),
        (
            {"exp": {"results": record(), "input_id": [1]}},
            parts(field="'exp'.input_id", found="a list", expected="text"),
        ),
    ],
    ids=range(24),
)
def test_faulty_results_are_refused_with_their_place(document, error):
    with raises(InputError, file="patching.json", **error):
        load(document)


def test_a_missing_file_is_an_error_that_names_the_script_that_makes_it():
    with raises(InputError, file="patching.json", problem="no such file", hint="activation_patching.py makes it"):
        load_patching_results(PATH)


def test_metadata_is_stored_next_to_the_results_with_their_hash():
    save_patching_results(PATH, {"a": record()}, metadata=META)
    assert meta_path(PATH) == Path("patching.meta.json")
    metadata = json.loads(meta_path(PATH).read_text())
    assert metadata == {**META, "results_sha256": metadata["results_sha256"]}
    assert stored_results(PATH).complete == metadata


PAIR = parts(problem="does not belong to patching.json", hint="run activation_patching.py again")


@pytest.mark.parametrize(
    ("meta", "error"),
    [
        ({**META, "results_sha256": "0" * 64}, PAIR),
        (META, PAIR),
        (
            {"format": 2},
            parts(
                field="metadata.format",
                found="2",
                expected="a whole number, at most 1",
                hint="written by a newer suite",
            ),
        ),
        ([], parts(field="metadata.format", found="null", expected="a whole number, at most 1")),
    ],
)
def test_metadata_of_other_results_is_an_error(meta, error):
    save_patching_results(PATH, {"a": record()}, metadata=META)
    meta_path(PATH).write_text(json.dumps(meta))
    with raises(InputError, file="patching.meta.json", **error):
        load_patching_results(PATH)
    assert stored_results(PATH).complete is None


def test_results_that_changed_since_have_no_metadata():
    save_patching_results(PATH, {"a": record()}, metadata=META)
    PATH.write_bytes(json_bytes({"b": record()}))
    assert stored_results(PATH).complete is None
    PATH.unlink()
    assert stored_results(PATH).complete is None


@pytest.mark.parametrize("prefix", ["patching", "a b", "ö-1,2", "x.y", "console", "COM10", "a" * 245])
def test_a_plain_prefix_is_a_file_name(prefix):
    assert results_path(Path("results"), prefix) == Path("results") / f"{prefix}.json"


NOT_PLAIN = ["", ".", "..", "../x", "a/b", "a\\b", "C:x", "a*", "a?", 'a"b', "a<", "a|", "a\n", "a\0", "\ud800"]
NOT_PLAIN += ["CON", "nul.x", "lpt1"]


@pytest.mark.parametrize(
    ("prefix", "error"),
    [
        *[(prefix, parts(found=repr(prefix), expected="a plain file name")) for prefix in NOT_PLAIN],
        ("x.meta", parts(problem="'x.meta' must not end in .meta, as metadata files do")),
        ("a" * 246, parts(found='246 characters', expected='a shorter file name')),
        ("ö" * 123, parts(found='123 characters', expected='a shorter file name')),
    ],
)  # fmt: skip
def test_a_prefix_that_is_no_file_name_everywhere_is_refused(prefix, error):
    with raises(UsageError, field="output prefix", **error):
        results_path(Path("results"), prefix)
