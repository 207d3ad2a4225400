from __future__ import annotations

import csv
import io
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from Neuron_Selection.FileFormats.storage.csv_tables import csv_bytes

FINITE = st.floats(allow_nan=False, allow_infinity=False)


def test_cells_say_what_they_hold_and_none_is_empty() -> None:
    rows = [{"a": None, "b": True, "c": 0.1, "left out": 1}, {"a": "x,y", "b": False, "c": 3}]
    assert csv_bytes(["a", "b", "c"], rows) == b'a,b,c\n,true,0.1\n"x,y",false,3\n'


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_number_that_is_not_finite_is_a_fault_of_ours(value: float) -> None:
    with pytest.raises(ValueError, match="tables hold finite numbers only"):
        csv_bytes(["a"], [{"a": value}])


@given(st.lists(st.tuples(FINITE, st.text(st.characters(codec="utf-8", exclude_characters="\r\n\0")))))
def test_what_is_read_back_is_what_was_written(pairs: list[tuple[float, str]]) -> None:
    data = csv_bytes(["number", "text"], [{"number": number, "text": text} for number, text in pairs])
    _, *lines = csv.reader(io.StringIO(data.decode(), newline=""))
    assert [(float(number), text) for number, text in lines] == pairs
