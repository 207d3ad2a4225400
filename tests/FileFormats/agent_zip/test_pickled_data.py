from __future__ import annotations

import pickle
from collections import OrderedDict

import cloudpickle
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from Neuron_Selection.errors import InputError
from Neuron_Selection.FileFormats.agent_zip import pickled_data
from Neuron_Selection.FileFormats.agent_zip.pickled_arrays import array_from, dtype_from, integer_from
from Neuron_Selection.FileFormats.agent_zip.pickled_data import Built, Name, Persistent, read_pickle
from tests.FileFormats.crafted import (
    HASHES_FOR_EVER,
    LIST_IN_ITSELF,
    Call,
    dumps,
    nested,
    numpy_1_array,
    numpy_1_scalar,
    numpy_2_buffer,
    stub,
)
from tests.raised import raises

words = st.integers(-(2**64) + 1, 2**64 - 1)
keys = st.none() | st.booleans() | words | st.text(max_size=5) | st.floats(allow_nan=False) | st.binary()
plain_data = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text() | st.binary(),
    lambda inner: (
        st.lists(inner, max_size=3) | st.lists(inner, max_size=4).map(tuple) | st.dictionaries(keys, inner, max_size=3)
    ),
)


def read(data, **more):
    return read_pickle(data, where="agent.zip", what="field", **more)


@pytest.mark.parametrize("protocol", [3, 4, 5])  # below 3, bytes are a call of _codecs.encode
@given(value=plain_data)
def test_plain_data_comes_back_as_it_was(protocol, value):
    assert read(pickle.dumps(value, protocol)) == value


@pytest.mark.parametrize("protocol", range(6))
def test_every_protocol_is_read(protocol):
    shared = ["x"]
    value = [
        None,
        True,
        7,
        -(2**70),
        1.5,
        "ö\n",
        shared,
        shared,
        (),
        (1,),
        (1, 2),
        (1, 2, 3),
        tuple(range(9)),
        {"a": {}},
    ]
    loaded = read(pickle.dumps(value, protocol))
    assert loaded == value
    assert loaded[6] is loaded[7]


@pytest.mark.parametrize(
    ("data", "found"),
    [
        (pickle.dumps({2**64: None}, 4), "a key of more than 64 bits"),
        (pickle.dumps({-(2**64): None}, 4), "a key of more than 64 bits"),
        (b"\x80\x04N" + b"p4294967296\n.", "a memo index of 2^32 or more"),
        (b"\x80\x04N" + b"p-1\n.", "a memo index of 2^32 or more"),
        (b"cmodule\n" + b"n" * 1000 + b"\n.", "a global with a name of more than 1,000 characters"),
    ],
)
def test_keys_and_names_are_of_ordinary_size(data, found):
    with raises(InputError, file="agent.zip", field="field", found=found, expected="a pickle of plain data"):
        read(data)


def test_sets_and_byte_arrays_are_plain_sequences():
    assert sorted(read(pickle.dumps({1, 2}, 4))) == [1, 2]
    assert sorted(read(pickle.dumps(frozenset({1, 2}), 4))) == [1, 2]
    assert read(pickle.dumps(bytearray(b"ab"), 5)) == b"ab"


def test_a_global_stays_a_name_and_a_call_a_record():
    names: set[Name] = set()
    record = read(dumps(Call(stub("no.such.module", "Thing"), 1, state={"a": 2})), names=names)
    assert isinstance(record, Built)
    assert (record.callable, record.args, record.state) == (Name("no.such.module", "Thing"), (1,), {"a": 2})
    assert str(record.callable) == "no.such.module.Thing"
    assert names == {Name("no.such.module", "Thing")}


def test_what_is_put_into_a_record_is_kept_next_to_it():
    record = read(pickle.dumps(OrderedDict(a=1, b=2), 4))
    assert record.callable == Name("collections", "OrderedDict")
    assert record.pairs == [("a", 1), ("b", 2)]
    appended = read(b"cx\ny\n)R(K\x01K\x02eK\x03a.")
    assert appended.items == [1, 2, 3]


@pytest.mark.parametrize(
    ("data", "args"),
    [
        (b"cos\nsystem\n(S'x'\ntR.", ("x",)),
        (b"(S'x'\nios\nsystem\n.", ("x",)),
        (b"(cos\nsystem\nS'x'\no.", ("x",)),
        (b"\x80\x04\x8c\x02os\x8c\x06system\x93\x8c\x01x\x85\x81.", ("x",)),
        (b"\x80\x04\x8c\x02os\x8c\x06system\x93\x8c\x01x\x85}\x92.", ("x",)),
    ],
    ids=["REDUCE", "INST", "OBJ", "NEWOBJ", "NEWOBJ_EX"],
)
def test_every_way_to_call_is_a_record(data, args):
    record = read(data)
    assert isinstance(record, Built)
    assert record.callable == Name("os", "system")
    assert record.args == args


def test_persistent_references_are_records():
    assert read(b"Pkey\n.") == Persistent("key")
    assert read(b"\x8c\x03keyQ.") == Persistent("key")


def test_a_list_that_contains_itself_is_read_as_that():
    loaded = read(LIST_IN_ITSELF)
    assert loaded[0] is loaded


def test_deep_nesting_costs_no_recursion():
    loaded = read(nested(100_000))
    for _ in range(99_999):
        (loaded,) = loaded
    assert loaded == []


DAMAGED = "a damaged pickle"
TAKES = "an opcode that takes more values than the stack holds"
MARKED = "an opcode that requires a mark, without one"
KEY = "a key other than text, a number or None"


@pytest.mark.parametrize(
    ("data", "found"),
    [
        (b"", DAMAGED),
        (b"\x80\x04", DAMAGED),
        (b"\x80\x04K", DAMAGED),
        (b"\xff.", DAMAGED),
        (b"garbage", DAMAGED),
        (b"\x80\x04\x8c\xffshort.", DAMAGED),
        (b"\x8e" + b"\xff" * 7 + b"\x7f" + b"x.", DAMAGED),
        (b"B\xff\xff\xff\xffx.", DAMAGED),
        (b"\x8b\xff\xff\xff\xff.", DAMAGED),
        (b"I" + b"9" * 5000 + b"\n.", DAMAGED),
        (b"h\x05.", DAMAGED),
        (b"0.", DAMAGED),
        (b"2.", DAMAGED),
        (b"\x94.", DAMAGED),
        (b"(o.", DAMAGED),
        (b".", "a pickle that does not end with one value"),
        (b"NN.", "a pickle that does not end with one value"),
        (b"(.", "a pickle that does not end with one value"),
        (b"N\x86.", TAKES),
        (b"(N\x86.", TAKES),
        (b"R.", TAKES),
        (b"b.", TAKES),
        (b"t.", MARKED),
        (b"Ne.", MARKED),
        (b"N1.", MARKED),
        (b"NNa.", "items added to something other than a list"),
        (b")Na.", "items added to something other than a list"),
        (b"](NNu.", "pairs added to something other than a dict"),
        (b"}(NNNu.", "a key without a value"),
        (b"(Nd.", "a key without a value"),
        (b"})Ns.", KEY),
        (b"}]Ns.", KEY),
        (b"}" + HASHES_FOR_EVER + b"Ns.", KEY),
        (b"NN\x93.", "a global whose name is not text"),
        (b"\x82\x01.", "the opcode EXT1"),
        (b"\x97.", "the opcode NEXT_BUFFER"),
        (b"N\x98.", "the opcode READONLY_BUFFER"),
    ],
)
def test_what_is_no_pickle_of_plain_data_is_refused(data, found):
    with raises(InputError, file="agent.zip", field="field", found=found, expected="a pickle of plain data"):
        read(data)


def test_a_pickle_of_too_many_opcodes_is_refused(monkeypatch):
    monkeypatch.setattr(pickled_data, "OPCODE_LIMIT", 10)
    assert read(b"N0" * 4 + b"N.") is None
    with raises(
        InputError, file="agent.zip", field="field", found="more than 10 opcodes", expected="a pickle of plain data"
    ):
        read(b"N0" * 5 + b"N.")


def test_the_bytes_after_the_stop_are_not_read():
    assert read(b"N.garbage") is None


SHORT_OPCODES = list(b"().012Nabcdehlopqrstu]}\x80\x85\x86\x87\x88\x8c\x90\x91\x93\x94\n")


@settings(max_examples=400)
@given(st.binary(max_size=60) | st.lists(st.sampled_from(SHORT_OPCODES), max_size=40).map(bytes))
def test_any_bytes_are_a_record_or_an_error(data):
    error = None
    try:
        read(data)
    except InputError as raised:
        error = raised
    assert error is None or error.exit_code == 2


DTYPES = [
    "bool",
    "int8",
    "uint8",
    "int16",
    "uint16",
    "int32",
    "uint32",
    "int64",
    "uint64",
    "float16",
    "float32",
    "float64",
]
ARRAYS = {
    "numpy 1": lambda array: dumps(numpy_1_array(array)),
    "numpy 2 buffer": lambda array: dumps(numpy_2_buffer(array)),
    "protocol 3": lambda array: pickle.dumps(array, 3),
    "protocol 4": lambda array: pickle.dumps(array, 4),
    "protocol 5": lambda array: cloudpickle.dumps(array, 5),
}


@pytest.mark.parametrize("written", ARRAYS)
@pytest.mark.parametrize("dtype", [*DTYPES, ">f4", ">i8"])
def test_arrays_of_every_numpy_keep_their_bits(written, dtype):
    array = np.array([[0, 1, 2], [3, 4, 250]]).astype(dtype)
    for layout in (array, np.asfortranarray(array), array[0]):
        loaded = array_from(read(ARRAYS[written](layout)))
        assert loaded.dtype == layout.dtype.newbyteorder("=")
        assert loaded.tolist() == layout.tolist()


def test_the_two_ways_of_numpy_2_are_both_tried():
    assert read(ARRAYS["protocol 5"](np.ones(3))).callable.qualname == "_frombuffer"
    assert read(ARRAYS["protocol 4"](np.ones(3))).callable.qualname == "_reconstruct"


@pytest.mark.parametrize("value", [5, np.int64(5), np.uint8(5), np.int32(5)])
def test_an_integer_is_one_of_python_or_a_scalar_of_numpy(value):
    assert integer_from(read(pickle.dumps(value, 4))) == 5
    old = numpy_1_scalar(value) if isinstance(value, np.generic) else value
    assert integer_from(read(dumps(old))) == 5


@pytest.mark.parametrize("value", [True, 5.0, "5", None, np.float64(5), np.bool_(1), [5], np.array([1, 2])])
def test_what_is_no_integer_is_none(value):
    with pytest.raises(ValueError, match="not an integer|not an array|size 1"):
        integer_from(read(pickle.dumps(value, 4)))


@pytest.mark.parametrize("name", [*DTYPES, "bool_"])
def test_a_scalar_type_is_a_dtype(name):
    assert dtype_from(Name("numpy", name)) == np.dtype(name.removesuffix("_"))
    assert dtype_from(read(pickle.dumps(np.dtype(name.removesuffix("_")), 4))) == np.dtype(name.removesuffix("_"))


@pytest.mark.parametrize(
    "record",
    [
        None,
        "float32",
        Name("numpy", "complex64"),
        Name("numpy", "object_"),
        Name("numpy", ","),
        Name("numpy", "f4,f4"),
        Name("numpy", "a8"),
        Name("os", "float32"),
        Built(Name("numpy", "dtype"), ()),
        Built(Name("numpy", "dtype"), (5,)),
        Built(Name("numpy", "dtype"), ("O8", False, True)),
        Built(Name("numpy", "dtype"), ("V4", False, True)),
        Built(Name("numpy", "dtype"), ("f4",), (3, "x", None)),
        Built(Name("numpy", "dtype"), ("f4",), (3, [], None)),
        Built(Name("os", "system"), ("f4",)),
    ],
)
def test_what_is_no_dtype_of_numbers_is_refused(record):
    with pytest.raises(ValueError, match="dtype"):
        dtype_from(record)


F4 = Built(Name("numpy", "dtype"), ("f4",), (3, "<", None))
RECONSTRUCT = Name("numpy.core.multiarray", "_reconstruct")
FROMBUFFER = Name("numpy._core.numeric", "_frombuffer")


@pytest.mark.parametrize(
    "record",
    [
        None,
        [1.0],
        Built(RECONSTRUCT, (), None),
        Built(RECONSTRUCT, (), (1, (2,), F4, False)),
        Built(RECONSTRUCT, (), (1, (2,), F4, False, b"123")),
        Built(RECONSTRUCT, (), (1, (3,), F4, False, b"12345678")),
        Built(RECONSTRUCT, (), (1, (-1,), F4, False, b"12345678")),
        Built(RECONSTRUCT, (), (1, (2.0,), F4, False, b"12345678")),
        Built(RECONSTRUCT, (), (1, [2], F4, False, b"12345678")),
        Built(RECONSTRUCT, (), (1, (2,), F4, False, ["x"])),
        Built(RECONSTRUCT, (), (1, (1,) * 99, F4, False, b"1234")),
        Built(FROMBUFFER, (b"1234", F4, (1,))),
        Built(FROMBUFFER, (b"1234", F4, (1,), "K")),
        Built(FROMBUFFER, (b"1234", None, (1,), "C")),
        Built(Name("numpy.core.multiarray", "fromfile"), (b"1234", F4, (1,), "C")),
        Built(["unhashable"], (b"1234", F4, (1,), "C")),
        read_pickle(HASHES_FOR_EVER + b")R.", where="", what=""),
    ],
    ids=range(17),
)
def test_what_is_no_array_of_numbers_is_refused(record):
    with pytest.raises(ValueError, match=r"\w"):
        array_from(record)
