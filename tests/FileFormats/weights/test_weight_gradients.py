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


def refusal(path: Path) -> str:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(InputError) as caught:
            list(load_weight_gradients(path))
    assert caught.value.exit_code == 2
    return str(caught.value)


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
    assert refusal(path)
    path.write_bytes(b"".join(whole) + b"more")
    assert "is truncated, or has text after its last input" in refusal(path)


HUGE = "1" + "0" * 400
ENTRY = '"max_logit_action": 1, "max_logit_value": 0.5, "gradients": {"w": [1.0, 2.0]}'


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (f'{{"a": {{{ENTRY.replace("0.5", HUGE)}}}}}', "'a'.max_logit_value: found an integer of 1329 bits"),
        (f'{{"a": {{{ENTRY.replace("0.5", "1e999")}}}}}', "'a'.max_logit_value: found the literal 1e999"),
        (f'{{"a": {{{ENTRY.replace("0.5", "true")}}}}}', "'a'.max_logit_value: found true"),
        (f'{{"a": {{{ENTRY.replace(": 1,", ": 1.0,")}}}}}', "'a'.max_logit_action: found 1.0"),
        (f'{{"a": {{{ENTRY.replace(": 1,", ": -1,")}}}}}', "'a'.max_logit_action: found -1"),
        (f'{{"a": {{{ENTRY.replace("2.0", "1e999")}}}}}', "'a'.gradients.w[1]: found the literal 1e999"),
        (f'{{"a": {{{ENTRY.replace("2.0", "true")}}}}}', "'a'.gradients.w: found true, expected numbers"),
        (f'{{"a": {{{ENTRY.replace("2.0", "null")}}}}}', "'a'.gradients.w: found null"),
        (f'{{"a": {{{ENTRY.replace("2.0", HUGE)}}}}}', "'a'.gradients.w: found"),
        (f'{{"a": {{{ENTRY.replace("2.0", "[1]")}}}}}', "'a'.gradients.w: found lists of unequal lengths"),
        (f'{{"a": {{{ENTRY.replace("[1.0, 2.0]", "[" * 20 + "]" * 20)}}}}}', "'a'.gradients.w: found"),
        (f'{{"a": {{{ENTRY.replace("[1.0, 2.0]", "[]")}}}}}', "'a'.gradients.w: found no values"),
        (f'{{"a": {{{ENTRY}}}, "a": {{{ENTRY}}}}}', "'a': found a duplicate key"),
        (f'{{\n"a": {{{ENTRY}}},\n"a": {{{ENTRY}}}\n}}\n', "'a': found a duplicate key"),
        (f'{{"a": {{{ENTRY}}}, "b": {{{ENTRY.replace("2.0", "2.0, 3.0")}}}}}',
         "'b'.gradients.w: is missing or has another shape than for the first input"),
        (f'{{"a": {{{ENTRY}}}, "b": {{{ENTRY.replace("w", "v")}}}}}',
         "'b'.gradients.w: is missing or has another shape"),
        ("{}", "found an object, expected an object {id: {max_logit_action"),
    ],
)  # fmt: skip
def test_bad_json_is_refused(text: str, says: str, tmp_path: Path) -> None:
    path = tmp_path / "weight_gradients.json"
    path.write_text(text)
    assert says in refusal(path)


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
    "NaN": (lambda m: m.update({W: m[W] * np.nan}), f"'{W}': found NaN or infinity"),
    "infinity": (lambda m: m.update({W: m[W] + np.inf}), f"'{W}': found NaN or infinity"),
    "integers": (lambda m: m.update({W: m[W].astype(np.int64)}), f"'{W}': found int64 values"),
    "a row fewer": (lambda m: m.update({W: m[W][:1]}), f"'{W}': found shape (1, 3, 2), expected (2, ...)"),
    "a row more": (lambda m: m.update({W: m[W][[0, 1, 1]]}), f"'{W}': found shape (3, 3, 2), expected (2, ...)"),
    "no rows": (lambda m: m.update({W: np.float32(1)}), f"'{W}': found shape (), expected (2, ...)"),
    "a parameter missing": (lambda m: m.pop(W), f"'{W}': is missing"),
    "beyond float32": (lambda m: m.update({W: m[W].astype(float) * 1e300}), f"'{W}': found a number beyond float32"),
    "parameters text": (reported(lambda t: t.update(parameters="w")), "__metadata__.parameters: found 'w'"),
    "parameters numbers": (reported(lambda t: t.update(parameters=[1])), "__metadata__.parameters: found a list"),
    "no arrays": (lambda m: [m.pop(key) for key in list(m) if key[0] == "0"], "block 000000: has no gradients"),
    "another block": (lambda m: m.update({"000001/w": m[W]}), "'000001/w.npy': the member belongs to no"),
    "junk": (lambda m: m.update({"junk": m[W]}), "'junk.npy': the member belongs to no input"),
    "no .npy": (lambda m: m.update({f"{W}!": m[W]}), f"'{W}!': the member belongs to no input"),
    "ids a number": (reported(lambda t: t.update(ids=3)), "lacks ids, actions or values of equal length"),
    "ids text": (reported(lambda t: t.update(ids="ab")), "lacks ids, actions or values of equal length"),
    "ids numbers": (reported(lambda t: t.update(ids=[1, 2])), "ids: found 1, expected text"),
    "ids twice": (reported(lambda t: t.update(ids=["a", "a"])), "'a': the id is listed twice"),
    "ids too many": (reported(lambda t: t["ids"].append("c")), "lacks ids, actions or values of equal length"),
    "no ids": (reported(lambda t: t.update(ids=[], actions=[], values=[])), "lacks ids, actions or values of equal"),
    "no actions": (reported(lambda t: t.pop("actions")), "lacks ids, actions or values of equal length"),
    "action true": (reported(lambda t: t.update(actions=[True, 0])), "max_logit_action: found true"),
    "value text": (reported(lambda t: t.update(values=["1", 0])), "max_logit_value: found '1'"),
    "value NaN": (reported(lambda t: t.update(values=[float("nan"), 0])), "max_logit_value: found NaN"),
    "value huge": (reported(lambda t: t.update(values=[10**400, 0])), "max_logit_value: found an integer of 1329 bits"),
    "metadata a list": (metadata_is([1]), "lacks ids, actions or values of equal length"),
    "metadata of activations": (metadata_is({"ids": ["a"], "layers": {}}), "lacks ids, actions or values"),
    "metadata no bytes": (lambda m: m.update(__metadata__=np.zeros(3)), "lacks ids, actions or values of equal length"),
    "metadata no JSON": (lambda m: m.update(__metadata__=np.zeros(3, np.uint8)), "found bytes that are not JSON"),
    "no metadata": (lambda m: m.pop("__metadata__"), "'__metadata__.npy': no such member"),
    "objects": (lambda m: m.update({W: np.array([None, None])}), f"'{W}': found pickled objects"),
}  # fmt: skip


@pytest.mark.parametrize("fault", BAD_NPZ)
def test_a_bad_npz_is_refused(fault: str, tmp_path: Path) -> None:
    path = saved(tmp_path)
    members = members_of(path)
    change, says = BAD_NPZ[fault]
    change(members)
    write_members(path, members)
    assert says in refusal(path)


def test_metadata_that_were_cut_are_refused_also_where_what_is_left_is_json(tmp_path: Path) -> None:
    path = saved(tmp_path)
    with zipfile.ZipFile(path) as archive:
        members = {info.filename: archive.read(info) for info in archive.infolist()}
    assert members["__metadata__.npy"].endswith(b"}\n")
    members["__metadata__.npy"] = members["__metadata__.npy"][:-1]
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    assert "found bytes that are not JSON" in refusal(path)


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
    assert "'000000/more': found another format" in refusal(path)


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
    ("odd", "says"),
    [
        (one_gradient(1, gradients={"q_net.0.weight": np.array([np.nan])}), "'i1,é'.q_net.0.weight: found NaN"),
        (one_gradient(1, value=float("nan")), "'i1,é'.max_logit_value: found NaN or infinity"),
    ],
)
def test_a_gradient_that_is_not_finite_leaves_nothing_behind(
    odd: InputGradient, says: str, tmp_path: Path, recwarn: pytest.WarningsRecorder
) -> None:
    import gc

    with pytest.raises(InputError) as caught:
        save_weight_gradients(tmp_path, [one_gradient(0), odd], formats=("json", "npz"), metadata=METADATA)
    assert says in str(caught.value)
    assert not list(tmp_path.iterdir())
    del caught
    gc.collect()  # an archive that nobody closed would complain now
    assert not recwarn.list


def test_integers_are_numbers_and_nested_lists_keep_their_shape() -> None:
    assert filled_float_array([[1, 2.5], [3, 4]], "f", "w").tolist() == [[1.0, 2.5], [3.0, 4.0]]
    assert filled_float_array([2**63], "f", "w").dtype == np.float64
