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
from tests.raised import parts, raises

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
EMPTY = parts(problem="empty patch spec", expected="'layer:neurons;layer:neurons'")

layer_names = st.text(alphabet="abqnet_0123456789.", min_size=1, max_size=12)
patches = st.dictionaries(
    layer_names,
    st.just("all") | st.lists(st.integers(0, 10**6), min_size=1, max_size=20, unique=True).map(tuple),
    min_size=1,
    max_size=5,
)


ITEM = "a neuron index in the digits 0-9, a range such as 5-10, or 'all'"


def resolve(spec):
    return parse_patch_spec(spec).resolve(WIDTHS, aliases=ALIASES, refused=REFUSED)


@pytest.mark.parametrize(
    ("spec", "caret", "error"),
    [
        ("", "^", EMPTY),
        (";", "^", EMPTY),
        (" ; ;", "^", EMPTY),
        ("   ", "^", EMPTY),
        ("\t\n", "^", EMPTY),
        ("q_net.0", "^", parts(problem="':' is missing", expected="'layer:neurons'")),
        ("q_net.0:1; q_net.2", "           ^", parts(problem="':' is missing", expected="'layer:neurons'")),
        ("q_net.0:", "        ^", parts(problem="the neurons after ':' are missing", expected="'all' or indices")),
        (":5", "^", parts(problem="the layer before ':' is missing")),
        ("q_net.0:5;;q_net.2:1", "          ^", parts(found="nothing between two ';'", expected="'layer:neurons'")),
        ("q_net.0:5;;", "          ^", parts(found="nothing between two ';'", expected="'layer:neurons'")),
        ("fc1:5", "^", parts(problem=f"unknown layer 'fc1'; {LAYERS}")),
        ("q_net.99:5", "^", parts(problem=f"unknown layer 'q_net.99'; did you mean q_net.4? {LAYERS}")),
        ("q_net.0:1;qnet.2:5", "          ^", parts(problem=f"unknown layer 'qnet.2'; did you mean q_net.2? {LAYERS}")),
        (
            "q_net.0.weight:5",
            "^",
            parts(
                field="layer 'q_net.0.weight'",
                problem=f"a parameter, not a layer; did you mean q_net.0? {LAYERS}",
            ),
        ),
        (
            "q_net_target.0:5",
            "^",
            parts(
                field="layer 'q_net_target.0'",
                problem=f"the target network takes no part in decisions; did you mean q_net.0? {LAYERS}",
            ),
        ),
        (
            "q_net:all",
            "^",
            parts(
                field="layer 'q_net'",
                problem=f"a container of layers; did you mean q_net.4? {LAYERS}",
            ),
        ),
        (
            "q_net.4:1;dead_end:0",
            "          ^",
            parts(
                field="layer 'dead_end'",
                problem=f"never reached in the forward pass; {LAYERS}",
            ),
        ),
        (
            "q_net.shared:0",
            "^",
            parts(
                field="layer 'q_net.shared'",
                problem=f"run twice in one forward pass; did you mean q_net.4? {LAYERS}",
            ),
        ),
        ("q_net.0:8", "        ^", parts(found="neuron 8 in q_net.0", expected="0..7")),
        ("q_net.0:1,2,99", "            ^", parts(found="neuron 99 in q_net.0", expected="0..7")),
        ("q_net.0:" + "9" * 21, "        ^", parts(found="a neuron index of 21 digits", expected="a smaller one")),
        (
            "q_net.0:-1",
            "        ^",
            parts(found="'-1'", expected=ITEM),
        ),
        (
            "q_net.0:1_0",
            "        ^",
            parts(found="'1_0'", expected=ITEM),
        ),
        (
            "q_net.0:٣",
            "        ^",
            parts(found="'٣'", expected=ITEM),
        ),
        (
            "q_net.0:+5",
            "        ^",
            parts(found="'+5'", expected=ITEM),
        ),
        (
            "q_net.0:5.0",
            "        ^",
            parts(found="'5.0'", expected=ITEM),
        ),
        (
            "q_net.0:1e3",
            "        ^",
            parts(found="'1e3'", expected=ITEM),
        ),
        ("q_net.0:5,,7", "          ^", parts(found="nothing", expected="a neuron index")),
        ("q_net.0:5,", "          ^", parts(found="nothing", expected="a neuron index")),
        ("q_net.0:5, 5", "           ^", parts(problem="neuron 5 of q_net.0 is named twice")),
        ("q_net.0:5,005", "          ^", parts(problem="neuron 5 of q_net.0 is named twice")),
        ("q_net.0:5;q_net.0:7", "          ^", parts(problem="layer 'q_net.0' is named twice; list its neurons once")),
        (
            "q_net.0:5;q_net.q_net.0:7",
            "          ^",
            parts(problem="layer 'q_net.q_net.0' is named twice; list its neurons once"),
        ),
        ("q_net.0:all,5", "        ^", parts(problem="'all' cannot be combined with indices")),
        ("q_net.0:5,all", "          ^", parts(problem="'all' cannot be combined with indices")),
        (
            "q_net.0:ALL",
            "        ^",
            parts(found="'ALL'", expected=ITEM),
        ),
        ("q_net.0:7-5", "        ^", parts(found="the range 7-5", expected="its first index to be the smaller one")),
        ("q_net.0:0,5-12", "          ^", parts(found="neuron 8 in q_net.0", expected="0..7")),
        ("q_net.0:0-999999999999999999", "        ^", parts(found="neuron 8 in q_net.0", expected="0..7")),
        ("q_net.0:5-7,6", "            ^", parts(problem="neuron 6 of q_net.0 is named twice")),
        (
            "q_net.0:5-",
            "        ^",
            parts(found="'5-'", expected=ITEM),
        ),
        (
            "q_net.0:5:7",
            "        ^",
            parts(found="'5:7'", expected=ITEM),
        ),
        ("q_net.0\uff1a5", "^", parts(problem="':' is missing", expected="'layer:neurons'")),
        (
            "q_net.0:5\uff1bq_net.2:1",
            "        ^",
            parts(found="'5；q_net.2:1'", expected=ITEM),
        ),
        (
            '"q_net.0":5',
            "^",
            parts(problem=f"unknown layer '\"q_net.0\"'; did you mean q_net.0? {LAYERS}"),
        ),
    ],
)
def test_a_faulty_spec_is_an_error_with_a_caret_under_the_place(spec, caret, error):
    with raises(UsageError, file="patch spec", **error) as raised:
        resolve(spec)
    shown_spec = "".join(c if c.isprintable() else "?" for c in spec)
    assert raised.value.detail == (f"  {shown_spec}", f"  {caret}")


def test_of_a_long_spec_the_surroundings_of_the_place_are_shown():
    spec = "q_net.0:" + ",".join(["1"] * 300) + ",x" + ",2" * 300
    with raises(UsageError, file="patch spec", found="'x'", expected=ITEM) as raised:
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
def test_layers_are_listed_under_their_canonical_names_in_the_order_written(spec, patch):
    resolved = resolve(spec)
    assert resolved == patch
    assert list(resolved) == list(patch)
    assert all(type(i) is int for neurons in resolved.values() if neurons != "all" for i in neurons)


def test_a_generator_of_indices_is_read_once():
    assert resolve({"q_net.0": (i for i in (4, 2))}) == {"q_net.0": (4, 2)}


@pytest.mark.parametrize(
    ("spec", "error"),
    [
        (5, parts(found="5", expected="text or an object {layer: [indices] | 'all'}")),
        (None, parts(found="null", expected="text or an object {layer: [indices] | 'all'}")),
        ([{"q_net.0": [1]}], parts(found="a list", expected="text or an object {layer: [indices] | 'all'}")),
        ({}, parts(problem="contains no layers", expected="{layer: [indices] | 'all'}")),
        ({1: [2]}, parts(found="layer 1", expected="its name as text")),
        ({"q_net.0": []}, parts(field="'q_net.0'", problem="contains no neurons", expected="at least one, or 'all'")),
        ({"q_net.0": "5"}, parts(field="'q_net.0'", found="the text '5'", expected="a list of indices or 'all'")),
        ({"q_net.0": None}, parts(field="'q_net.0'", found="null", expected="a list of indices or 'all'")),
        ({"q_net.0": True}, parts(field="'q_net.0'", found="true", expected="a list of indices or 'all'")),
        ({"q_net.0": 5}, parts(field="'q_net.0'", found="5", expected="a list of indices or 'all'")),
        ({"q_net.0": np.int64(5)}, parts(field="'q_net.0'", found="int64", expected="a list of indices or 'all'")),
        ({"q_net.0": b"5"}, parts(field="'q_net.0'", found="bytes", expected="a list of indices or 'all'")),
        (
            {"q_net.0": {"q_net.2": [1]}},
            parts(field="'q_net.0'", found="an object", expected="a list of indices or 'all'"),
        ),
        ({"q_net.0": [True]}, parts(field="'q_net.0'", found="true", expected="a neuron index from 0")),
        (
            {"q_net.0": [np.True_]},
            parts(field="'q_net.0'", found=type(np.True_).__name__, expected="a neuron index from 0"),
        ),
        ({"q_net.0": [1, 5.0]}, parts(field="'q_net.0'", found="5.0", expected="a neuron index from 0")),
        ({"q_net.0": ["5"]}, parts(field="'q_net.0'", found="'5'", expected="a neuron index from 0")),
        ({"q_net.0": [None]}, parts(field="'q_net.0'", found="null", expected="a neuron index from 0")),
        ({"q_net.0": [-1]}, parts(field="'q_net.0'", found="-1", expected="a neuron index from 0")),
        ({"q_net.0": [[1]]}, parts(field="'q_net.0'", found="a list", expected="a neuron index from 0")),
        ({"q_net.0": np.array([[1]])}, parts(field="'q_net.0'", found="ndarray", expected="a neuron index from 0")),
        ({"q_net.0": torch.tensor([1.5])}, parts(field="'q_net.0'", found="Tensor", expected="a neuron index from 0")),
        ({"q_net.0": [8]}, parts(found="neuron 8 in q_net.0", expected="0..7")),
        ({"q_net.0": [10**60]}, parts(found="neuron an integer of 200 bits in q_net.0", expected="0..7")),
        ({"q_net.0": [1, np.int8(1)]}, parts(problem="neuron 1 of q_net.0 is named twice")),
        (
            {"q_net.0": [1], "q_net.q_net.0": [2]},
            parts(problem="layer 'q_net.q_net.0' is named twice; list its neurons once"),
        ),
    ],
)
def test_the_json_form_follows_the_same_rules(spec, error):
    with raises(UsageError, file="patch spec", **error) as raised:
        resolve(spec)
    assert raised.value.detail == ()


def test_a_spec_of_a_megabyte_with_100000_indices_is_read():
    neurons = range(0, 200_000, 2)
    spec = "wide:" + ",".join(f"{neuron:09d}" for neuron in neurons)
    assert len(spec) >= 1_000_000
    assert parse_patch_spec(spec).resolve({"wide": 200_000}) == {"wide": tuple(neurons)}


def test_a_spec_beyond_the_limit_is_refused_by_its_length():
    with raises(UsageError, file="patch spec", found="10,000,001 characters", expected="at most 10,000,000"):
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
