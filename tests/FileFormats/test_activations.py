from __future__ import annotations

import io
import json
import pickle
import re
import struct
import zipfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from Neuron_Selection.errors import InputError
from Neuron_Selection.FileFormats.activations import (
    activation_paths,
    activations_name,
    load_activations,
    save_activations,
    stored_npz_metadata,
)
from Neuron_Selection.FileFormats.storage import zip_members
from tests.raised import parts, raises

LAYERS = {"q_net.0": "q_net.0", "q_net.2": "q_net.2", "q_net.q_net.0": "q_net.0"}
METADATA = {"format": 1, "run": {"weights_sha256": "abc"}}
NPZ = Path("clean_activations.npz")
READABLE = Path("clean_activations_readable.json")
ONE = np.array([[1, 2]], np.float32)

layer_like = st.sampled_from(
    ["q_net.0", "_q_net.0", "x_q_net.2", "q_net.q_net.0", "_", "a_b", "../x", "__metadata__", "a.npy"]
)
plain = st.text(st.characters(exclude_categories=["C", "Z"]), min_size=1)
ids = st.lists(layer_like | plain, min_size=1, max_size=4, unique=True)
floats = st.floats(allow_nan=False, allow_infinity=False, width=32)


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def save(input_ids=("a", "b"), values=None, metadata=METADATA):
    values = {"q_net.0": np.arange(6, dtype=np.float32).reshape(2, 3)} if values is None else values
    save_activations(NPZ, READABLE, input_ids, values, metadata=metadata)


def write_members(members):
    """An npz of these members: arrays, or bytes as they are."""
    with zipfile.ZipFile(NPZ, "w") as archive:
        for name, content in members:
            data = content if isinstance(content, bytes) else npy(content)
            archive.writestr(name, data)


def npy(array):
    file = io.BytesIO()
    np.lib.format.write_array(file, np.asanyarray(array))
    return file.getvalue()


def header(text, values=b""):
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text.encode() + values


def refused(**error):
    with raises(InputError, file=NPZ, **error):
        load_activations(NPZ, LAYERS)


def test_files_are_named_after_their_inputs():
    assert activations_name(Path("x/clean_inputs.json")) == "clean"
    assert activations_name(Path("pairs.json")) == "pairs"
    assert activations_name(Path("_inputs.json")) == "_inputs"
    assert activation_paths(Path("logs"), "clean") == (Path("logs") / NPZ, Path("logs") / READABLE)


@settings(max_examples=60)
@given(ids, st.data())
def test_loading_undoes_saving_bit_for_bit(input_ids, data):
    shapes = {"q_net.0": (3,), "features_extractor.cnn.0": (2, 1, 2), "q_net.2": (1,)}
    values = {
        layer: data.draw(arrays.arrays(np.float32, (len(input_ids), *shape), elements=floats))
        for layer, shape in shapes.items()
    }
    save(input_ids, values)
    loaded = load_activations(NPZ, LAYERS)
    assert loaded.ids == tuple(input_ids)
    assert list(loaded.values) == list(values)
    for layer, array in values.items():
        assert loaded.values[layer].dtype == np.float32
        assert loaded.values[layer].shape == array.shape
        assert loaded.values[layer].tobytes() == array.tobytes()
    readable = json.loads(READABLE.read_text())
    assert list(readable) == input_ids
    last = readable[input_ids[-1]]["q_net.0"]
    assert np.array(last, np.float32).tobytes() == values["q_net.0"][-1:].tobytes()


def test_numpy_reads_what_we_write_without_pickle():
    save(values={"q_net.0": np.eye(2, 3, dtype=np.float32), "cnn.0": np.ones((2, 4, 3, 3), np.float32)})
    with np.load(NPZ, allow_pickle=False) as archive:
        assert set(archive) == {"a_q_net.0", "b_q_net.0", "a_cnn.0", "b_cnn.0", "__metadata__"}
        assert archive["b_q_net.0"].tolist() == [[0, 1, 0]]
        assert archive["a_cnn.0"].shape == (1, 4, 3, 3)
        metadata = json.loads(archive["__metadata__"].tobytes())
    assert metadata["ids"] == ["a", "b"]
    assert metadata["layers"] == {"q_net.0": [3], "cnn.0": [4, 3, 3]}
    assert metadata["key_encoding"] == "<id>_<layer>"


def test_the_same_data_gives_the_same_bytes():
    save()
    before = NPZ.read_bytes(), READABLE.read_bytes()
    save()
    assert (NPZ.read_bytes(), READABLE.read_bytes()) == before


def test_the_readable_form_keeps_the_batch_axis_the_guide_indexes():
    save()
    assert json.loads(READABLE.read_text())["b"]["q_net.0"] == [[3.0, 4.0, 5.0]]
    assert READABLE.read_bytes().endswith(b"}\n")


def test_metadata_and_fingerprint_come_back():
    save()
    loaded = load_activations(NPZ, LAYERS)
    assert loaded.weights_sha256 == "abc"
    assert loaded.metadata["run"] == METADATA["run"]
    assert stored_npz_metadata(NPZ) == loaded.metadata
    write_members([("a_q_net.0.npy", ONE)])
    assert load_activations(NPZ, LAYERS).weights_sha256 == ""
    assert stored_npz_metadata(NPZ) is None
    assert stored_npz_metadata(Path("absent.npz")) is None


@pytest.mark.parametrize("save_as", [np.savez, np.savez_compressed])
def test_a_file_of_others_is_split_at_the_layer_from_the_right(save_as):
    save_as(
        NPZ,
        **{
            "run_1_q_net.0": ONE,
            "run_1_q_net.2": ONE * 2,
            "x_q_net.0_q_net.0": ONE * 3,
            "x_q_net.0_q_net.2": ONE * 4,
            "run_1_final_features": ONE,
        },
    )
    loaded = load_activations(NPZ, LAYERS)
    assert loaded.ids == ("run_1", "x_q_net.0")
    assert {layer: array.tolist() for layer, array in loaded.values.items()} == {
        "q_net.0": [[1, 2], [3, 6]],
        "q_net.2": [[2, 4], [4, 8]],
    }
    assert loaded.metadata == {}


def test_aliases_and_stored_q_values_are_known_names():
    np.savez(
        NPZ, **{"a_q_net.q_net.0": ONE, "a_final_q_values": ONE * 5, "b_q_net.q_net.0": ONE, "b_final_q_values": ONE}
    )
    loaded = load_activations(NPZ, LAYERS)
    assert loaded.ids == ("a", "b")
    assert set(loaded.values) == {"q_net.0", "final_q_values"}


def test_rows_belong_to_their_ids_whatever_the_order_of_keys():
    np.savez(NPZ, **{"a_q_net.0": ONE, "b_q_net.0": ONE * 2, "b_q_net.2": ONE * 4, "a_q_net.2": ONE * 3})
    loaded = load_activations(NPZ, LAYERS)
    assert loaded.ids == ("a", "b")
    assert loaded.values["q_net.0"].tolist() == [[1, 2], [2, 4]]
    assert loaded.values["q_net.2"].tolist() == [[3, 6], [4, 8]]


@pytest.mark.parametrize(
    "array",
    [
        ONE.astype(">f4"),
        np.asfortranarray(np.arange(24, dtype=np.float32).reshape(1, 2, 3, 4)),
        np.array([[0.1, 1e300]]),
        np.array([[0.1, 2]], ">f8"),
    ],
)
def test_floats_of_any_byte_order_and_layout_keep_their_values(array):
    write_members([("a_q_net.0.npy", array)])
    loaded = load_activations(NPZ, LAYERS).values["q_net.0"]
    assert loaded.dtype == array.dtype.newbyteorder("=")
    assert loaded.tolist() == array.tolist()


def test_a_member_without_its_ending_is_read():
    write_members([("a_q_net.0", ONE)])
    assert load_activations(NPZ, LAYERS).ids == ("a",)


def test_a_header_of_python_2_is_read():
    text = "{'descr': '<f4', 'fortran_order': False, 'shape': (1L, 2L), }\n"
    write_members([("a_q_net.0.npy", header(text, ONE.tobytes()))])
    assert load_activations(NPZ, LAYERS).values["q_net.0"].tolist() == [[1, 2]]


TERABYTES = "{'descr': '<f4', 'fortran_order': False, 'shape': (1, 1099511627776), }"
NO_ARRAY = parts(field="'a_q_net.0'", found="another format", expected="a .npy array of float32")


@pytest.mark.parametrize(
    ("content", "error"),
    [
        (np.array([[None]]), parts(field="'a_q_net.0'", found="pickled objects", expected="float32 arrays")),
        (ONE.astype(np.float16), parts(field="'a_q_net.0'", found="float16 values", expected="float32")),
        (ONE.astype(np.int64), parts(field="'a_q_net.0'", found="int64 values", expected="float32")),
        (ONE.astype(bool), parts(field="'a_q_net.0'", found="bool values", expected="float32")),
        (ONE.astype(np.complex64), parts(field="'a_q_net.0'", found="complex64 values", expected="float32")),
        (
            np.array([[1, np.nan]], np.float32),
            parts(field="'a_q_net.0'", found="NaN or infinity", expected="finite numbers"),
        ),
        (
            np.array([[np.inf, 1]], np.float32),
            parts(field="'a_q_net.0'", found="NaN or infinity", expected="finite numbers"),
        ),
        (
            ONE[:0],
            parts(field="'a_q_net.0'", found="shape (0, 2)", expected="(1, n): a batch axis of 1, then the neurons"),
        ),
        (
            ONE[:, :0],
            parts(field="'a_q_net.0'", found="shape (1, 0)", expected="(1, n): a batch axis of 1, then the neurons"),
        ),
        (
            ONE[0],
            parts(field="'a_q_net.0'", found="shape (2,)", expected="(1, n): a batch axis of 1, then the neurons"),
        ),
        (
            np.repeat(ONE, 2, 0),
            parts(field="'a_q_net.0'", found="shape (2, 2)", expected="(1, n): a batch axis of 1, then the neurons"),
        ),
        (
            header(TERABYTES, b"1234"),
            parts(field="'a_q_net.0'", found="4 bytes", expected="4,398,046,511,104, as in the header"),
        ),
        (header(TERABYTES.replace("(1,", "(-1,")), NO_ARRAY),
        (header(TERABYTES.replace("(1, 1099511627776)", "(0, 4611686018427387904)")), NO_ARRAY),
        (header(TERABYTES.replace("(1, 1099511627776)", "(True, 1)"), b"1234"), NO_ARRAY),
        (header(TERABYTES.replace("(1, 1099511627776)", repr((1,) * 65)), b"1234"), NO_ARRAY),
        (header(TERABYTES.replace("1099511627776", "1" + "0" * 4400)), NO_ARRAY),
        (header(TERABYTES.replace("(1, 1099511627776)", repr((10**15,) * 300))), NO_ARRAY),
        (npy(ONE)[:-1], parts(field="'a_q_net.0'", found="7 bytes", expected="8, as in the header")),
        (b"", NO_ARRAY),
        (b"\x93NUMPY\x01\x00\xff\xff{", NO_ARRAY),
        (b"\x93NUMPY\x09\x00\x10\x00" + b" " * 20, NO_ARRAY),
        (pickle.dumps([1.0]), NO_ARRAY),
        (header("{"), NO_ARRAY),
        (header("{[]: 1}"), NO_ARRAY),
        (header("[" * 9000), NO_ARRAY),
        (header("-" * 9000), NO_ARRAY),
        (header("1\n  2\n 3"), NO_ARRAY),
        (header("{'descr': ',', 'fortran_order': False, 'shape': (1, 2), }"), NO_ARRAY),
        (
            header("{'descr': 'a8', 'fortran_order': False, 'shape': (1, 1), }", b"12345678"),
            parts(field="'a_q_net.0'", found="bytes64 values", expected="float32"),
        ),
        (
            header("{'descr': [('x', '<f4')], 'fortran_order': False, 'shape': (1, 1), }", b"1234"),
            parts(field="'a_q_net.0'", found="void32 values", expected="float32"),
        ),
    ],
    ids=range(31),
)
def test_an_array_that_is_no_finite_float_row_is_refused(content, error):
    if isinstance(content, np.ndarray) and content.dtype == object:
        np.savez(NPZ, **{"a_q_net.0": content})
    else:
        write_members([("a_q_net.0.npy", content)])
    refused(**error)


@pytest.mark.parametrize(
    ("members", "error"),
    [
        (
            [],
            parts(found="0 arrays, none named <id>_<layer>", expected="layers such as q_net.0, q_net.2, q_net.q_net.0"),
        ),
        (
            ["a_fc1", "q_net.0", "_q_net.0"],
            parts(found="3 arrays, none named <id>_<layer>", expected="layers such as q_net.0, q_net.2, q_net.q_net.0"),
        ),
        (
            ["a_q_net.0", "a_q_net.2", "b_q_net.0"],
            parts(field="'b'", problem="has no array of q_net.2, which 1 ids have"),
        ),
        (
            ["a_q_net.2", "b_q_net.0", "b_q_net.2"],
            parts(field="'a'", problem="has no array of q_net.0, which 1 ids have"),
        ),
        (["a_q_net.0", "a_q_net.q_net.0"], parts(field="'a'", problem="has two arrays of q_net.0, under two names")),
        (["a_q_net.0", "a_q_net.0.npy"], parts(field="'a_q_net.0'", problem="is stored twice, with and without .npy")),
        (["a\n_q_net.0"], parts(field="'a\\n'", problem="the input id contains an unprintable character")),
    ],
)
def test_arrays_that_make_no_table_of_ids_and_layers_are_refused(members, error):
    write_members([(name, ONE) for name in members])
    refused(**error)


def test_arrays_of_one_layer_have_one_shape():
    np.savez(NPZ, **{"a_q_net.0": ONE, "b_q_net.0": ONE[:, :1]})
    refused(field="q_net.0", found="shapes (1, 2) and (1, 1)", expected="one shape")


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_a_member_twice_is_refused():
    write_members([("a_q_net.0.npy", ONE), ("a_q_net.0.npy", ONE * 2)])
    refused(field="'a_q_net.0.npy'", problem="is stored twice in the zip")


@pytest.mark.parametrize(
    ("data", "error"),
    [
        (None, parts(problem="no such file", hint="activation_extraction.py makes it")),
        (b"", parts(found="an empty file", expected="a zip file", hint="download it again")),
        (b'{"a": {}}', parts(found="JSON", expected="an npz file", hint="readable activations end in .json")),
        (b'\n {"a": {}}', parts(found="JSON", expected="an npz file", hint="readable activations end in .json")),
        (pickle.dumps({}), parts(found="a bare pickle", expected="a zip file", hint="download it again")),
        (b"\x93NUMPY", parts(found="something other than a zip", expected="a zip file", hint="download it again")),
    ],
)
def test_a_file_that_is_no_npz_is_named_for_what_it_is(data, error):
    if data is not None:
        NPZ.write_bytes(data)
    refused(**error)


@pytest.mark.parametrize("part", [0.1, 0.5, 0.99])
def test_a_truncated_npz_is_refused(part):
    save()
    NPZ.write_bytes(NPZ.read_bytes()[: int(part * NPZ.stat().st_size)])
    refused(found="a truncated or damaged zip", expected="a zip file")


def test_a_bomb_is_refused_before_it_is_unpacked(monkeypatch):
    with zipfile.ZipFile(NPZ, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a_q_net.0.npy", bytes(1 << 28))
    monkeypatch.setattr(zipfile.ZipFile, "open", lambda *_: pytest.fail("unpacked"))
    refused(field="'a_q_net.0.npy'", found="268,435,456 bytes to unpack", expected=re.compile("at most 3.*"))


def test_a_zip_of_too_many_members_is_refused(monkeypatch):
    monkeypatch.setattr(zip_members, "members_limit", lambda _size: 3)
    write_members([(f"{n}_q_net.0.npy", ONE) for n in range(4)])
    monkeypatch.setattr(zipfile, "ZipFile", lambda *_: pytest.fail("listed"))
    refused(found="4 members", expected=re.compile("at most 3 in a file of .*"))


def test_an_id_that_looks_like_a_path_stays_a_key():
    np.savez(NPZ, **{"../../evil_q_net.0": ONE, "/etc/x_q_net.0": ONE})
    assert load_activations(NPZ, LAYERS).ids == ("../../evil", "/etc/x")
    assert [path.name for path in Path().iterdir()] == [NPZ.name]


def test_a_twin_with_other_values_is_an_error_and_a_missing_one_is_not():
    save()
    READABLE.write_bytes(READABLE.read_bytes() + b" ")
    refused(names=["clean_activations_readable.json"], hint=re.compile(".* --overwrite .*"))
    READABLE.unlink()
    assert load_activations(NPZ, LAYERS).ids == ("a", "b")


FULL = {**METADATA, "ids": ["a"], "layers": {"q_net.0": [2]}, "key_encoding": "<id>_<layer>"}
ALL_OF_THEM = parts(field="__metadata__", problem="lacks ids, layers or run")


@pytest.mark.parametrize(
    ("metadata", "error"),
    [
        (
            {**FULL, "format": 2},
            parts(
                field="metadata.format",
                found="2",
                expected="a whole number, at most 1",
                hint="written by a newer suite",
            ),
        ),
        ({**FULL, "format": None}, parts(field="metadata.format", found="null", expected="a whole number, at most 1")),
        (
            {**FULL, "format": [[]]},
            parts(field="metadata.format", found="a list", expected="a whole number, at most 1"),
        ),
        ({**FULL, "ids": "a"}, ALL_OF_THEM),
        ({**FULL, "ids": [1]}, ALL_OF_THEM),
        ({**FULL, "layers": ["q_net.0"]}, ALL_OF_THEM),
        ({**FULL, "run": None}, ALL_OF_THEM),
        ({**FULL, "key_encoding": "<layer>_<id>"}, ALL_OF_THEM),
        ({**FULL, "ids": ["b"]}, parts(field="'b_q_net.0'", problem="no such member")),
        ({**FULL, "ids": ["a", "b"]}, parts(found="1 arrays", expected="2 ids x 1 layers, as in the metadata")),
        (
            {**FULL, "ids": []},
            parts(found="2 arrays, none named <id>_<layer>", expected="layers such as q_net.0, q_net.2, q_net.q_net.0"),
        ),
        ([], parts(field="__metadata__", found="a list", expected="an object")),
        (b"{", parts(field="__metadata__", found="bytes that are not JSON", expected="metadata")),
        (b"[" * 50_000, parts(field="__metadata__", found="bytes that are not JSON", expected="metadata")),
        (None, parts(field="__metadata__", found="null", expected="an object")),
    ],
    ids=range(15),
)
def test_faulty_metadata_is_refused(metadata, error):
    raw = metadata if isinstance(metadata, bytes) else json.dumps(metadata).encode()
    write_members([("a_q_net.0.npy", ONE), ("__metadata__.npy", np.frombuffer(raw, np.uint8))])
    refused(**error)


def test_metadata_of_another_dtype_is_refused():
    write_members([("a_q_net.0.npy", ONE), ("__metadata__.npy", ONE)])
    refused(field="__metadata__", found="null", expected="an object")


def test_selected_rows_follow_the_ids_asked_for():
    save(("a", "b", "c"), {"q_net.0": np.array([[1], [2], [3]], np.float32)})
    loaded = load_activations(NPZ, LAYERS)
    assert loaded.selected(loaded.ids) is loaded
    assert loaded.selected(["c", "a"]).ids == ("c", "a")
    assert loaded.selected(["c", "a"]).values["q_net.0"].tolist() == [[3], [1]]
    with raises(InputError, file="clean_activations.npz", problem="unknown input id 'd'"):
        loaded.selected(["a", "d"])


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_an_activation_that_is_not_finite_is_not_written(bad):
    with raises(
        InputError, file="clean_activations.npz", field="q_net.0", found="NaN or infinity", expected="finite numbers"
    ):
        save(values={"q_net.0": np.array([[1], [bad]], np.float32)})
    assert list(Path().iterdir()) == []


def test_ids_that_would_share_a_key_are_not_written():
    values = {"x": np.ones((2, 1), np.float32), "b_x": np.ones((2, 1), np.float32)}
    with raises(InputError, file="clean_activations.npz", field="'a_b'", problem="with x, has the same key as 'a'"):
        save(("a", "a_b"), values)
    assert list(Path().iterdir()) == []
