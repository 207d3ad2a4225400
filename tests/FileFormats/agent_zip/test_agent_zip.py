from __future__ import annotations

import base64
import io
import json
import os
import pickle
import re
import subprocess
import sys
import zipfile
from collections import OrderedDict
from pathlib import Path

import cloudpickle
import numpy as np
import pytest
import torch
from gymnasium import spaces
from hypothesis import given, settings
from hypothesis import strategies as st
from stable_baselines3.dqn.policies import DQNPolicy

from Neuron_Selection.errors import InputError, SuiteError, UntrustedError
from Neuron_Selection.FileFormats.agent_zip.agent_zip import ClassByValue, read_agent_zip
from Neuron_Selection.FileFormats.agent_zip.pickled_data import Name
from Neuron_Selection.FileFormats.agent_zip.spaces import BoxSpace, DiscreteSpace
from Neuron_Selection.FileFormats.agent_zip.tensors import weights_sha256
from Neuron_Selection.FileFormats.storage import zip_members
from Neuron_Selection.FileFormats.storage.atomic_files import sha256_of
from tests.conftest import ROOT
from tests.FileFormats.crafted import (
    LIST_IN_ITSELF,
    Call,
    dumps,
    gym_box,
    nested,
    numpy_1_array,
    numpy_1_scalar,
    numpy_2_buffer,
    policy_pth,
    rezipped,
    space,
    stub,
)
from tests.made_agents import (
    data_fields,
    mlp_agent,
    mlp_state,
    pickled,
    serialized,
    state_bytes,
    vector_space,
    write_zip,
)
from tests.raised import parts, raises

PATH = Path("agent.zip")
NEEDED = ["policy_class", "policy_kwargs", "observation_space", "action_space"]


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture(scope="module")
def good(tmp_path_factory):
    """The bytes of a small agent's zip."""
    return write_zip(tmp_path_factory.mktemp("good") / "agent.zip", policy=mlp_state(2, (3,), 2)).read_bytes()


def read(data=None, **changed):
    if data is None:
        write_zip(PATH, data=data_fields(**changed))
    else:
        PATH.write_bytes(data)
    return read_agent_zip(PATH)


def refusal(data=None, kind=InputError, **changed):
    with pytest.raises(kind) as raised:
        read(data, **changed)
    assert raised.value.exit_code == (3 if kind is UntrustedError else 2)
    return raised.value


def test_an_agent_saved_by_stable_baselines3_is_read_as_data(here):
    path = mlp_agent(here / "dqn", width=5, net_arch=[7], seed=3, activation_fn=torch.nn.Tanh) / "agent.zip"
    agent = read_agent_zip(path)
    assert agent.policy_class == Name("stable_baselines3.dqn.policies", "DQNPolicy")
    assert agent.policy_kwargs == {"net_arch": [7], "activation_fn": Name("torch.nn.modules.activation", "Tanh")}
    assert isinstance(agent.observation_space, BoxSpace)
    assert agent.observation_space.shape == (5,)
    assert agent.action_space == DiscreteSpace(n=3)
    assert re.fullmatch(r"[0-9.]+", agent.sb3_version)
    assert agent.sha256 == sha256_of(path.read_bytes())
    with zipfile.ZipFile(path) as archive:
        state = torch.load(io.BytesIO(archive.read("policy.pth")), weights_only=True)
    assert {name: tensor.tobytes() for name, tensor in agent.tensors.items()} == {
        name: tensor.numpy().tobytes() for name, tensor in state.items()
    }


def test_the_fingerprint_is_of_the_online_network_alone():
    state = mlp_state()
    before = read(write_zip(PATH, policy=state).read_bytes())
    online = {name.removeprefix("q_net."): value for name, value in before.tensors.items() if name.startswith("q_net.")}
    assert before.weights_sha256 == weights_sha256(online)
    state["q_net_target.q_net.0.bias"] += 1
    target_changed = read(write_zip(PATH, policy=state).read_bytes())
    assert target_changed.sha256 != before.sha256
    assert target_changed.weights_sha256 == before.weights_sha256
    state["q_net.q_net.0.bias"] += 1
    assert read(write_zip(PATH, policy=state).read_bytes()).weights_sha256 != before.weights_sha256


@pytest.mark.parametrize(("name", "width", "n_actions"), [("CartPole-v1", 4, 2), ("Acrobot-v1", 6, 3)])
def test_the_published_agents_of_2021_are_read(published_agents, name, width, n_actions):
    agent = read_agent_zip(published_agents / name / "agent.zip")
    assert agent.policy_kwargs == {"net_arch": [256, 256]}
    assert agent.sb3_version == "1.0rc0"
    assert agent.observation_space.shape == (width,)
    assert agent.action_space == DiscreteSpace(n=n_actions)
    shapes = [agent.tensors[f"q_net.q_net.{n}.weight"].shape for n in (0, 2, 4)]
    assert shapes == [(256, width), (256, 256), (n_actions, 256)]
    assert all(np.isfinite(tensor).all() and tensor.dtype == np.float32 for tensor in agent.tensors.values())


def test_a_published_agent_of_another_algorithm_is_read_for_what_it_is(published_agents):
    agent = read_agent_zip(published_agents / "qrdqn-CartPole-v1" / "agent.zip")
    assert agent.policy_class == Name("sb3_contrib.qrdqn.policies", "QRDQNPolicy")


@pytest.mark.parametrize("protocol", [3, 4, 5])
def test_an_agent_of_old_gym_is_read(protocol):
    low = np.full(4, -1, np.float32)
    agent = read(
        observation_space=serialized(dumps(gym_box(low, -low, shape_name="shape"), protocol=protocol)),
        action_space=serialized(dumps(space("Discrete", n=3, shape=(), dtype=np.dtype("int64")), protocol=protocol)),
    )
    assert agent.observation_space.shape == (4,)
    assert agent.observation_space.high.tolist() == [1, 1, 1, 1]
    assert agent.action_space == DiscreteSpace(n=3)


def test_policy_kwargs_may_be_absent_plain_or_pickled():
    assert read(policy_kwargs=None).policy_kwargs == {}
    assert read(policy_kwargs={"net_arch": [8], "a": None}).policy_kwargs == {"net_arch": [8], "a": None}
    kwargs = OrderedDict(net_arch=(8, 6), activation_fn=torch.nn.ELU, optimizer_kwargs={"eps": 0.5})
    assert read(policy_kwargs=pickled(kwargs)).policy_kwargs == {
        "net_arch": (8, 6),
        "activation_fn": Name("torch.nn.modules.activation", "ELU"),
    }


@pytest.mark.parametrize("scalar", [lambda value: value, numpy_1_scalar], ids=["numpy of today", "numpy 1"])
def test_numpy_scalars_among_policy_kwargs_are_plain_numbers(scalar):
    kwargs = {
        "net_arch": [scalar(np.int64(16)), 16],
        "normalize_images": scalar(np.bool_(False)),  # noqa: FBT003 - a value
        "features_extractor_kwargs": {"a": scalar(np.float32(0.1)), "b": (scalar(np.float64(0.1)), np.uint8(7))},
    }
    found = read(policy_kwargs=serialized(dumps(kwargs))).policy_kwargs
    assert found == {
        "net_arch": [16, 16],
        "normalize_images": False,
        "features_extractor_kwargs": {"a": float(np.float32(0.1)), "b": (0.1, 7)},
    }
    assert {type(width) for width in found["net_arch"]} == {int}
    assert found["normalize_images"] is False


@pytest.mark.parametrize(
    "value",
    [
        numpy_1_array(np.ones(3)),
        numpy_2_buffer(np.ones(3)),
        np.datetime64("2021-01-01"),
        np.dtype("f4"),
        Call(stub("numpy.core.multiarray", "scalar"), np.dtype("i8"), b"short"),
        Call(stub("numpy.core.multiarray", "scalar"), np.dtype("i8")),
        Call(stub("numpy.core.numeric", "_frombuffer"), b"", np.dtype("i8"), (1 << 70,), "C"),
        Call(stub("numpy.core.numeric", "_frombuffer"), b"", 3, (1,), "C"),
        b"bytes",
    ],
)
def test_what_no_flag_can_allow_is_an_error_of_content(value):
    with raises(InputError, file="agent.zip: data", field="policy_kwargs", found=..., expected=...):
        read(policy_kwargs=serialized(dumps({"net_arch": value})))


def test_what_belongs_to_the_optimizer_is_never_decoded():
    evil = {"eps": Call(os.system, "touch marker")}
    kwargs = {"net_arch": [8, 6], "optimizer_class": Call(os.system, "touch marker"), "optimizer_kwargs": evil}
    assert read(policy_kwargs=serialized(dumps(kwargs))).policy_kwargs == {"net_arch": [8, 6]}
    assert read(policy_kwargs={"net_arch": [8], "optimizer_kwargs": {"eps": 1}}).policy_kwargs == {"net_arch": [8]}
    assert not Path("marker").exists()


class Custom(torch.nn.Module):
    """Pickled by value below: its code would be stored in the zip."""


def test_a_class_pickled_by_value_is_known_by_its_name_only(monkeypatch):
    monkeypatch.setattr(Custom, "__module__", "__main__")
    kwargs = read(policy_kwargs=pickled({"features_extractor_class": Custom, "f": lambda: None})).policy_kwargs
    assert kwargs == {"features_extractor_class": ClassByValue(name="Custom"), "f": ClassByValue(name="a function")}


def test_a_class_by_reference_is_a_name():
    evil = serialized(b"cmy_project.models\nCustom\n.")
    assert read(policy_class=evil).policy_class == Name("my_project.models", "Custom")


def test_the_version_may_be_absent(good):
    assert read(good).sb3_version == "2.9.2"
    assert read(rezipped(good, _stable_baselines3_version=None)).sb3_version == ""


def test_an_agent_is_read_once_and_nothing_is_extracted(here, good, monkeypatch):
    opened = []
    open_file = os.open
    monkeypatch.setattr(os, "open", lambda path, *more: (opened.append(path), open_file(path, *more))[1])
    monkeypatch.setattr(zipfile.ZipFile, "extract", lambda *_: pytest.fail("extracted"))
    read(rezipped(good))
    assert [str(path) for path in opened if "agent" in str(path)] == ["agent.zip"]
    assert list(here.iterdir()) == [here / "agent.zip"]


def test_members_with_names_that_climb_are_ignored(here, good):
    write_zip(PATH, policy=mlp_state(2, (3,), 2), **{"../evil": b"x", "/etc/evil": b"x", "a/../../evil": b"x"})
    assert read_agent_zip(PATH).tensors.keys() == read(good).tensors.keys()
    assert list(here.iterdir()) == [here / "agent.zip"]


BARE = parts(
    found="a truncated agent or a bare .pth",
    expected="an agent's zip",
    hint="download it again, or save the whole agent: model.save",
)
LFS = b"version https://git-lfs.github.com/spec/v1\noid sha256:0123\nsize 1108188\n"


@pytest.mark.parametrize(
    ("data", "error"),
    [
        (b"", parts(found="an empty file", expected="a zip file", hint="download it again")),
        (LFS, parts(found="a git-lfs pointer instead of the file", expected="a zip file", hint="download it again")),
        (
            b"\n<!DOCTYPE html><html>404</html>",
            parts(found="a web page", expected="a zip file", hint="download it again"),
        ),
        (b"<html>", parts(found="a web page", expected="a zip file", hint="download it again")),
        (b'{"message": "not found"}', parts(found="JSON", expected="a zip file", hint="download it again")),
        (pickle.dumps({}, 2), parts(found="a bare pickle", expected="a zip file", hint="download it again")),
        (b"PK\x03\x04", parts(found="a truncated or damaged zip", expected="a zip file", hint="download it again")),
        (bytes(100), parts(found="something other than a zip", expected="a zip file", hint="download it again")),
        (b"PK\x05\x06" + bytes(18), parts(problem="has no member data", expected="a zip saved by Stable-Baselines3")),
    ],
    ids=range(9),
)
def test_a_file_that_is_no_agent_is_named_for_what_it_is(data, error):
    with raises(InputError, file="agent.zip", **error):
        read(data)


@pytest.mark.parametrize("make", ["zip by SB3", "zip by hand"])
@pytest.mark.parametrize("percent", [10, 50, 90, 99])
def test_a_truncated_agent_is_refused_as_one(here, good, make, percent):
    whole = good if make == "zip by hand" else (mlp_agent(here / "dqn") / "agent.zip").read_bytes()
    error = refusal(whole[: len(whole) * percent // 100])
    assert error.file == "agent.zip"
    assert (error.found, error.expected) in {
        ("a truncated or damaged zip", "a zip file"),
        (BARE["found"], BARE["expected"]),
    }


def test_a_bare_pth_is_refused_as_one():
    with raises(InputError, file="agent.zip", **BARE):
        read(state_bytes(mlp_state()))


def test_members_that_are_missing_are_named(good):
    for name in ("data", "policy.pth"):
        problem = f"has no member {name}"
        with raises(InputError, file="agent.zip", problem=problem, expected="a zip saved by Stable-Baselines3"):
            read(rezipped(good, **{name.replace(".", "_"): None}))


def test_a_flipped_bit_in_a_tensor_is_found(good):
    weights = mlp_state(2, (3,), 2)["q_net.q_net.0.weight"].numpy().tobytes()
    assert good.count(weights) == 1
    flipped = bytearray(good)
    flipped[good.index(weights) + 5] ^= 1
    with raises(InputError, file="agent.zip", field="'policy.pth'", names=["CRC-32"]):
        read(bytes(flipped))
    inner = bytearray(state_bytes(mlp_state(2, (3,), 2)))
    inner[inner.index(weights) + 5] ^= 1
    with raises(InputError, file="agent.zip: policy.pth", field="'archive/data/0'", names=["CRC-32"]):
        read(rezipped(good, policy_pth=bytes(inner)))


def central(data, name, offset, value):
    """``data`` with ``value`` at ``offset`` in the central directory's entry of ``name``."""
    start = data.rindex(b"PK\x01\x02", 0, data.rindex(name))
    return data[: start + offset] + value + data[start + offset + len(value) :]


TOO_LARGE = parts(
    field="'data'",
    found="2,147,483,647 bytes",
    expected="at most 4,196,844 in a file of 5,080",
    hint="--max_size raises the limit",
)


@pytest.mark.parametrize(
    ("offset", "value", "error"),
    [
        (8, b"\x01", parts(field="'data'", found='an encrypted member', expected='an unencrypted one')),
        (10, b"\x63", parts(field="'data'", found='another compression', expected='deflate or none')),
        (10, b"\x0e", parts(field="'data'", found='another compression', expected='deflate or none')),
        (24, b"\xff\xff\xff\x7f", TOO_LARGE),
        (24, b"\x01\x00\x00\x00",
         parts(field="'data'", problem=re.compile("the member is damaged .*CRC-32.*"), hint='download it again')),
    ],
)  # fmt: skip
def test_a_member_that_cannot_be_read_is_refused(good, offset, value, error):
    with raises(InputError, file="agent.zip", **error):
        read(central(good, b"data", offset, value))


def test_an_offset_beyond_every_file_is_damage(good):
    start = good.rindex(b"PK\x01\x02", 0, good.rindex(b"data"))
    extra = b"\x01\x00\x08\x00" + b"\xff" * 8
    entry = central(good, b"data", 42, b"\xff\xff\xff\xff")[start : start + 50]
    entry = entry[:30] + len(extra).to_bytes(2, "little") + entry[32:]
    crafted = good[:start] + entry + extra + good[start + 50 :]
    size = int.from_bytes(good[-10:-6], "little") + len(extra)
    error = refusal(crafted[:-10] + size.to_bytes(4, "little") + crafted[-6:])
    assert error.file == "agent.zip"
    assert (error.field, error.found) in {("'data'", ""), ("", "a truncated or damaged zip")}  # depends on the Python


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_a_member_twice_is_refused(good):
    with zipfile.ZipFile(PATH, "w") as archive:
        for content in (b"{}", json.dumps(data_fields()).encode()):
            archive.writestr("data", content)
    with raises(InputError, file="agent.zip", field="'data'", problem="is stored twice in the zip"):
        read(PATH.read_bytes())


def test_a_bomb_is_refused_before_it_is_unpacked(monkeypatch):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("data", json.dumps(data_fields()))
        archive.writestr("policy.pth", bytes(1 << 28))
    unpack = zipfile.ZipFile.open
    monkeypatch.setattr(
        zipfile.ZipFile,
        "open",
        lambda self, info, *a, **k: unpack(self, info, *a, **k) if info.filename == "data" else 1,
    )
    found = re.compile(r"268,435,456 bytes to unpack, 268,43[0-9],[0-9]{3} in all")
    expected = re.compile(r"at most 3[0-9],[0-9]{3},[0-9]{3} in a file of 26[0-9],[0-9]{3}")
    with raises(InputError, file="agent.zip", field="'policy.pth'", found=found, expected=expected):
        read(file.getvalue())


def test_a_bomb_inside_of_policy_pth_is_refused(good):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("archive/data.pkl", bytes(1 << 28))
    found = re.compile("268,435,456 bytes to unpack, 268,.*")
    with raises(InputError, file="agent.zip: policy.pth", field="'archive/data.pkl'", found=found, expected=...):
        read(rezipped(good, policy_pth=file.getvalue()))


def test_members_that_share_the_same_bytes_are_counted_each_time(good, monkeypatch):
    monkeypatch.setattr(zip_members, "unpacked_limit", lambda _size: 2_000)
    found = re.compile("[0-9,]+ bytes to unpack, [0-9,]{5} in all")
    with raises(InputError, file="agent.zip", field=..., found=found, expected=re.compile("at most 2,000 in .*")):
        read(good)


@pytest.mark.parametrize(
    ("data", "error"),
    [
        (b"\xff\xfe", parts(found="bytes that are not UTF-8 (at byte 0)", expected="JSON")),
        (
            b"{",
            (
                parts(
                    field="line 1, column 2",
                    found="invalid JSON (Expecting property name enclosed in double quotes)",
                    expected="JSON",
                )
            ),
        ),
        (
            b'{"policy_class": 1, "policy_class": 2}',
            parts(field="'policy_class'", found="a duplicate key", expected="unique keys"),
        ),
        (b'{"a":' * 100_000, parts(problem="is nested too deeply")),
        (b"[]", parts(found="a list", expected="an object")),
    ],
    ids=range(5),
)
def test_data_that_is_no_json_object_is_refused(good, data, error):
    with raises(InputError, file="agent.zip: data", **error):
        read(rezipped(good, data=data))


@pytest.mark.parametrize(
    ("field", "value", "error"),
    [
        ("policy_class", None, parts(found="no such field", expected="a value pickled by Stable-Baselines3")),
        ("policy_class", "DQNPolicy", parts(found="'DQNPolicy'", expected="a value pickled by Stable-Baselines3")),
        ("policy_class", {":type:": "x"}, parts(found="an object", expected="a value pickled by Stable-Baselines3")),
        (
            "policy_class",
            {":serialized:": 5},
            parts(found="an object", expected="a value pickled by Stable-Baselines3"),
        ),
        ("policy_class", {":serialized:": "a b="}, parts(found="damaged base64", expected="a pickled value")),
        ("policy_class", {":serialized:": "\u00f6"}, parts(found="damaged base64", expected="a pickled value")),
        ("policy_class", serialized(b"\x80\x04"), parts(found="a damaged pickle", expected="a pickle of plain data")),
        ("policy_class", pickled("DQNPolicy"), parts(found="'DQNPolicy'", expected="a class")),
        ("policy_class", pickled([DQNPolicy]), parts(found="a list", expected="a class")),
        ("policy_kwargs", 5, parts(found="5", expected="a value pickled by Stable-Baselines3")),
        ("policy_kwargs", pickled([1]), parts(found="a list", expected="an object with names")),
        ("policy_kwargs", pickled({1: 2}), parts(found="an object", expected="an object with names")),
        ("policy_kwargs", serialized(LIST_IN_ITSELF), parts(problem="is nested too deeply, or has too many values")),
        ("policy_kwargs", serialized(nested(50_000)), parts(problem="is nested too deeply, or has too many values")),
        ("policy_kwargs", pickled({"a": [0] * 20_000}), parts(problem="is nested too deeply, or has too many values")),
        ("observation_space", None, parts(found="no such field", expected="a value pickled by Stable-Baselines3")),
        (
            "observation_space",
            serialized(dumps(vector_space(4))[:-20]),
            parts(found="a damaged pickle", expected="a pickle of plain data"),
        ),
        (
            "action_space",
            pickled(spaces.Tuple([])),
            parts(found="a Tuple space", expected="one of Box, Discrete, MultiDiscrete, MultiBinary, Dict"),
        ),
    ],
    ids=range(18),
)
def test_a_faulty_needed_field_is_named(field, value, error):
    with raises(InputError, file="agent.zip: data", field=field, **error):
        read(**{field: value})


def payloads(marker):
    """Ways to run a command on unpickling; each would create ``marker``."""
    touch = f"touch {marker}"
    code = f"open({str(marker)!r}, 'w')"
    return {
        "os.system": dumps(Call(os.system, touch)),
        "exec": dumps(Call(exec, code)),
        "eval": dumps(Call(eval, code)),
        "Popen": dumps(Call(subprocess.Popen, ["touch", str(marker)])),
        "inside a list": dumps([Call(os.system, touch)]),
        "inside a state": dumps(gym_box([0.0], [1.0], low=Call(os.system, touch))),
        "OBJ": b"(cos\nsystem\nV" + touch.encode() + b"\no.",
        "INST": b"(V" + touch.encode() + b"\nios\nsystem\n.",
        "thrown away": b"cos\nsystem\n(V" + touch.encode() + b"\ntR0" + cloudpickle.dumps(vector_space(4)),
        "cloudpickle": cloudpickle.dumps(Call(eval, code)),
    }


PAYLOADS = list(payloads("x"))


def exit_code_of(path):
    try:
        read_agent_zip(path)
    except SuiteError as error:
        return error.exit_code
    return 0


@pytest.mark.parametrize("payload", PAYLOADS)
@pytest.mark.parametrize("field", NEEDED)
def test_a_payload_in_a_needed_field_is_refused_and_not_run(here, field, payload):
    data = payloads(here / "marker")[payload]
    code = exit_code_of(write_zip(PATH, data=data_fields(**{field: serialized(data)})))
    if payload == "thrown away":  # by the pickle itself, which then holds a space
        assert code == (0 if field.endswith("space") else 3)
    elif payload.startswith("inside"):
        assert code in (2, 3)
    else:
        assert code == 3
    assert not (here / "marker").exists()


@pytest.mark.parametrize("payload", PAYLOADS)
def test_a_payload_in_an_unneeded_field_is_never_looked_at(here, payload):
    data = serialized(payloads(here / "marker")[payload])
    agent = read(lr_schedule=data, replay_buffer_class=data, _last_obs=data, unknown=data, rollout={"a": data})
    assert agent.action_space == DiscreteSpace(n=3)
    assert not (here / "marker").exists()


@pytest.mark.parametrize("payload", PAYLOADS)
def test_a_payload_in_policy_pth_is_refused_and_not_run(here, good, payload):
    data = payloads(here / "marker")[payload]
    for pth in (policy_pth(data), rezipped(state_bytes(mlp_state()), data_pkl=data), data):
        with pytest.raises(InputError) as raised:
            read(rezipped(good, policy_pth=pth))
        assert raised.value.exit_code in (2, 3)
    assert not (here / "marker").exists()


AUDITED = """
import json
import sys
from pathlib import Path
from Neuron_Selection.errors import SuiteError
from Neuron_Selection.FileFormats.agent_zip.agent_zip import read_agent_zip

def read(path):
    try:
        read_agent_zip(path)
    except SuiteError as error:
        return error.exit_code
    return 0

first, *paths = [Path(name) for name in sys.argv[1:]]
read(first), b"x".decode("raw_unicode_escape")  # codecs are imported at their first use
seen = []
def audit(event, arguments):
    if event.startswith(("exec", "import", "compile", "os.", "subprocess", "pickle", "marshal", "socket", "ctypes")):
        seen.append((event, str(arguments)[:80]))
    if event == "open" and isinstance(arguments[1], str) and set(arguments[1]) & set("wax+"):
        seen.append((event, str(arguments)[:80]))
sys.addaudithook(audit)
codes = [read(path) for path in paths]
done = list(seen)
try:
    import absent_module
except ImportError:
    pass
print(json.dumps([codes, done, len(seen) > len(done)]))
"""


def test_the_interpreter_sees_nothing_run_imported_or_written(here):
    paths = [write_zip(here / "first.zip")]
    for name, data in payloads(here / "marker").items():
        fields = [{field: serialized(data)} for field in [*NEEDED, "lr_schedule"]]
        paths += [write_zip(here / f"{name} {n}.zip", data=data_fields(**f)) for n, f in enumerate(fields)]
        paths.append(write_zip(here / f"{name} pth.zip", policy=policy_pth(data)))
    ran = subprocess.run(
        [sys.executable, "-c", AUDITED, *map(str, paths)],
        cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True, check=True,
    )  # fmt: skip
    codes, seen, hook_sees = json.loads(ran.stdout)
    assert (seen, hook_sees) == ([], True)
    assert len(codes) == len(paths) - 1
    assert {0, 2, 3} == set(codes)
    assert not (here / "marker").exists()


def only_suite_errors(data):
    """Whether ``data`` is read, or refused as content; any other exception ends the test."""
    PATH.write_bytes(data)
    return exit_code_of(PATH) in (0, 2, 3)


edits = st.lists(st.tuples(st.integers(0, 1 << 20), st.integers(0, 255)), min_size=1, max_size=6)


def edited(data, changes, cut=None):
    mutable = bytearray(data)
    for position, byte in changes:
        mutable[position % len(mutable)] = byte
    return bytes(mutable[: None if cut is None else cut % len(mutable)])


@settings(max_examples=400, deadline=None)
@given(changes=edits, cut=st.none() | st.integers(0, 1 << 20))
def test_an_edited_zip_is_read_or_refused(good, changes, cut):
    assert only_suite_errors(edited(good, changes, cut))


@settings(max_examples=300, deadline=None)
@given(changes=edits)
def test_an_edited_directory_of_a_zip_is_read_or_refused(good, changes):
    start = good.index(b"PK\x01\x02")
    assert only_suite_errors(good[:start] + edited(good[start:], changes))


@settings(max_examples=400, deadline=None)
@given(field=st.sampled_from(NEEDED), changes=edits)
def test_an_edited_pickle_of_a_needed_field_is_read_or_refused(good, field, changes):
    fields = data_fields(policy_kwargs=pickled({"net_arch": [3], "activation_fn": torch.nn.ReLU}))
    raw = base64.b64decode(fields[field][":serialized:"])
    fields[field] = serialized(edited(raw, changes))
    assert only_suite_errors(rezipped(good, data=json.dumps(fields).encode()))


@settings(max_examples=400, deadline=None)
@given(changes=edits)
def test_edited_tensor_records_are_read_or_refused(good, changes):
    pth = rezipped(state_bytes(mlp_state(2, (3,), 2)), data_pkl=lambda content: edited(content, changes))
    assert only_suite_errors(rezipped(good, policy_pth=pth))
