"""List A, the agents themselves: each function damages the ``agent.zip`` it is given."""

from __future__ import annotations

import io
import os
import re
import shutil
import stat
import zipfile
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from gymnasium import spaces

from tests.extractors import MlpOfDict, NoExtractor
from tests.faults.script_runs import Flag, Spoil
from tests.FileFormats.crafted import dumps, gym_box, numpy_1_array, numpy_2_buffer, space
from tests.made_agents import class_named, data_fields, mlp_state, pickled, serialized, state_bytes, write_zip
from tests.raised import Parts, bad_state, bad_value


def replaced_by(data: bytes) -> Spoil:
    return lambda path: path.write_bytes(data)


def with_fields(**changed: Any) -> Spoil:
    return lambda path: write_zip(path, data=data_fields(**changed))


def with_kwargs(value: Any) -> Spoil:
    return with_fields(policy_kwargs=pickled({"net_arch": [8, 6], **value}))


def with_data(data: bytes) -> Spoil:
    return lambda path: write_zip(path, data=data)


def with_tensors(change: Callable[[dict[str, torch.Tensor]], dict[str, torch.Tensor]]) -> Spoil:
    return lambda path: write_zip(path, policy=change(mlp_state()))


def with_weight(change: Callable[[torch.Tensor], torch.Tensor]) -> Spoil:
    name = "q_net.q_net.2.weight"
    return with_tensors(lambda state: {**state, name: change(state[name])})


def cut(share: float) -> Spoil:
    return lambda path: path.write_bytes(path.read_bytes()[: int(path.stat().st_size * share)])


def flip_a_bit(path: Path) -> None:
    data = bytearray(write_zip(path).read_bytes())  # stored, not deflated: the bit is in a tensor
    place = data.index(mlp_state()["q_net.q_net.0.weight"].numpy().tobytes())
    data[place + 5] ^= 1
    path.write_bytes(data)


def encrypt(path: Path) -> None:
    """Set the bit for encryption in every header."""
    data = bytearray(path.read_bytes())
    for header, flags in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        place = data.find(header)
        while place >= 0:
            data[place + flags] |= 1
            place = data.find(header, place + 4)
    path.write_bytes(data)


def in_its_place(make: Callable[[Path], object]) -> Spoil:
    def spoil(path: Path) -> None:
        path.unlink()
        make(path)

    return spoil


@cache
def blanks(size: int) -> bytes:
    """A deflated member of blanks, as a whole zip called policy/data/0 and data."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        archive.writestr("policy/data.pkl", dumps({}, protocol=2))
        with archive.open("data", "w") as member:
            for _ in range(size >> 20):
                member.write(b" " * (1 << 20))
        archive.writestr("policy.pth", b"x")
    return buffer.getvalue()


@cache
def nested_bomb() -> bytes:
    """A policy.pth whose one storage is 128 MiB of zeros in 128 KiB."""
    state = {"q_net.q_net.0.weight": torch.zeros(1 << 25)}
    buffer = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(state_bytes(state))) as old, zipfile.ZipFile(buffer, "w") as new:
        for name in old.namelist():
            new.writestr(name, old.read(name), zipfile.ZIP_DEFLATED, compresslevel=1)
    return buffer.getvalue()


def member_twice(path: Path) -> None:
    write_zip(path, datb=b"{}")
    path.write_bytes(path.read_bytes().replace(b"datb", b"data"))


def runs(folder: Path) -> bytes:
    """A pickle that would leave a file called marker."""
    return f"cos\nsystem\n(Vtouch '{folder / 'marker'}'\ntR.".encode()


def payload_in(field: str) -> Spoil:
    return lambda path: write_zip(path, data=data_fields(**{field: serialized(runs(path.parent))}))


def payload_in_tensors(path: Path) -> None:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("policy/data.pkl", runs(path.parent))
    write_zip(path, policy=buffer.getvalue())


def old_box(**more: Any) -> dict[str, str]:
    high = np.full(4, 10, np.float32)
    return serialized(dumps(gym_box(-high, high, **more)))


def on_cuda(path: Path) -> None:
    """As saved on a machine with four GPUs: the storages' records name ``cuda:3``."""
    with zipfile.ZipFile(io.BytesIO(state_bytes(mlp_state()))) as old:
        members = {name: old.read(name) for name in old.namelist()}
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as new:
        for name, content in members.items():
            reported = content.replace(b"X\x03\x00\x00\x00cpu", b"X\x06\x00\x00\x00cuda:3")
            assert not name.endswith("data.pkl") or reported != content
            new.writestr(name, reported if name.endswith("data.pkl") else content)
    write_zip(path, policy=buffer.getvalue())


EXTRACTOR = "features_extractor_class"
BY_VALUE = type("Custom", (torch.nn.Module,), {"__module__": "__main__"})  # its code is pickled with it
SYSTEM = serialized(f"(dVnet_arch\n(lI8\naI6\nasV{EXTRACTOR}\ncos\nsystem\ns.".encode())
SPARSE = torch.eye(6).to_sparse()
BOX_ACTIONS = pickled(spaces.Box(-1.0, 1.0, (2,), np.float32))

# name: (what is done to agent.zip, exit code, the error)
BAD_AGENTS: dict[str, tuple[Spoil, int, Parts]] = {
    "A1 path missing": (lambda path: shutil.rmtree(path.parent), 2, bad_state("agent", "no such file or folder")),
    "A2 no zip": (lambda path: path.unlink(), 2, bad_state("agent", "contains no zip")),
    "A4 empty": (replaced_by(b""), 2, bad_value("agent.zip", "an empty file")),
    "A5 git-lfs": (replaced_by(b"version https://git-lfs.example/spec/v1\n"), 2,
                   bad_value("agent.zip", "a git-lfs pointer instead of the file")),
    "A6 web page": (replaced_by(b"<!DOCTYPE html><html>"), 2, bad_value("agent.zip", "a web page")),
    "A7 cut at 10 %": (cut(0.1), 2, bad_value("agent.zip", "a truncated or damaged zip")),
    "A7 cut at 50 %": (cut(0.5), 2, bad_value("agent.zip", "a truncated or damaged zip")),
    "A7 cut at 99 %": (cut(0.99), 2, bad_value("agent.zip", "a truncated agent or a bare .pth")),
    "A8 a bit flipped": (flip_a_bit, 2, bad_state("'policy.pth'", re.compile("the member is damaged .*CRC-32.*"))),
    "A9 encrypted": (encrypt, 2, bad_value("'data'", "an encrypted member")),
    "A10 pipe": (in_its_place(os.mkfifo), 2, bad_value("agent.zip", "a pipe, socket or device")),
    "A10 socket": (in_its_place(lambda path: os.mknod(path, stat.S_IFSOCK | 0o600)), 2,
                   bad_state("agent.zip", "cannot be opened as a file")),
    "A10 device": (in_its_place(lambda path: path.symlink_to("/dev/zero")), 2,
                   bad_value("agent.zip", "a pipe, socket or device")),
    "A12 link loop": (in_its_place(lambda path: path.symlink_to(path.name)), 2,
                      bad_state("agent.zip", "cannot be opened as a file")),
    "A14 bomb": (lambda path: path.write_bytes(blanks(1 << 27)), 2, bad_value("'data'", "134,217,728 bytes")),
    "A15 nested bomb": (lambda path: write_zip(path, policy=nested_bomb()), 2,
                        bad_value("'archive/data/0'", re.compile("134,217,728 bytes.*"))),
    "A16 member twice": (member_twice, 2, bad_state("'data'", "is stored twice in the zip")),
    "A18 no data": (lambda path: path.write_bytes(state_bytes(mlp_state())), 2,
                    bad_value("agent.zip", "a truncated agent or a bare .pth")),
    "A19 no UTF-8": (with_data(b'{"a": "\xff"}'), 2,
                     bad_value("agent.zip: data", "bytes that are not UTF-8 (at byte 7)")),
    "A19 no JSON": (with_data(b'{"a": '), 2, bad_value("line 1, column 7", "invalid JSON (Expecting value)")),
    "A20 key twice": (with_data(b'{"a": 1, "a": 2}'), 2, bad_value("'a'", "a duplicate key")),
    "A21 deep": (with_data(b"[" * 100_000 + b"]" * 100_000), 2, bad_state("agent.zip: data", "is nested too deeply")),
    "A22 policy_class": (payload_in("policy_class"), 3, bad_value("policy_class", "a call of 'os.system'")),
    "A22 policy_kwargs": (payload_in("policy_kwargs"), 3, bad_value("policy_kwargs", "a call of 'os.system'")),
    "A22 observation_space": (payload_in("observation_space"), 3,
                              bad_value("observation_space", "a call of 'os.system'")),
    "A22 action_space": (payload_in("action_space"), 3, bad_value("action_space", "a call of 'os.system'")),
    "A22 tensors": (payload_in_tensors, 3, bad_value("agent.zip: policy.pth", "a call of 'os.system'")),
    "A24 SAC": (with_fields(policy_class=serialized(class_named("stable_baselines3.sac.policies", "SACPolicy"))),
                2, bad_value("policy_class", "stable_baselines3.sac.policies.SACPolicy, a policy of SAC")),
    "A24 tensors of a DQN in a PPO": (with_fields(clip_range=0.2, policy_class=serialized(
        class_named("stable_baselines3.common.policies", "ActorCriticPolicy"))),
                                      2, bad_value("mlp_extractor.policy_net.0.weight", "no such tensor")),
    "A24 RecurrentPPO": (with_fields(clip_range=0.2, policy_class=serialized(
        class_named("sb3_contrib.common.recurrent.policies", "RecurrentActorCriticPolicy"))),
                         2, bad_value("policy_class", re.compile(".*Policy, a policy of RecurrentPPO"))),
    "A24 no policy of PPO": (with_fields(policy_class=serialized(
        class_named("stable_baselines3.ppo.policies", "Nonesuch"))), 2,
                             bad_value("policy_class", "stable_baselines3.ppo.policies.Nonesuch, a policy of PPO")),
    "A25 continuous": (with_fields(action_space=BOX_ACTIONS), 2, bad_value("action_space", "a Box space")),
    "A26 by reference": (with_kwargs({EXTRACTOR: MlpOfDict}), 3,
                         bad_value(f"policy_kwargs.{EXTRACTOR}", "the custom class 'tests.extractors.MlpOfDict'")),
    "A27 by value": (with_kwargs({EXTRACTOR: BY_VALUE}), 3,
                     bad_value(f"policy_kwargs.{EXTRACTOR}", "the class 'Custom', whose code is stored in the zip")),
    "A29 activation": (with_fields(policy_kwargs=serialized(
        b"(dVactivation_fn\nctorch.nn.modules.activation\nNonesuch\ns.")), 2,
                       bad_value("policy_kwargs.activation_fn", "'torch.nn.modules.activation.Nonesuch'")),
    "A30 net_arch negative": (with_fields(policy_kwargs={"net_arch": [8, -6]}), 2,
                              bad_value("policy_kwargs.net_arch", "-6")),
    "A30 net_arch text": (with_fields(policy_kwargs={"net_arch": ["8", 6]}), 2,
                          bad_value("policy_kwargs.net_arch", "'8'")),
    "A30 net_arch 1e9": (with_fields(policy_kwargs={"net_arch": [10**9]}), 2,
                         bad_value("policy_kwargs.net_arch", "1000000000")),
    "A30 a million layers": (with_fields(policy_kwargs={"net_arch": [1] * 10**6}), 2,
                             bad_value("policy_kwargs.net_arch", "1,000,000 layers")),
    "A31 tensor missing": (with_tensors(lambda state: {k: v for k, v in state.items() if k != "q_net.q_net.2.bias"}),
                           2, bad_value("q_net.q_net.2.bias", "no such tensor")),
    "A33 shape": (lambda path: write_zip(path, policy=mlp_state(width=5)), 2,
                  bad_value("q_net.q_net.0.weight", "shape (8, 5)")),
    "A34 float64": (with_weight(torch.Tensor.double), 2, bad_value("q_net.q_net.2.weight", "float64 values")),
    "A34 complex": (with_weight(lambda w: w.to(torch.complex64)), 2,
                    bad_value("q_net.q_net.2.weight", "complex64 values")),
    "A34 half": (with_weight(torch.Tensor.half), 2, bad_value("q_net.q_net.2.weight", "float16 values")),
    "A35 NaN": (with_weight(lambda w: w * torch.nan), 2, bad_value("q_net.q_net.2.weight", "NaN or infinity")),
    "A35 infinite": (with_weight(lambda w: w / 0), 2, bad_value("q_net.q_net.2.weight", "NaN or infinity")),
    "A36 sparse": (with_weight(lambda _: SPARSE), 2,
                   bad_value("'q_net.q_net.2.weight'", "a tensor made by 'torch._utils._rebuild_sparse_tensor'")),
    "A36 expanded": (with_weight(lambda w: w[:1].expand(6, 8)), 2,
                     bad_value("'q_net.q_net.2.weight'", "an expanded or overlapping tensor")),
    "A36 overlapping": (with_weight(lambda w: w.as_strided((6, 8), (1, 1))), 2,
                        bad_value("'q_net.q_net.2.weight'", "an expanded or overlapping tensor")),
}  # fmt: skip

# name: (what is done to agent.zip, flags that it also needs)
GOOD_AGENTS: dict[str, tuple[Spoil, dict[str, Flag]]] = {
    "A3 as it is": (lambda _: None, {}),
    "A17 members that climb": (
        lambda path: write_zip(path, **{"../marker": b"x", str(path.parent / "marker"): b"x", "a/../../marker": b"x"}),
        {}),
    "A23 payload unneeded": (payload_in("learning_rate"), {}),
    "A23 payload unknown": (payload_in("no_such_field"), {}),
    "A37 old gym": (with_fields(observation_space=old_box(shape_name="shape"), action_space=serialized(
        dumps(space("Discrete", n=3, shape=(), dtype=np.dtype("int64"))))), {}),
    "A38 numpy 1": (with_fields(observation_space=old_box(arrays=numpy_1_array)), {}),
    "A38 numpy 2": (with_fields(observation_space=old_box(arrays=numpy_2_buffer)), {}),
    "A39 cuda:3": (on_cuda, {}),
}  # fmt: skip

# what only torch can detect: these cost its import
BAD_CLASSES: dict[str, tuple[Spoil, dict[str, Flag], Parts]] = {
    "A28 no class": (with_fields(policy_kwargs=SYSTEM), {"trust": "os.system"},
                     bad_value("os.system", "a builtin_function_or_method")),
    "A28 no extractor": (with_kwargs({EXTRACTOR: NoExtractor}), {"trust": "tests.extractors.NoExtractor"},
                         bad_value("tests.extractors.NoExtractor", "a class that is not a BaseFeaturesExtractor")),
}  # fmt: skip
EXTRA_TENSOR = with_tensors(lambda state: {**state, "q_net.q_net.9.bias": torch.zeros(3)})
