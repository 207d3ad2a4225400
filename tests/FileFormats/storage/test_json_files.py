from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from Neuron_Selection.errors import InputError
from Neuron_Selection.FileFormats.storage.json_files import (
    json_bytes,
    large_json_bytes,
    parse_edited_json,
    read_edited_json,
)
from tests.raised import parts, raises


def documents_of(integers):
    return st.recursive(
        st.none() | st.booleans() | integers | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
        lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    )


documents = documents_of(st.integers())


@pytest.mark.parametrize(
    ("data", "error"),
    [
        (b"", parts(found="an empty file", expected="JSON")),
        (b" \r\n", parts(found="an empty file", expected="JSON")),
        (b'{"a" 1}', parts(field="line 1, column 6", found="invalid JSON (Expecting ':' delimiter)", expected="JSON")),
        (b'{"a":\n  x}', parts(field="line 2, column 3", found="invalid JSON (Expecting value)", expected="JSON")),
        ('{"a": 1}'.encode("utf-16"), parts(found="bytes that are not UTF-8 (at byte 0)", expected="JSON")),
        (b'{"a": "\xff"}', parts(found="bytes that are not UTF-8 (at byte 7)", expected="JSON")),
        (b"PK\x03\x04....", parts(found="a zip file (.npz, .zip)", expected="JSON")),
        (b'{"a": 1, "b": 2, "a": 3}', parts(field="'a'", found="a duplicate key", expected="unique keys")),
        (b'[{"x": {"b": 1, "b": 1}}]', parts(field="[0].x.b", found="a duplicate key", expected="unique keys")),
        (b"[NaN]", parts(field="[0]", found="the literal NaN", expected="finite numbers")),
        (b'{"a": -Infinity}', parts(field="'a'", found="the literal -Infinity", expected="finite numbers")),
        (
            b'{"a": [], "b,c": {"input": [[0, 1], [2, NaN]]}, "d": NaN}',
            parts(field="'b,c'.input[1][1]", found="the literal NaN", expected="finite numbers"),
        ),
        (
            b'{"o": {"q_net.0": {"c": NaN, "c": 1}}}',
            parts(field="'o'.'q_net.0'.c", found="a duplicate key", expected="unique keys"),
        ),
        (b"NaN", parts(found="the literal NaN", expected="finite numbers")),
        (b'[1, {"a": -1e400}]', parts(field="[1].a", found="the literal -1e400", expected="finite numbers")),
        (b"[1.5e308, 1e0309]", parts(field="[1]", found="the literal 1e0309", expected="finite numbers")),
        (
            b"[1" + b"0" * 250 + b"e99]",
            parts(field="[0]", found="the literal 1" + "0" * 250 + "e99", expected="finite numbers"),
        ),
        (b"[" * 100_000, parts(problem="is nested too deeply")),
        (b"[" + b"9" * 5000 + b"]", parts(found="an integer of thousands of digits", expected="ordinary numbers")),
    ],
    ids=range(19),
)
def test_what_python_would_accept_or_fail_on_is_named(data, error):
    with raises(InputError, file="notes.json", **error):
        parse_edited_json(data, "notes.json")


def test_the_last_of_200000_keys_twice_is_found():
    data = json.dumps({str(n): n for n in range(200_000)})[:-1] + ', "199999": 0}'
    with raises(InputError, file="notes.json", field="'199999'", found="a duplicate key", expected="unique keys"):
        parse_edited_json(data.encode(), "notes.json")


def test_a_byte_order_mark_and_windows_line_ends_are_fine(tmp_path):
    (tmp_path / "notes.json").write_bytes(b'\xef\xbb\xbf{\r\n"a": 1\r\n}\r\n')
    assert read_edited_json(tmp_path / "notes.json") == {"a": 1}


def test_a_missing_file_is_an_error_with_the_hint(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with raises(InputError, file="notes.json", problem="no such file", hint="some script makes it"):
        read_edited_json(tmp_path.__class__("notes.json"), hint="some script makes it")


@given(documents)
def test_parsing_undoes_writing_and_the_bytes_are_the_same_every_time(document):
    data = json_bytes(document)
    assert data == json_bytes(json.loads(json.dumps(document)))
    assert data.endswith(b"\n")
    assert parse_edited_json(data, "notes.json") == document


def test_what_is_written_keeps_the_order_of_keys_and_refuses_nan():
    assert json_bytes({"ö": [1], "a": None}) == '{\n  "ö": [\n    1\n  ],\n  "a": null\n}\n'.encode()
    with pytest.raises(ValueError, match="not JSON compliant"):
        json_bytes([float("nan")])


@given(documents_of(st.integers(-(2**63), 2**63 - 1)))
def test_large_documents_are_written_as_small_ones_are(document):
    assert parse_edited_json(large_json_bytes(document), "notes.json") == document
    assert large_json_bytes({"a": {}, "b": [1, [True, "é"]]}) == json_bytes({"a": {}, "b": [1, [True, "é"]]})
    assert large_json_bytes([1.5, None]) == json_bytes([1.5, None])
    with pytest.raises(ValueError, match="not JSON compliant"):
        large_json_bytes({"a": [1.0, document, float("nan")]})
