"""Zips made to do harm: each is read by another process under limits of time and memory, and none runs anything."""

from __future__ import annotations

import base64
import io
import json
import os
import pickle
import struct
import subprocess
import sys
import warnings
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.conftest import ROOT
from tests.made_actors import new_agent, save_agent, with_changes
from tests.made_agents import data_fields, mlp_state, pickled, serialized, state_bytes, vector_space, write_zip

WORKER = ROOT / "tests" / "attack_worker.py"


class Runs:
    """Unpickled, it runs a command."""

    def __init__(self, command: str) -> None:
        self.command = command

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, (self.command,)


def payload(folder: Path) -> bytes:
    return pickle.dumps(Runs(f"touch {folder / 'marker'}"))


def thrown_away(folder: Path) -> bytes:
    """A space, followed by a command whose result the pickle throws away."""
    command = f"cos\nsystem\n(Vtouch {folder / 'marker'}\ntR0.".encode()
    return pickle.dumps(vector_space(4), protocol=4)[:-1] + command


def with_field(field: str, make: Callable[[Path], bytes]) -> Callable[[Path], Path]:
    return lambda folder: write_zip(folder / "attack.zip", data=data_fields(**{field: serialized(make(folder))}))


def with_policy(make: Callable[[Path], bytes]) -> Callable[[Path], Path]:
    return lambda folder: write_zip(folder / "attack.zip", policy=make(folder))


def torch_file(records: bytes, *, storages: dict[str, bytes] | None = None, compress: bool = False) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED if compress else zipfile.ZIP_STORED) as archive:
        archive.writestr("policy/data.pkl", records)
        for name, data in (storages or {}).items():
            archive.writestr(f"policy/data/{name}", data)
    return buffer.getvalue()


def tensor_records(size: str, stride: str, *, count: int = 4, offset: int = 0, storage: str = "FloatStorage") -> bytes:
    """The pickle of ``{"w": tensor}`` with chosen sizes, as opcodes of protocol 2."""
    return (
        b"\x80\x02}X\x01\x00\x00\x00wctorch._utils\n_rebuild_tensor_v2\n((X\x07\x00\x00\x00storagectorch\n"
        + storage.encode() + b"\nX\x01\x00\x00\x000X\x03\x00\x00\x00cpuJ" + struct.pack("<i", count)
        + b"tQJ" + struct.pack("<i", offset) + f"({size}t({stride}t".encode("latin-1") + b"\x89NtRs."
    )  # fmt: skip


def ints(*values: int) -> str:
    return "".join(f"I{value}\n" for value in values)


def rezipped(folder: Path, change: Callable[[zipfile.ZipFile], None]) -> Path:
    path = write_zip(folder / "attack.zip")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # duplicate names
        with zipfile.ZipFile(path, "a", zipfile.ZIP_DEFLATED) as archive:
            change(archive)
    return path


def bomb(folder: Path) -> Path:
    """A ``data`` of a gibibyte of blanks."""
    path = folder / "attack.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        with archive.open("data", "w") as member:
            for _ in range(64):
                member.write(b" " * (1 << 24))
        archive.writestr("policy.pth", state_bytes(mlp_state()))
    return path


def nested_bomb(_folder: Path) -> bytes:
    return torch_file(tensor_records(ints(1), ints(1), count=1 << 28), storages={"0": bytes(1 << 29)}, compress=True)


def _doubled(times: int) -> bytes:
    """A tuple of the same tuple twice, ``times`` deep, built through the memo."""
    return b"".join(b"2\x86" for _ in range(times))


def two_pickles(folder: Path) -> bytes:
    """Tensors with a second pickle of that name, in a folder that comes later."""
    buffer = io.BytesIO(state_bytes(mlp_state()))
    with zipfile.ZipFile(buffer, "a") as archive:
        archive.writestr("more/data.pkl", payload(folder))
    return buffer.getvalue()


def field_called_as_a_member(folder: Path) -> Path:
    fields = data_fields() | {"policy.pth": serialized(payload(folder))}
    return write_zip(folder / "attack.zip", data=fields)


def integer(value: int) -> bytes:
    data = value.to_bytes(value.bit_length() // 8 + 1, "little", signed=True)
    return b"\x8a" + bytes([len(data)]) + data


def keys_that_hash_alike(count: int, keys: Callable[[int], int]) -> bytes:
    return b"\x80\x04}(" + b"".join(integer(keys(number)) + b"N" for number in range(1, count)) + b"u."


def memo_that_hashes_alike(count: int) -> bytes:
    """Places of the memo that are the same to Python's hash of integers."""
    return b"\x80\x04N" + b"".join(b"p%d\n" % (number * MODULUS) for number in range(1, count)) + b"."


def names_that_share_a_module(count: int) -> bytes:
    module = b"X" + struct.pack("<I", 1 << 20) + b"m" * (1 << 20) + b"\x940"
    names = b"".join(b"h\x00\x8c\x05%05d\x930" % number for number in range(count))
    return b"\x80\x04" + module + names + b"N."


MODULUS = (1 << 61) - 1  # of Python's hash of integers
SELF_LIST = b"\x80\x04]\x94h\x00a."
DEEP = b"\x80\x04" + b"]" * 200_000 + b"a" * 199_999 + b"."
BILLION = b"\x80\x04]" + b"(22222222t" * 30 + b"e."


def of_another_algorithm(name: str, field: str) -> Callable[[Path], Path]:
    """An agent as its own library saved it, but for one field."""

    def make(folder: Path) -> Path:
        agent = save_agent(folder / "agent", new_agent(name))
        return with_changes(agent, fields={field: serialized(payload(folder))}) / "agent.zip"

    return make


UNREAD_FIELDS = {"PPO": "clip_range", "A2C, another critic": "lr_schedule", "TRPO": "learning_rate",
                 "MaskablePPO": "clip_range", "QR-DQN": "exploration_schedule"}  # fmt: skip
ATTACKS: dict[str, Callable[[Path], Path]] = {
    **{f"payload in {field}": with_field(field, payload)
       for field in ("policy_class", "policy_kwargs", "observation_space", "action_space", "learning_rate",
                     "lr_schedule", "replay_buffer_class", "_last_obs", "no_such_field")},
    **{f"{name}: payload in {field}": of_another_algorithm(name, field)
       for name, unread in UNREAD_FIELDS.items() for field in ("policy_class", "policy_kwargs", unread)},
    "payload in the tensors": with_policy(lambda folder: torch_file(payload(folder))),
    "payload as torch's old format": with_policy(payload),
    "payload in the optimizer": lambda f: write_zip(
        f / "attack.zip", **{"policy.optimizer.pth": torch_file(payload(f))}),
    "payload in the variables": lambda f: write_zip(f / "attack.zip", **{"pytorch_variables.pth": payload(f)}),
    "payload as a module next to it": lambda f: write_zip(f / "attack.zip", **{"torch.py": b"raise SystemExit"}),
    "payload thrown away": with_field("observation_space", thrown_away),
    "absolute member": lambda f: rezipped(f, lambda z: z.writestr(str(f / "marker"), b"x")),
    "member with ..": lambda f: rezipped(f, lambda z: z.writestr("../marker", b"x")),
    "member twice": lambda f: rezipped(f, lambda z: z.writestr("data", b"{}")),
    "zip bomb": bomb,
    "nested zip bomb": with_policy(nested_bomb),
    "deep JSON": lambda f: write_zip(f / "attack.zip", data=b"[" * 100_000 + b"]" * 100_000),
    "keys twice": lambda f: write_zip(f / "attack.zip", data=b'{"policy_class": 1, "policy_class": 2}'),
    "huge integer": lambda f: write_zip(f / "attack.zip", data=b'{"policy_class": ' + b"9" * 1_000_000 + b"}"),
    "list in itself": with_field("policy_kwargs", lambda _: SELF_LIST),
    "dict in itself": with_field("policy_kwargs", lambda _: b"\x80\x04}\x94X\x01\x00\x00\x00ah\x00s."),
    "space in itself": with_field("observation_space", lambda _: b"\x80\x04cgym.spaces.dict\nDict\n)\x81\x94h\x00b."),
    "200,000 deep": with_field("policy_kwargs", lambda _: DEEP),
    "billion laughs": with_field("policy_kwargs", lambda _: BILLION),
    "key that hashes for ever": with_field("policy_kwargs", lambda _: b"\x80\x04})" + _doubled(60) + b"K\x01s."),
    "keys of 2^61 that hash alike": with_field(
        "policy_kwargs", lambda _: keys_that_hash_alike(300_000, lambda number: number * MODULUS)),
    "keys of 64 bits that hash alike": with_field(
        "policy_kwargs", lambda _: keys_that_hash_alike(
            300_000, lambda number: (number // 7 << 36) + number % 7 * MODULUS & (1 << 63) - 1)),
    "key of a megabyte, again and again": with_field(
        "policy_kwargs", lambda _: b"\x80\x04\x8b" + struct.pack("<i", 1 << 20) + b"\x01" * (1 << 20) + b"\x940}("
        + b"h\x00N" * 300_000 + b"u."),
    "memo that hashes alike": with_field("policy_kwargs", lambda _: memo_that_hashes_alike(300_000)),
    "names that share a long module": with_field("policy_kwargs", lambda _: names_that_share_a_module(90_000)),
    "fifty long pickles": lambda f: write_zip(
        f / "attack.zip", **{f"{number}.pth": torch_file(b"\x80\x04" + b"N0" * 480_000 + b"N.", compress=True)
                             for number in range(50)}),
    "payload in a field called as a member": field_called_as_a_member,
    "payload in a second pickle of the tensors": with_policy(two_pickles),
    "opcodes without end": with_field("policy_kwargs", lambda _: b"\x80\x04" + b"N0" * 600_000 + b"N."),
    "unknown opcode": with_field("policy_kwargs", lambda _: b"\x80\x04\xfe."),
    "extension opcode": with_field("policy_kwargs", lambda _: b"\x80\x04\x82\x01."),
    "out-of-band buffer": with_field("policy_kwargs", lambda _: b"\x80\x05\x97."),
    "persistent id": with_field("policy_kwargs", lambda _: b"Pabc\n."),
    "bytes beyond the end": with_field("policy_kwargs", lambda _: b"\x80\x04\x8e" + struct.pack("<Q", 1 << 60) + b"x."),
    "memo that is not there": with_field("policy_kwargs", lambda _: b"\x80\x04h\x09."),
    "nothing on the stack": with_field("policy_kwargs", lambda _: b"\x80\x040."),
    "no end": with_field("policy_kwargs", lambda _: b"\x80\x04N"),
    "huge text integer": with_field("policy_kwargs", lambda _: b"I" + b"9" * 100_000 + b"\n."),
    "box of 2^60": with_field("observation_space", lambda _: b"\x80\x04cgymnasium.spaces.box\nBox\n)\x81}"
                              b"X\x06\x00\x00\x00_shapeI1152921504606846976\n\x85sb."),
    "net_arch of 10^9": lambda f: write_zip(f / "attack.zip", data=data_fields(policy_kwargs={"net_arch": [10**9]})),
    "net_arch of 10^6 layers": lambda f: write_zip(
        f / "attack.zip", data=data_fields(policy_kwargs={"net_arch": [1] * 1_000_000})),
    "discrete of 10^18": lambda f: write_zip(
        f / "attack.zip", data=data_fields(observation_space=serialized(
            b"\x80\x04cgymnasium.spaces.discrete\nDiscrete\n)\x81}X\x01\x00\x00\x00nI1000000000000000000\nsb."))),
    "tensor beyond its storage": with_policy(lambda _: torch_file(
        tensor_records(ints(8), ints(1)), storages={"0": bytes(16)})),
    "tensor at a far offset": with_policy(lambda _: torch_file(
        tensor_records(ints(1), ints(1), offset=1 << 30), storages={"0": bytes(16)})),
    "expanded tensor": with_policy(lambda _: torch_file(
        tensor_records(ints(1 << 40), ints(0)), storages={"0": bytes(16)})),
    "overlapping tensor": with_policy(lambda _: torch_file(
        tensor_records(ints(2, 3), ints(1, 1)), storages={"0": bytes(16)})),
    "negative size": with_policy(lambda _: torch_file(tensor_records(ints(-4), ints(1)), storages={"0": bytes(16)})),
    "storage of another size": with_policy(lambda _: torch_file(
        tensor_records(ints(4), ints(1), count=1 << 20), storages={"0": bytes(16)})),
    "storage that is not there": with_policy(lambda _: torch_file(tensor_records(ints(4), ints(1)))),
    "storage of objects": with_policy(lambda _: torch_file(
        tensor_records(ints(4), ints(1), storage="load"), storages={"0": bytes(16)})),
    "sparse tensor": with_policy(lambda _: state_bytes({"w": torch.eye(3).to_sparse()})),
}  # fmt: skip
UNHARMED = {"payload in learning_rate", "payload in lr_schedule", "payload in replay_buffer_class",
            "payload in _last_obs", "payload in no_such_field", "payload in the optimizer", "payload in the variables",
            "payload as a module next to it", "payload thrown away", "absolute member", "member with ..",
            "payload in a field called as a member", "fifty long pickles",
            *(f"{name}: payload in {field}" for name, field in UNREAD_FIELDS.items())}  # fmt: skip
PLACES = {"tensors": "policy.pth", "optimizer": "policy.optimizer.pth", "variables": "pytorch_variables.pth",
          "format": "policy.pth", "away": "observation_space", "member": "data: policy.pth",
          "second pickle of the tensors": "policy.pth: more/data.pkl"}  # fmt: skip


def place_of(attack: str) -> str:
    """The place of a payload, as the inventory calls it."""
    reported = attack.split(" ", 3)[-1] if attack.startswith("payload in a second") else attack.rsplit(" ", 1)[-1]
    return PLACES.get(reported, reported)


@pytest.fixture(scope="module")
def worker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[subprocess.Popen[str]]:
    """A process that has imported what it takes to read a zip, and reads each attack in a copy of itself."""
    folder = tmp_path_factory.mktemp("worker")
    harmless = write_zip(folder / "harmless.zip", **{"policy.optimizer.pth": state_bytes({"w": torch.zeros(1)})})
    (folder / "broken.zip").write_bytes(harmless.read_bytes()[:-40])
    with (
        (folder / "stderr").open("w+") as stderr,
        subprocess.Popen([sys.executable, str(WORKER), str(harmless)], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                         stderr=stderr, text=True, cwd=folder) as process,
    ):  # fmt: skip
        yield process
        process.communicate(timeout=60)
        assert process.returncode == 0
        assert (folder / "stderr").read_text() == ""


@pytest.mark.parametrize("attack", ATTACKS)
def test_an_attack_runs_nothing_and_ends_in_time_and_memory(
    attack: str, worker: subprocess.Popen[str], tmp_path: Path
) -> None:
    path = ATTACKS[attack](tmp_path)
    before = {entry.name for entry in tmp_path.parent.rglob("*")}
    assert worker.stdin is not None
    assert worker.stdout is not None
    print(path, file=worker.stdin, flush=True)
    reported = json.loads(worker.stdout.readline())
    assert "died" not in reported, reported
    assert reported["events"] == []
    assert {entry.name for entry in tmp_path.parent.rglob("*")} == before
    if attack in UNHARMED:
        assert reported["code"] == 0, reported["message"]
    else:
        could_run = "payload" in attack and "old format" not in attack and "second pickle" not in attack
        assert reported["code"] == (3 if could_run else 2), reported["message"]
        assert len(reported["message"]) <= 400
        assert reported["message"].isprintable()
    if attack == "payload as a module next to it":
        assert "torch.py" in reported["members"]
    elif "payload" in attack:  # listed by name, or as something that could not be read
        place = place_of(attack)
        assert {"os.system", "posix.system", "nt.system"} & set(reported["names"].get(place, ())) or (
            place in reported["unread"] and "zip" in reported["unread"][place]
        ), (place, reported)


def test_the_payload_would_have_run_had_anyone_unpickled_it(tmp_path: Path) -> None:
    pickle.loads(payload(tmp_path))
    assert (tmp_path / "marker").exists()
    value = data_fields(policy_kwargs=pickled(Runs(f"touch {tmp_path}/second")))["policy_kwargs"]
    pickle.loads(base64.b64decode(value[":serialized:"]))
    assert (tmp_path / "second").exists()
