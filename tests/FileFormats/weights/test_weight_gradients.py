from __future__ import annotations

import io
import json
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from Neuron_Selection.errors import InputError
from Neuron_Selection.FileFormats.storage.atomic_files import opened_to_read
from Neuron_Selection.FileFormats.storage.json_files import parse_edited_json
from Neuron_Selection.FileFormats.storage.nested_numbers import filled_float_array
from Neuron_Selection.FileFormats.weights import weight_gradients
from Neuron_Selection.FileFormats.weights.weight_gradients import (
    BLOCK,
    InputGradient,
    load_weight_gradients,
    save_weight_gradients,
    stored_gradients,
)
from tests.raised import Parts, parts, raises

Members = dict[str, np.ndarray]
METADATA = {"format": 1, "run": {"weights_sha256": "abc"}}


def one_gradient(number: int, **changed: Any) -> InputGradient:
    generator = np.random.default_rng(number)
    shapes = {"q_net.0.weight": (3, 2), "q_net.0.bias": (3,)}
    gradients = {name: generator.normal(size=shape).astype(np.float32) for name, shape in shapes.items()}
    reported = {"input_id": f"i{number},é", "action": number % 3, "value": number / 3, "gradients": gradients}
    return InputGradient(**{**reported, **changed})


def saved(folder: Path, count: int = 2, *kinds: str) -> Path:
    return save_weight_gradients(folder, map(one_gradient, range(count)), formats=kinds or ("npz",), metadata=METADATA)[
        0
    ]


def refused(path: Path, **error: Any) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with raises(InputError, file=path, **error):
            list(load_weight_gradients(path))


@pytest.mark.parametrize("kind", ["json", "npz"])
@pytest.mark.parametrize("count", [1, BLOCK - 1, BLOCK, BLOCK + 1, 2 * BLOCK + 5])
def test_gradients_of_any_number_of_inputs_are_read_as_they_were_written(kind: str, count: int, tmp_path: Path) -> None:
    loaded = list(load_weight_gradients(saved(tmp_path, count, kind)))
    assert len(loaded) == count
    for number, found in enumerate(loaded):
        expected = one_gradient(number)
        assert (found.input_id, found.action, found.value) == (expected.input_id, expected.action, expected.value)
        assert list(found.gradients) == list(expected.gradients) or kind == "npz"
        for name, array in expected.gradients.items():
            assert np.array_equal(found.gradients[name], array)


@pytest.mark.parametrize("kind", ["json", "npz"])
def test_metadata_belong_to_the_file_that_was_written_with_them(kind: str, tmp_path: Path) -> None:
    path = saved(tmp_path, 3, kind)
    stored = stored_gradients(path).complete
    assert stored is not None
    assert stored["run"] == METADATA["run"]
    path.write_bytes(path.read_bytes()[:-2])
    assert stored_gradients(path).complete is None


def test_a_json_file_is_never_read_back_to_hash_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from Neuron_Selection.FileFormats.storage import atomic_files

    def too_large(*_: Any, **__: Any) -> bytes:
        raise AssertionError("a file of gibibytes read as a whole")

    monkeypatch.setattr(atomic_files, "read_bytes", too_large)
    monkeypatch.setattr(weight_gradients, "read_bytes", too_large)
    path = saved(tmp_path, 3, "json")
    assert len(list(load_weight_gradients(path))) == 3
    meta = json.loads((tmp_path / "weight_gradients.meta.json").read_text())
    assert meta["gradients_sha256"] == atomic_files.sha256_of(path.read_bytes())
    assert meta["gradients_sha256"] == atomic_files.sha256_of_file(path)


def test_a_json_file_of_ours_is_parsed_one_input_at_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = saved(tmp_path, 5, "json")
    lengths: list[int] = []

    def watched(data: bytes, where: object) -> Any:
        lengths.append(len(data))
        return parse_edited_json(data, where)

    monkeypatch.setattr(weight_gradients, "parse_edited_json", watched)
    with opened_to_read(path) as file:
        longest = max(map(len, file))
    assert len(list(load_weight_gradients(path))) == 5
    assert len(lengths) == 5
    assert max(lengths) <= longest + 1


@pytest.mark.parametrize(
    "spelt",
    [
        lambda text: text.replace("\n", "\r\n"),
        lambda text: json.dumps(json.loads(text)),
        lambda text: json.dumps(json.loads(text), indent=2),
        lambda text: json.dumps(json.loads(text), indent=0),
        lambda text: "\ufeff" + text,
        lambda text: text.rstrip("\n"),
    ],
    ids=["CRLF", "one line", "indented", "not indented", "byte-order mark", "no last line feed"],
)
def test_json_in_any_layout_is_the_same(spelt: Callable[[str], str], tmp_path: Path) -> None:
    path = saved(tmp_path, 3, "json")
    path.write_bytes(spelt(path.read_text(encoding="utf-8")).encode())
    assert [one.value for one in load_weight_gradients(path)] == [0, 1 / 3, 2 / 3]


@pytest.mark.parametrize("lines", range(5))
def test_json_that_ends_after_some_lines_is_refused_not_read_as_far_as_it_goes(lines: int, tmp_path: Path) -> None:
    path = saved(tmp_path, 3, "json")
    whole = path.read_bytes().splitlines(keepends=True)
    assert len(whole) == 5
    path.write_bytes(b"".join(whole[:lines]))
    refused(path, field=..., problem=..., found=..., expected=...)
    path.write_bytes(b"".join(whole) + b"more")
    refused(path, problem="is truncated, or has text after its last input")


HUGE = "1" + "0" * 400
ENTRY = '"max_logit_action": 1, "max_logit_value": 0.5, "gradients": {"w": [1.0, 2.0]}'


@pytest.mark.parametrize(
    ("text", "error"),
    [
        (
            f'{{"a": {{{ENTRY.replace("0.5", HUGE)}}}}}',
            parts(field="'a'.max_logit_value", found="an integer of 1329 bits", expected="a finite number"),
        ),
        (
            f'{{"a": {{{ENTRY.replace("0.5", "1e999")}}}}}',
            parts(field="'a'.max_logit_value", found="the literal 1e999", expected="finite numbers"),
        ),
        (
            f'{{"a": {{{ENTRY.replace("0.5", "true")}}}}}',
            parts(field="'a'.max_logit_value", found="true", expected="a finite number"),
        ),
        (
            f'{{"a": {{{ENTRY.replace(": 1,", ": 1.0,")}}}}}',
            parts(field="'a'.max_logit_action", found="1.0", expected="the index of an action"),
        ),
        (
            f'{{"a": {{{ENTRY.replace(": 1,", ": -1,")}}}}}',
            parts(field="'a'.max_logit_action", found="-1", expected="the index of an action"),
        ),
        (
            f'{{"a": {{{ENTRY.replace("2.0", "1e999")}}}}}',
            parts(field="'a'.gradients.w[1]", found="the literal 1e999", expected="finite numbers"),
        ),
        (
            f'{{"a": {{{ENTRY.replace("2.0", "true")}}}}}',
            parts(field="'a'.gradients.w", found="true", expected="numbers"),
        ),
        (
            f'{{"a": {{{ENTRY.replace("2.0", "null")}}}}}',
            parts(field="'a'.gradients.w", found="null", expected="numbers"),
        ),
        (
            f'{{"a": {{{ENTRY.replace("2.0", HUGE)}}}}}',
            parts(field="'a'.gradients.w", found="an integer too large", expected="numbers"),
        ),
        (
            f'{{"a": {{{ENTRY.replace("2.0", "[1]")}}}}}',
            parts(field="'a'.gradients.w", found="lists of unequal lengths", expected="a full array"),
        ),
        (
            f'{{"a": {{{ENTRY.replace("[1.0, 2.0]", "[" * 20 + "]" * 20)}}}}}',
            parts(field="'a'.gradients.w", found="lists nested more than 8 deep", expected="an array"),
        ),
        (
            f'{{"a": {{{ENTRY.replace("[1.0, 2.0]", "[]")}}}}}',
            parts(field="'a'.gradients.w", found="no values", expected="numbers"),
        ),
        (
            f'{{"a": {{{ENTRY}}}, "a": {{{ENTRY}}}}}',
            parts(field="'a'", found="a duplicate key", expected="unique keys"),
        ),
        (
            f'{{\n"a": {{{ENTRY}}},\n"a": {{{ENTRY}}}\n}}\n',
            parts(field="'a'", found="a duplicate key", expected="unique keys"),
        ),
        (
            f'{{"a": {{{ENTRY}}}, "b": {{{ENTRY.replace("2.0", "2.0, 3.0")}}}}}',
            parts(field="'b'.gradients.w", problem="is missing or has another shape than for the first input"),
        ),
        (
            f'{{"a": {{{ENTRY}}}, "b": {{{ENTRY.replace("w", "v")}}}}}',
            parts(field="'b'.gradients.w", problem="is missing or has another shape than for the first input"),
        ),
        ("{}", parts(found="an object", expected="an object {id: {max_logit_action, ..., gradients}}")),
    ],
)
def test_bad_json_is_refused(text: str, error: Parts, tmp_path: Path) -> None:
    path = tmp_path / "weight_gradients.json"
    path.write_text(text)
    refused(path, **error)


def members_of(path: Path) -> Members:
    with np.load(path) as arrays:
        return dict(arrays)


def write_members(path: Path, members: dict[str, Any]) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        for key, array in members.items():
            buffer = io.BytesIO()
            np.lib.format.write_array(buffer, array)
            archive.writestr(key if key.endswith("!") else f"{key}.npy", buffer.getvalue())


def reported(change: Callable[[dict[str, Any]], object]) -> Callable[[Members], object]:
    """A change of the metadata."""

    def changed(members: Members) -> None:
        document = json.loads(members["__metadata__"].tobytes())
        change(document)
        members["__metadata__"] = np.frombuffer(json.dumps(document).encode(), np.uint8)

    return changed


def metadata_is(document: Any) -> Callable[[Members], object]:
    return lambda members: members.update({"__metadata__": np.frombuffer(json.dumps(document).encode(), np.uint8)})


W = "000000/q_net.0.weight"
BAD_NPZ: dict[str, tuple[Callable[[Members], object], str]] = {
    "NaN": (
        lambda m: m.update({W: m[W] * np.nan}),
        parts(field="'000000/q_net.0.weight'", found="NaN or infinity", expected="finite numbers"),
    ),
    "infinity": (
        lambda m: m.update({W: m[W] + np.inf}),
        parts(field="'000000/q_net.0.weight'", found="NaN or infinity", expected="finite numbers"),
    ),
    "integers": (
        lambda m: m.update({W: m[W].astype(np.int64)}),
        parts(field="'000000/q_net.0.weight'", found="int64 values", expected="float32"),
    ),
    "a row fewer": (
        lambda m: m.update({W: m[W][:1]}),
        parts(field="'000000/q_net.0.weight'", found="shape (1, 3, 2)", expected="(2, ...), one row per input"),
    ),
    "a row more": (
        lambda m: m.update({W: m[W][[0, 1, 1]]}),
        parts(field="'000000/q_net.0.weight'", found="shape (3, 3, 2)", expected="(2, ...), one row per input"),
    ),
    "no rows": (
        lambda m: m.update({W: np.float32(1)}),
        parts(field="'000000/q_net.0.weight'", found="shape ()", expected="(2, ...), one row per input"),
    ),
    "a parameter missing": (lambda m: m.pop(W), parts(field="'000000/q_net.0.weight'", problem="is missing")),
    "beyond float32": (
        lambda m: m.update({W: m[W].astype(float) * 1e300}),
        parts(
            field="'000000/q_net.0.weight'", found="a number beyond float32", expected="numbers in the range of float32"
        ),
    ),
    "parameters text": (
        reported(lambda t: t.update(parameters="w")),
        parts(field="__metadata__.parameters", found="'w'", expected="a list of names"),
    ),
    "parameters numbers": (
        reported(lambda t: t.update(parameters=[1])),
        parts(field="__metadata__.parameters", found="a list", expected="a list of names"),
    ),
    "no arrays": (
        lambda m: [m.pop(key) for key in list(m) if key[0] == "0"],
        parts(field="block 000000", problem="has no gradients of its 2 inputs"),
    ),
    "another block": (
        lambda m: m.update({"000001/w": m[W]}),
        parts(field="'000001/w.npy'", problem="the member belongs to no input"),
    ),
    "junk": (lambda m: m.update({"junk": m[W]}), parts(field="'junk.npy'", problem="the member belongs to no input")),
    "no .npy": (
        lambda m: m.update({f"{W}!": m[W]}),
        parts(field="'000000/q_net.0.weight!'", problem="the member belongs to no input"),
    ),
    "ids a number": (
        reported(lambda t: t.update(ids=3)),
        parts(field="__metadata__", problem="lacks ids, actions or values of equal length"),
    ),
    "ids text": (
        reported(lambda t: t.update(ids="ab")),
        parts(field="__metadata__", problem="lacks ids, actions or values of equal length"),
    ),
    "ids numbers": (reported(lambda t: t.update(ids=[1, 2])), parts(field="ids", found="1", expected="text")),
    "ids twice": (reported(lambda t: t.update(ids=["a", "a"])), parts(field="'a'", problem="the id is listed twice")),
    "ids too many": (
        reported(lambda t: t["ids"].append("c")),
        parts(field="__metadata__", problem="lacks ids, actions or values of equal length"),
    ),
    "no ids": (
        reported(lambda t: t.update(ids=[], actions=[], values=[])),
        parts(field="__metadata__", problem="lacks ids, actions or values of equal length"),
    ),
    "no actions": (
        reported(lambda t: t.pop("actions")),
        parts(field="__metadata__", problem="lacks ids, actions or values of equal length"),
    ),
    "action true": (
        reported(lambda t: t.update(actions=[True, 0])),
        parts(field="'i0,é'.max_logit_action", found="true", expected="the index of an action"),
    ),
    "value text": (
        reported(lambda t: t.update(values=["1", 0])),
        parts(field="'i0,é'.max_logit_value", found="'1'", expected="a finite number"),
    ),
    "value NaN": (
        reported(lambda t: t.update(values=[float("nan"), 0])),
        parts(field="'i0,é'.max_logit_value", found="NaN", expected="a finite number"),
    ),
    "value huge": (
        reported(lambda t: t.update(values=[10**400, 0])),
        parts(field="'i0,é'.max_logit_value", found="an integer of 1329 bits", expected="a finite number"),
    ),
    "metadata a list": (
        metadata_is([1]),
        parts(field="__metadata__", problem="lacks ids, actions or values of equal length"),
    ),
    "metadata of activations": (
        metadata_is({"ids": ["a"], "layers": {}}),
        parts(field="__metadata__", problem="lacks ids, actions or values of equal length"),
    ),
    "metadata no bytes": (
        lambda m: m.update(__metadata__=np.zeros(3)),
        parts(field="__metadata__", problem="lacks ids, actions or values of equal length"),
    ),
    "metadata no JSON": (
        lambda m: m.update(__metadata__=np.zeros(3, np.uint8)),
        parts(field="__metadata__", found="bytes that are not JSON", expected="metadata"),
    ),
    "no metadata": (lambda m: m.pop("__metadata__"), parts(field="'__metadata__.npy'", problem="no such member")),
    "objects": (
        lambda m: m.update({W: np.array([None, None])}),
        parts(field="'000000/q_net.0.weight'", found="pickled objects", expected="float32 arrays"),
    ),
}


@pytest.mark.parametrize("fault", BAD_NPZ)
def test_a_bad_npz_is_refused(fault: str, tmp_path: Path) -> None:
    path = saved(tmp_path)
    members = members_of(path)
    change, error = BAD_NPZ[fault]
    change(members)
    write_members(path, members)
    refused(path, **error)


def test_metadata_that_were_cut_are_refused_also_where_what_is_left_is_json(tmp_path: Path) -> None:
    path = saved(tmp_path)
    with zipfile.ZipFile(path) as archive:
        members = {info.filename: archive.read(info) for info in archive.infolist()}
    assert members["__metadata__.npy"].endswith(b"}\n")
    members["__metadata__.npy"] = members["__metadata__.npy"][:-1]
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    refused(path, field="__metadata__", found="bytes that are not JSON", expected="metadata")


def test_a_file_of_0_1_0_does_not_name_its_parameters_and_is_read(tmp_path: Path) -> None:
    path = saved(tmp_path)
    members = members_of(path)
    reported(lambda t: t.pop("parameters"))(members)
    write_members(path, members)
    assert len(list(load_weight_gradients(path))) == 2


def test_a_member_that_is_no_array_is_refused(tmp_path: Path) -> None:
    path = saved(tmp_path)
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("000000/more.npy", b"junk")
    refused(path, field="'000000/more'", found="another format", expected="a .npy array of float32")


def test_an_array_in_fortran_order_keeps_its_values(tmp_path: Path) -> None:
    path = saved(tmp_path)
    members = members_of(path)
    write_members(path, {key: np.asfortranarray(array) for key, array in members.items()})
    for number, found in enumerate(load_weight_gradients(path)):
        assert np.array_equal(found.gradients["q_net.0.weight"], one_gradient(number).gradients["q_net.0.weight"])


@pytest.mark.parametrize("document", [{"ids": ["a"], "layers": {"q_net.0": [3]}, "run": {}}, {}, [], None, 3])
def test_an_npz_of_another_kind_has_no_metadata_of_gradients(document: Any, tmp_path: Path) -> None:
    path = saved(tmp_path)
    members = members_of(path)
    metadata_is(document)(members)
    write_members(path, members)
    assert stored_gradients(path).complete is None


def test_both_files_are_written_in_one_pass_and_hold_the_same(tmp_path: Path) -> None:
    each = iter([one_gradient(number) for number in range(70)])
    paths = save_weight_gradients(tmp_path, each, formats=("json", "npz"), metadata=METADATA)
    assert [path.name for path in paths] == ["weight_gradients.json", "weight_gradients.npz"]
    assert sorted(entry.name for entry in tmp_path.iterdir()) == [
        "weight_gradients.json", "weight_gradients.meta.json", "weight_gradients.npz",
    ]  # fmt: skip
    for one, other in zip(*map(load_weight_gradients, paths), strict=True):
        assert (one.input_id, one.action, one.value) == (other.input_id, other.action, other.value)
        assert all(np.array_equal(one.gradients[name], other.gradients[name]) for name in one.gradients)


@pytest.mark.parametrize(
    ("odd", "error"),
    [
        (
            one_gradient(1, gradients={"q_net.0.weight": np.array([np.nan])}),
            parts(field="'i1,é'.q_net.0.weight", found="NaN or infinity", expected="finite numbers"),
        ),
        (
            one_gradient(1, value=float("nan")),
            parts(field="'i1,é'.max_logit_value", found="NaN or infinity", expected="finite numbers"),
        ),
    ],
)
def test_a_gradient_that_is_not_finite_leaves_nothing_behind(
    odd: InputGradient, error: Parts, tmp_path: Path, recwarn: pytest.WarningsRecorder
) -> None:
    import gc

    with raises(InputError, file=tmp_path, **error) as raised:
        save_weight_gradients(tmp_path, [one_gradient(0), odd], formats=("json", "npz"), metadata=METADATA)
    assert not list(tmp_path.iterdir())
    del raised
    gc.collect()  # an archive that was not closed would warn now
    assert not recwarn.list


def test_integers_are_numbers_and_nested_lists_keep_their_shape() -> None:
    assert filled_float_array([[1, 2.5], [3, 4]], "f", "w").tolist() == [[1.0, 2.5], [3.0, 4.0]]
    assert filled_float_array([2**63], "f", "w").dtype == np.float64
