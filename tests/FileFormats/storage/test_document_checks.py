"""Documents checked against a schema: the message names file, field, what was found and what was expected."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
import pytest

from Neuron_Selection.errors import InputError
from Neuron_Selection.FileFormats.storage.document_checks import Index, checked_document
from tests.raised import raises


class Row(msgspec.Struct):
    name: str
    index: Index
    share: float = 0.5


class Table(msgspec.Struct):
    rows: Annotated[list[Row], msgspec.Meta(min_length=1)]
    named: dict[str, Row] = {}
    kind: Literal["a", "b"] = "a"


ROW = {"name": "x", "index": 1}


def test_a_document_of_the_schema_is_converted_and_other_keys_are_ignored() -> None:
    table = checked_document({"rows": [{**ROW, "other": 1}], "more": None}, Table, "t.json")
    assert (table.rows[0].name, table.rows[0].index, table.rows[0].share) == ("x", 1, 0.5)


@pytest.mark.parametrize(
    ("document", "field", "found", "expected"),
    [
        ([], "", "a list", "an object"),
        ({"rows": []}, "rows", "a list of length 0", "a list of length at least 1"),
        ({"rows": [3]}, "rows[0]", "3", "an object"),
        ({"rows": [{**ROW, "name": None}]}, "rows[0].name", "null", "text"),
        ({"rows": [ROW, {**ROW, "index": -1}]}, "rows[1].index", "-1", "a whole number, at least 0"),
        ({"rows": [{**ROW, "index": True}]}, "rows[0].index", "true", "a whole number"),
        ({"rows": [{**ROW, "index": 1.0}]}, "rows[0].index", "1.0", "a whole number"),
        ({"rows": [{**ROW, "share": "1"}]}, "rows[0].share", "'1'", "a finite number"),
        ({"rows": [{**ROW, "share": 10**400}]}, "rows[0].share", "an integer of 1329 bits", "a finite number"),
        ({"rows": [ROW], "named": {"k": 1}}, "named[...]", "a whole number", "an object"),
    ],
)
def test_a_wrong_value_is_named_by_its_field(document: Any, field: str, found: str, expected: str) -> None:
    with raises(InputError, file="t.json", field=field, found=found, expected=expected, hint="try again"):
        checked_document(document, Table, "t.json", hint="try again")


@pytest.mark.parametrize(
    ("document", "field", "problem"),
    [
        ({}, "part.rows", "is missing"),
        ({"rows": [{"name": "x"}]}, "part.rows[0].index", "is missing"),
        ({"rows": [ROW], "kind": "c"}, "part.kind", "Invalid enum value 'c'"),
    ],
)
def test_what_is_missing_or_not_one_of_the_choices_is_named(document: Any, field: str, problem: str) -> None:
    with raises(InputError, file="t.json", field=field, problem=problem):
        checked_document(document, Table, "t.json", field="part")
