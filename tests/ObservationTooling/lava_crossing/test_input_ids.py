from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from Neuron_Selection.errors import InputError
from Neuron_Selection.ObservationTooling.lava_crossing.input_ids import InputId, format_input_id, parse_input_id
from tests.raised import raises

places = st.builds(
    InputId,
    env_id=st.text(min_size=1),
    seed=st.integers(0),
    cell=st.tuples(st.integers(0, 100), st.integers(0, 100)),
    heading=st.integers(0, 3),
    number=st.integers(0),
)


@given(places)
def test_an_id_that_was_written_reads_back(place):
    assert parse_input_id(format_input_id(place)) == place


@given(st.text("-0123,a"))
def test_a_text_that_is_read_writes_back(text):
    try:
        place = parse_input_id(text)
    except InputError:
        return
    assert format_input_id(place) == text


def test_the_guides_own_id_is_read():
    text = "MiniGrid-LavaCrossingS11N5-v0-81110-6,4,0-0763"
    place = InputId(env_id="MiniGrid-LavaCrossingS11N5-v0", seed=81110, cell=(6, 4), heading=0, number=763)
    assert parse_input_id(text) == place
    assert format_input_id(place) == text


@pytest.mark.parametrize(
    "text",
    [
        "", "my input", "0", "-81110-6,4,0-0763", "env-81110-6,4,4-0763", "env-81110-6,4-0763", "env-81110-6,4,0-763",
        "env-081110-6,4,0-0763", "env-81110-06,4,0-0763", "env-81110-6,4,0-00763", "env-81110-6;4;0-0763",
        "env-٣-6,4,0-0763", "env-81110-6,4,0-0763\n", "env-81110-6,-4,0-0763",
    ],
)  # fmt: skip
def test_ids_of_other_forms_are_refused_with_the_form(text):
    with raises(InputError, file=f"input id {text!r}", names=["<env id>-<seed>-<x>,<y>,<heading>-<number>"]):
        parse_input_id(text)
