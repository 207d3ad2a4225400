from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from Neuron_Selection.errors import InputError, SuiteWarning, UsageError
from Neuron_Selection.FileFormats.agent_zip.spaces import BoxSpace, DictSpace, DiscreteSpace
from Neuron_Selection.FileFormats.inputs import (
    ids_from_arguments,
    inputs_from_arrays,
    load_inputs,
    save_inputs,
)
from Neuron_Selection.FileFormats.storage.known_names import refuse_unknown
from tests.raised import parts, raises

BOUNDS = np.full(4, 3.4e38, np.float32)
SPACE = BoxSpace(shape=(4,), dtype=np.dtype(np.float32), low=-BOUNDS, high=BOUNDS)
NAMED = DictSpace(spaces={"view": SPACE, "heading": DiscreteSpace(n=4)})
GUIDE_ID = "MiniGrid-LavaCrossingS11N5-v0-81110-6,4,0-0763"
FINE = "[1, 2, 3, 4]"

printable = st.text(st.characters(exclude_categories=["C", "Z"]) | st.just(" "), min_size=1, max_size=30)
vectors = arrays.arrays(np.float32, 4, elements=st.floats(-(2.0**127), 2.0**127, width=32))


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def load(text, space=SPACE):
    Path("clean.json").write_bytes(text if isinstance(text, bytes) else text.encode("utf-8", "surrogatepass"))
    return load_inputs(Path("clean.json"), space)


@pytest.mark.parametrize("entry", ['{"input": [1, 2.5, -3, 4e0]}', "[1, 2.5, -3, 4e0]", '{"input": [[1, 2.5, -3, 4]]}'])
def test_both_published_forms_give_the_same_observations(entry):
    inputs = load(f'{{"{GUIDE_ID}": {entry}, "other": [0, 0, 0, 0]}}')
    assert inputs.ids == (GUIDE_ID, "other")
    assert inputs.observations.dtype == np.float32
    assert inputs.observations.tolist() == [[1, 2.5, -3, 4], [0, 0, 0, 0]]
    assert inputs.where == "clean.json"
    assert len(inputs.sha256) == 64


def test_the_published_files_are_read(published_files):
    bounds = np.ones(106, np.float32)
    flat = BoxSpace(shape=(106,), dtype=np.dtype(np.float32), low=-bounds, high=bounds)
    clean = load_inputs(published_files / "v6_clean_inputs.json", DictSpace(spaces={"MLP_input": flat}))
    corrupted = load_inputs(published_files / "v6_corrupted_inputs.json", flat)
    assert clean.ids == corrupted.ids
    assert len(clean.ids) == 6
    assert clean.observations["MLP_input"].shape == corrupted.observations.shape == (6, 106)
    stored = json.loads((published_files / "v6_clean_inputs.json").read_text())[clean.ids[2]]["input"]
    assert clean.observations["MLP_input"][2].tolist() == np.array(stored, np.float32).tolist()


def test_a_dict_observation_is_stored_under_input():
    inputs = load('{"a": {"input": {"view": [1, 2, 3, 4], "heading": 3}, "seed": 5}}', NAMED)
    assert inputs.observations["view"].tolist() == [[1, 2, 3, 4]]
    assert inputs.observations["heading"].tolist() == [3]


def test_clusters_are_kept_as_text_and_other_keys_are_ignored():
    inputs = load(
        f'{{"a": {{"input": {FINE}, "cluster": 7, "note": []}}, "b": {FINE}, "c": {{"input": {FINE}, "cluster": "x"}}}}'
    )
    assert inputs.clusters == {"a": "7", "c": "x"}


@pytest.mark.parametrize(
    "input_id",
    [
        GUIDE_ID,
        "../../etc",
        "a/b\\c:d",
        "file",
        "allow_pickle",
        "arr_0",
        "__metadata__",
        "a_q_net.0",
        "ö €",
        "x" * 1000,
    ],
)
def test_an_id_is_opaque(input_id):
    inputs = load(json.dumps({input_id: [1, 2, 3, 4]}))
    assert inputs.ids == (input_id,)
    assert inputs.selected([input_id]).ids == (input_id,)


def test_ids_that_differ_only_in_case_or_normal_form_stay_apart():
    ids = ["a", "A", "\u00e9", "e\u0301"]
    inputs = load(json.dumps({input_id: [n, 0, 0, 0] for n, input_id in enumerate(ids)}))
    assert inputs.selected(ids[::-1]).observations[:, 0].tolist() == [3, 2, 1, 0]


LENGTH = "1 to 1,000"
CUT = f"'{'y' * 27}...{'y' * 28}'"
PRINTABLE = "the input id contains an unprintable character"


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("", parts(found="an empty file", expected="JSON")),
        ('{"a" 1}', parts(field="line 1, column 6", found="invalid JSON (Expecting ':' delimiter)", expected="JSON")),
        (f'{{"a": {FINE}}}'.encode("utf-16"), parts(found="bytes that are not UTF-8 (at byte 0)", expected="JSON")),
        (f'{{"a": {FINE}, "a": {FINE}}}', parts(field="'a'", found="a duplicate key", expected="unique keys")),
        (
            f'{{"a": {{"input": 1, "input": {FINE}}}}}',
            parts(field="'a'.input", found="a duplicate key", expected="unique keys"),
        ),
        (f"[{FINE}]", parts(found="a list", expected="an object {id: {'input': [...]}}")),
        ("3.5", parts(found="3.5", expected="an object {id: {'input': [...]}}")),
        ("{}", parts(problem="contains no inputs")),
        (
            f'{{"a": {{"inputs": {FINE}, "x": 1}}}}',
            parts(field="'a'", problem="has no key 'input' (its keys: 'inputs', 'x')"),
        ),
        ('{"a": {}}', parts(field="'a'", problem="has no key 'input' (its keys: none)")),
        ('{"a": [NaN, 1, 2, 3]}', parts(field="'a'[0]", found="the literal NaN", expected="finite numbers")),
        (
            '{"a": {"input": [1, Infinity, 2, 3]}}',
            parts(field="'a'.input[1]", found="the literal Infinity", expected="finite numbers"),
        ),
        ('{"a": [1, 2, 1e39, 4]}', parts(field="'a'[2]", found="1e+39", expected="at most 3.4e+38 in size")),
        ('{"a": [1, 2, 1e400, 4]}', parts(field="'a'[2]", found="the literal 1e400", expected="finite numbers")),
        ('{"a": {"input": [1, null, 3, 4]}}', parts(field="'a'.input", found="null", expected="numbers")),
        ('{"a": null}', parts(field="'a'", found="null", expected="numbers")),
        ('{"a": [1, true, 3, 4]}', parts(field="'a'", found="true", expected="numbers")),
        ('{"a": ["1", "2", "3", "4"]}', parts(field="'a'", found="'1'", expected="numbers")),
        ('{"a": [1, [2, 3], 4]}', parts(field="'a'", found="lists of unequal lengths", expected="a full array")),
        (
            f'{{"b": {FINE}, "a": {{"input": [1, 2, 3]}}}}',
            parts(field="'a'.input", found="3 numbers", expected="4 numbers"),
        ),
        ('{"a": [1, 2, 3, 4, 5, 6, 7, 8]}', parts(field="'a'", found="8 numbers", expected="4 numbers")),
        (f'{{"a": [{FINE}, {FINE}]}}', parts(field="'a'", found="an array of 2 x 4", expected="4 numbers")),
        (f'{{"": {FINE}}}', parts(field="''", found="an input id of 0 characters", expected=LENGTH)),
        (f'{{"a\\nb": {FINE}}}', parts(field="'a\\nb'", problem=PRINTABLE)),
        (f'{{"a\\u001b[31m": {FINE}}}', parts(field="'a\\x1b[31m'", problem=PRINTABLE)),
        (f'{{"a\\u0000": {FINE}}}', parts(field="'a\\x00'", problem=PRINTABLE)),
        (f'{{"\\ud800": {FINE}}}', parts(field="'\\ud800'", problem=PRINTABLE)),
        (f'{{"{"y" * 10_000}": {FINE}}}', parts(field=CUT, found="an input id of 10,000 characters", expected=LENGTH)),
        (f'{{"a": {"[" * 100_000}', parts(problem="is nested too deeply")),
        (
            f'{{"a": {"[" * 20}1{"]" * 20}}}',
            parts(field="'a'", found="lists nested more than 8 deep", expected="an array"),
        ),
        (
            f'{{"a": [1, 2, 3, {"9" * 5000}]}}',
            parts(found="an integer of thousands of digits", expected="ordinary numbers"),
        ),
        (f'{{"a": [1, 2, 3, {"9" * 400}]}}', parts(field="'a'", found="an integer too large", expected="numbers")),
        (
            f'{{"a": {{"input": {FINE}, "cluster": true}}}}',
            parts(field="'a'.cluster", found="true", expected="text or a whole number"),
        ),
        (
            f'{{"a": {{"input": {FINE}, "cluster": [1]}}}}',
            parts(field="'a'.cluster", found="a list", expected="text or a whole number"),
        ),
        (b"PK\x03\x04 an npz", parts(found="a zip file (.npz, .zip)", expected="JSON")),
    ],
    ids=range(35),
)
def test_a_faulty_file_is_an_error_with_field_found_and_expected(text, error):
    with raises(InputError, file="clean.json", **error):
        load(text)


def test_a_missing_file_is_an_error_that_describes_an_inputs_file():
    with raises(InputError, file="absent.json", problem="no such file", hint=re.compile("an inputs file is .*")):
        load_inputs(Path("absent.json"), SPACE)


def test_a_byte_order_mark_is_accepted():
    assert load(b"\xef\xbb\xbf" + f'{{"a": {FINE}}}'.encode()).ids == ("a",)


def test_values_out_of_bounds_are_a_warning():
    narrow = BoxSpace(shape=(4,), dtype=SPACE.dtype, low=BOUNDS * 0, high=BOUNDS * 0 + 3)
    with pytest.warns(SuiteWarning, match=r"^clean\.json: 1 inputs are outside .* \(first: 'a'\)$"):
        load(f'{{"a": {FINE}}}', narrow)


@given(
    st.dictionaries(printable.filter(str.isprintable), vectors, min_size=1, max_size=5),
    st.dictionaries(printable, printable),
)
def test_loading_undoes_saving_bit_for_bit(observations, clusters):
    clusters |= dict.fromkeys(list(observations)[:1], "first")
    save_inputs(Path("saved.json"), observations, clusters=clusters)
    inputs = load_inputs(Path("saved.json"), SPACE)
    assert inputs.ids == tuple(observations)
    assert inputs.observations.tobytes() == b"".join(vector.tobytes() for vector in observations.values())
    assert inputs.clusters == {key: clusters[key] for key in observations if key in clusters}
    save_inputs(Path("again.json"), observations, clusters=clusters)
    assert Path("saved.json").read_bytes() == Path("again.json").read_bytes()


def test_an_image_is_saved_as_nested_lists():
    save_inputs(Path("saved.json"), {"a": np.arange(4, dtype=np.uint8).reshape(1, 2, 2)})
    assert Path("saved.json").read_text() == '{\n"a": {"input": [[[0, 1], [2, 3]]]}\n}\n'


@pytest.mark.parametrize(
    ("observations", "error"), [({"a\n": np.zeros(4)}, InputError), ({"a": np.array([np.nan])}, ValueError)]
)
def test_what_could_not_be_read_back_is_not_written(observations, error):
    with pytest.raises(error):
        save_inputs(Path("saved.json"), observations)
    assert not Path("saved.json").exists()


def test_selected_inputs_come_in_the_order_asked_for():
    inputs = load('{"a": [1, 0, 0, 0], "b": [2, 0, 0, 0], "c,d": [3, 0, 0, 0]}')
    assert inputs.selected(None) is inputs
    chosen = inputs.selected(["c,d", "a"])
    assert chosen.ids == ("c,d", "a")
    assert chosen.observations[:, 0].tolist() == [3, 1]


@pytest.mark.parametrize(
    ("asked", "error"),
    [
        (
            ["door-l"],
            parts(file="clean.json", problem="unknown input id 'door-l'; closest matches: 'door-2', 'door-1'"),
        ),
        (["zzz"], parts(file="clean.json", problem="unknown input id 'zzz'")),
        (["c,", "d"], parts(file="clean.json", problem="unknown input id 'c,'; closest matches: 'c,d'")),
        (["c,d", "c,d"], parts(problem="input id 'c,d' is given twice")),
    ],
)
def test_an_unknown_id_names_the_nearest_and_one_asked_for_twice_is_an_error(asked, error):
    inputs = load(f'{{"door-1": {FINE}, "door-2": {FINE}, "c,d": {FINE}}}')
    with raises(InputError if "file" in error else UsageError, **error):
        inputs.selected(asked)
    refuse_unknown(["c,d"], inputs.ids, what="input id", where="clean.json")


def test_arguments_are_ids_and_never_split_at_commas():
    assert ids_from_arguments(None) is None
    assert ids_from_arguments([GUIDE_ID, "b"]) == [GUIDE_ID, "b"]


def test_an_at_sign_names_a_file_of_ids():
    Path("ids.txt").write_bytes(f"\ufeff{GUIDE_ID}\r\n\r\na b\n".encode())
    assert ids_from_arguments(["first", "@ids.txt"]) == ["first", GUIDE_ID, "a b"]


@pytest.mark.parametrize(
    ("data", "error"),
    [
        (b"", parts(problem="contains no input ids")),
        (b"\n\r\n", parts(problem="contains no input ids")),
        (b"a\xff", parts(found="bytes that are not UTF-8 (at byte 1)", expected="text")),
        (None, parts(problem="no such file", hint="--input_ids @FILE reads one id per line")),
    ],
)
def test_a_faulty_file_of_ids_is_an_error(data, error):
    if data is not None:
        Path("ids.txt").write_bytes(data)
    with raises(InputError, file="ids.txt", **error):
        ids_from_arguments(["@ids.txt"])


def test_arrays_are_inputs_too():
    batch = inputs_from_arrays(np.eye(4)[:2], SPACE)
    assert batch.ids == ("0", "1")
    assert batch.where == "arrays"
    assert batch.observations.tolist() == np.eye(4)[:2].tolist()
    assert inputs_from_arrays({"x,y": np.ones(4), "z": [0, 0, 0, 0]}, SPACE).ids == ("x,y", "z")
    named = inputs_from_arrays({"view": np.eye(4)[:2], "heading": np.array([1, 3])}, NAMED)
    assert named.ids == ("0", "1")
    assert named.observations["heading"].tolist() == [1, 3]


@pytest.mark.parametrize(
    ("observations", "space", "error"),
    [
        ([], SPACE, parts(problem='contain no inputs')),
        ({1: np.ones(4)}, SPACE, parts(field='input id', found='1', expected='text')),
        ({"a": np.ones(3)}, SPACE, parts(field="'a'", found='3 numbers', expected='4 numbers')),
        (np.ones((2, 3)), SPACE, parts(field="'0'", found='3 numbers', expected='4 numbers')),
        ({"view": np.eye(4), "heading": [1, 2, 3]}, NAMED,
         parts(found='4 of view, 3 of heading', expected='the same number of observations for each key')),
        ({"view": np.eye(4)[:2], "heading": [1, 2, 3]}, NAMED,
         parts(found='2 of view, 3 of heading', expected='the same number of observations for each key')),
        ({"view": np.ones(4), "heading": 3}, NAMED,
         parts(found='heading: 3', expected='a batch', hint='[observation] is a batch of one')),
        (5, SPACE, parts(found='5', expected='a batch', hint='[observation] is a batch of one')),
    ],
)  # fmt: skip
def test_faulty_arrays_are_errors(observations, space, error):
    with raises(InputError, file="arrays", **error):
        inputs_from_arrays(observations, space)
