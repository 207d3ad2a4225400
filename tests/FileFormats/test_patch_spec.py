from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from Neuron_Selection.errors import UsageError
from Neuron_Selection.FileFormats.patch_spec import (
    SPEC_LIMIT,
    experiment_name,
    format_patch_spec,
    parse_patch_spec,
    patch_configuration,
)

WIDTHS = {"q_net.0": 8, "q_net.1": 8, "q_net.2": 6, "q_net.4": 3}
ALIASES = {f"q_net.{layer}": layer for layer in WIDTHS}
REFUSED = {
    "q_net": "a container of layers",
    "q_net.0.weight": "a parameter, not a layer",
    "q_net_target.0": "the target network takes no part in decisions",
    "dead_end": "never reached in the forward pass",
    "q_net.shared": "run twice in one forward pass",
}
LAYERS = "layers (neurons): q_net.0 (8), q_net.1 (8), q_net.2 (6), q_net.4 (3)"
NUMBER = "expected a neuron index in the digits 0-9, a range such as 5-10, or 'all'"
EMPTY = "empty patch spec, expected 'layer:neurons;layer:neurons'"

layer_names = st.text(alphabet="abqnet_0123456789.", min_size=1, max_size=12)
patches = st.dictionaries(
    layer_names,
    st.just("all") | st.lists(st.integers(0, 10**6), min_size=1, max_size=20, unique=True).map(tuple),
    min_size=1,
    max_size=5,
)


def resolve(spec):
    return parse_patch_spec(spec).resolve(WIDTHS, aliases=ALIASES, refused=REFUSED)


@pytest.mark.parametrize(
    ("spec", "caret", "message"),
    [
        ("", "^", EMPTY),
        (";", "^", EMPTY),
        (" ; ;", "^", EMPTY),
        ("   ", "^", EMPTY),
        ("\t\n", "^", EMPTY),
        ("q_net.0", "^", "':' is missing, expected 'layer:neurons'"),
        ("q_net.0:1; q_net.2", "           ^", "':' is missing, expected 'layer:neurons'"),
        ("q_net.0:", "        ^", "the neurons after ':' are missing, expected 'all' or indices"),
        (":5", "^", "the layer before ':' is missing"),
        ("q_net.0:5;;q_net.2:1", "          ^", "found nothing between two ';', expected 'layer:neurons'"),
        ("q_net.0:5;;", "          ^", "found nothing between two ';', expected 'layer:neurons'"),
        ("fc1:5", "^", f"unknown layer 'fc1'; {LAYERS}"),
        ("q_net.99:5", "^", f"unknown layer 'q_net.99'; did you mean q_net.4? {LAYERS}"),
        ("q_net.0:1;qnet.2:5", "          ^", f"unknown layer 'qnet.2'; did you mean q_net.2? {LAYERS}"),
        ("q_net.0.weight:5", "^", "layer 'q_net.0.weight': a parameter, not a layer; did you mean q_net.0? "),
        (
            "q_net_target.0:5",
            "^",
            "layer 'q_net_target.0': the target network takes no part in decisions; did you mean q_net.0? ",
        ),
        ("q_net:all", "^", "layer 'q_net': a container of layers; did you mean q_net.4? "),
        ("q_net.4:1;dead_end:0", "          ^", "layer 'dead_end': never reached in the forward pass; "),
        ("q_net.shared:0", "^", "layer 'q_net.shared': run twice in one forward pass; did you mean q_net.4? "),
        ("q_net.0:8", "        ^", "found neuron 8 in q_net.0, expected 0..7"),
        ("q_net.0:1,2,99", "            ^", "found neuron 99 in q_net.0, expected 0..7"),
        ("q_net.0:" + "9" * 21, "        ^", "found a neuron index of 21 digits, expected a smaller one"),
        ("q_net.0:-1", "        ^", f"found '-1', {NUMBER}"),
        ("q_net.0:1_0", "        ^", f"found '1_0', {NUMBER}"),
        ("q_net.0:٣", "        ^", f"found '٣', {NUMBER}"),
        ("q_net.0:+5", "        ^", f"found '+5', {NUMBER}"),
        ("q_net.0:5.0", "        ^", f"found '5.0', {NUMBER}"),
        ("q_net.0:1e3", "        ^", f"found '1e3', {NUMBER}"),
        ("q_net.0:5,,7", "          ^", "found nothing, expected a neuron index"),
        ("q_net.0:5,", "          ^", "found nothing, expected a neuron index"),
        ("q_net.0:5, 5", "           ^", "neuron 5 of q_net.0 is named twice"),
        ("q_net.0:5,005", "          ^", "neuron 5 of q_net.0 is named twice"),
        ("q_net.0:5;q_net.0:7", "          ^", "layer 'q_net.0' is named twice; list its neurons once"),
        ("q_net.0:5;q_net.q_net.0:7", "          ^", "layer 'q_net.q_net.0' is named twice; list its neurons once"),
        ("q_net.0:all,5", "        ^", "'all' cannot be combined with indices"),
        ("q_net.0:5,all", "          ^", "'all' cannot be combined with indices"),
        ("q_net.0:ALL", "        ^", f"found 'ALL', {NUMBER}"),
        ("q_net.0:7-5", "        ^", "found the range 7-5, expected its first index to be the smaller one"),
        ("q_net.0:0,5-12", "          ^", "found neuron 8 in q_net.0, expected 0..7"),
        ("q_net.0:0-999999999999999999", "        ^", "found neuron 8 in q_net.0, expected 0..7"),
        ("q_net.0:5-7,6", "            ^", "neuron 6 of q_net.0 is named twice"),
        ("q_net.0:5-", "        ^", f"found '5-', {NUMBER}"),
        ("q_net.0:5:7", "        ^", f"found '5:7', {NUMBER}"),
        ("q_net.0\uff1a5", "^", "':' is missing, expected 'layer:neurons'"),
        ("q_net.0:5\uff1bq_net.2:1", "        ^", f"found '5\uff1bq_net.2:1', {NUMBER}"),
        ('"q_net.0":5', "^", "unknown layer '\"q_net.0\"'; did you mean q_net.0? "),
    ],
)
def test_a_faulty_spec_is_an_error_with_a_caret_under_the_place(spec, caret, message):
    with pytest.raises(UsageError) as raised:
        resolve(spec)
    error = raised.value
    assert error.exit_code == 2
    assert str(error) == f"patch spec: {message}" + (LAYERS if message.endswith(("; ", "? ")) else "")
    shown_spec = "".join(c if c.isprintable() else "?" for c in spec)
    assert error.detail == (f"  {shown_spec}", f"  {caret}")


def test_of_a_long_spec_the_surroundings_of_the_place_are_shown():
    spec = "q_net.0:" + ",".join(["1"] * 300) + ",x" + ",2" * 300
    with pytest.raises(UsageError) as raised:
        parse_patch_spec(spec)
    excerpt, caret = raised.value.detail
    assert excerpt[caret.index("^")] == "x"
    assert len(excerpt) == 102
    assert excerpt[2:] in spec


@pytest.mark.parametrize(
    ("spec", "patch"),
    [
        ("q_net.0:all", {"q_net.0": "all"}),
        ("q_net.2:5,1,3", {"q_net.2": (5, 1, 3)}),
        ("q_net.0:5-7", {"q_net.0": (5, 6, 7)}),
        ("q_net.0:7,0 - 2,5-5", {"q_net.0": (7, 0, 1, 2, 5)}),
        ("q_net.0:007", {"q_net.0": (7,)}),
        ("q_net.0:5;", {"q_net.0": (5,)}),
        ("q_net.0:5; ", {"q_net.0": (5,)}),
        (" q_net.2 : 1 , 2 ;\tq_net.0 :  all ", {"q_net.2": (1, 2), "q_net.0": "all"}),
        ("q_net.q_net.0:1;q_net.2:0", {"q_net.0": (1,), "q_net.2": (0,)}),
        ({"q_net.4": [2, 0], "q_net.q_net.0": "all"}, {"q_net.4": (2, 0), "q_net.0": "all"}),
        ({"q_net.0": (1, 2)}, {"q_net.0": (1, 2)}),
        ({"q_net.0": np.array([3, 1])}, {"q_net.0": (3, 1)}),
        ({"q_net.0": [np.int64(3), np.uint8(1)]}, {"q_net.0": (3, 1)}),
        ({"q_net.0": torch.tensor([3, 1])}, {"q_net.0": (3, 1)}),
        ({"q_net.0": range(2)}, {"q_net.0": (0, 1)}),
    ],
)
def test_layers_stand_under_their_canonical_names_in_the_order_written(spec, patch):
    resolved = resolve(spec)
    assert resolved == patch
    assert list(resolved) == list(patch)
    assert all(type(i) is int for neurons in resolved.values() if neurons != "all" for i in neurons)


def test_a_generator_of_indices_is_read_once():
    assert resolve({"q_net.0": (i for i in (4, 2))}) == {"q_net.0": (4, 2)}


LIST = "expected a list of indices or 'all'"


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        (5, "found 5, expected text or an object {layer: [indices] | 'all'}"),
        (None, "found null, expected text or an object {layer: [indices] | 'all'}"),
        ([{"q_net.0": [1]}], "found a list, expected text or an object {layer: [indices] | 'all'}"),
        ({}, "contains no layers, expected {layer: [indices] | 'all'}"),
        ({1: [2]}, "found layer 1, expected its name as text"),
        ({"q_net.0": []}, "'q_net.0': contains no neurons, expected at least one, or 'all'"),
        ({"q_net.0": "5"}, f"'q_net.0': found the text '5', {LIST}"),
        ({"q_net.0": None}, f"'q_net.0': found null, {LIST}"),
        ({"q_net.0": True}, f"'q_net.0': found true, {LIST}"),
        ({"q_net.0": 5}, f"'q_net.0': found 5, {LIST}"),
        ({"q_net.0": np.int64(5)}, f"'q_net.0': found int64, {LIST}"),
        ({"q_net.0": b"5"}, f"'q_net.0': found bytes, {LIST}"),
        ({"q_net.0": {"q_net.2": [1]}}, f"'q_net.0': found an object, {LIST}"),
        ({"q_net.0": [True]}, "'q_net.0': found true, expected a neuron index from 0"),
        ({"q_net.0": [np.True_]}, f"'q_net.0': found {type(np.True_).__name__}, expected a neuron index from 0"),
        ({"q_net.0": [1, 5.0]}, "'q_net.0': found 5.0, expected a neuron index from 0"),
        ({"q_net.0": ["5"]}, "'q_net.0': found '5', expected a neuron index from 0"),
        ({"q_net.0": [None]}, "'q_net.0': found null, expected a neuron index from 0"),
        ({"q_net.0": [-1]}, "'q_net.0': found -1, expected a neuron index from 0"),
        ({"q_net.0": [[1]]}, "'q_net.0': found a list, expected a neuron index from 0"),
        ({"q_net.0": np.array([[1]])}, "'q_net.0': found ndarray, expected a neuron index from 0"),
        ({"q_net.0": torch.tensor([1.5])}, "'q_net.0': found Tensor, expected a neuron index from 0"),
        ({"q_net.0": [8]}, "found neuron 8 in q_net.0, expected 0..7"),
        ({"q_net.0": [10**60]}, "found neuron an integer of 200 bits in q_net.0, expected 0..7"),
        ({"q_net.0": [1, np.int8(1)]}, "neuron 1 of q_net.0 is named twice"),
        ({"q_net.0": [1], "q_net.q_net.0": [2]}, "layer 'q_net.q_net.0' is named twice; list its neurons once"),
    ],
)
def test_the_json_form_follows_the_same_rules(spec, message):
    with pytest.raises(UsageError) as raised:
        resolve(spec)
    assert str(raised.value) == f"patch spec: {message}"
    assert raised.value.detail == ()


def test_a_spec_of_a_megabyte_with_100000_indices_is_read():
    neurons = range(0, 200_000, 2)
    spec = "wide:" + ",".join(f"{neuron:09d}" for neuron in neurons)
    assert len(spec) >= 1_000_000
    assert parse_patch_spec(spec).resolve({"wide": 200_000}) == {"wide": tuple(neurons)}


def test_a_spec_beyond_the_limit_is_refused_by_its_length():
    with pytest.raises(UsageError, match="^patch spec: found 10,000,001 characters, expected at most 10,000,000$"):
        parse_patch_spec(" " * (SPEC_LIMIT + 1))


@given(patches)
def test_parsing_undoes_formatting(patch):
    widths = dict.fromkeys(patch, 10**6 + 1)
    assert parse_patch_spec(format_patch_spec(patch)).resolve(widths) == patch
    assert parse_patch_spec(patch_configuration(patch)).resolve(widths) == patch
    assert parse_patch_spec(format_patch_spec(patch)).layers == tuple(patch)


@given(patches, st.data())
def test_blanks_around_separators_change_nothing(patch, data):
    blank = st.text(alphabet=" \t", max_size=3)
    spec = "".join(
        data.draw(blank) + c + data.draw(blank) if c in ":;," else c for c in format_patch_spec(patch)
    ) + data.draw(st.sampled_from(["", ";", " ; ", " "]))
    assert parse_patch_spec(spec).resolve(dict.fromkeys(patch, 10**6 + 1)) == patch


@given(st.integers(0, 500), st.integers(0, 60))
def test_a_range_is_every_index_from_its_first_to_its_last(first, more):
    neurons = parse_patch_spec(f"a:{first}-{first + more}").resolve({"a": 561})["a"]
    assert neurons == tuple(range(first, first + more + 1))


@settings(max_examples=300)
@given(st.text() | st.text(alphabet="q_net.02:;,-9 all\t٣"))
def test_any_text_is_a_patch_or_an_error_whose_caret_is_on_it(text):
    error = None
    try:
        resolved = resolve(text)
    except UsageError as raised:
        error = raised
    if error is None:
        assert resolved
        assert all(n == "all" or all(0 <= i < WIDTHS[layer] for i in n) for layer, n in resolved.items())
    else:
        excerpt, caret = error.detail
        assert 2 <= caret.index("^") <= len(excerpt)
        assert (str(error) + excerpt + caret).isprintable()


def test_an_experiment_is_named_by_its_number_and_layers():
    assert experiment_name(3, {"q_net.0": (1,), "q_net.2": "all"}) == "exp_3_q_net.0_q_net.2"
