"""Small files that would take much memory or time; each function takes the size."""

from __future__ import annotations

import io
import json
import pickle
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np

from tests.made_agents import data_fields, mlp_state, state_bytes

MB = 10**6


def agent(path: Path, *, data: bytes | None = None, policy: bytes | None = None, **more: bytes) -> Path:
    """An agent's zip, deflated; ``more`` are members whose dots are written as ``__``."""
    members = {
        "data": json.dumps(data_fields()).encode() if data is None else data,
        "policy.pth": state_bytes(mlp_state(4, (8, 6), 3)) if policy is None else policy,
        **{name.replace("__", "."): content for name, content in more.items()},
    }
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return path


def inflating(size: int) -> bytes:
    """Bytes that deflate to about a 130th: zeros, and a random one here and there."""
    values = np.zeros(size, np.uint8)
    values[::400] = np.random.default_rng(0).integers(0, 256, len(values[::400]))
    return values.tobytes()


def with_another_storage(size: int) -> bytes:
    """A ``policy.pth`` with one storage more."""
    buffer = io.BytesIO(state_bytes(mlp_state(4, (8, 6), 3)))
    with zipfile.ZipFile(buffer, "a") as archive:
        folder = archive.namelist()[0].partition("/")[0]
        archive.writestr(f"{folder}/data/more", inflating(size))
    return buffer.getvalue()


def policy_that_inflates(path: Path, size: int) -> Path:
    return agent(path, policy=with_another_storage(size))


def policy_of_the_old_format(path: Path, size: int) -> Path:
    """What torch wrote before 1.6: one pickle after the other, then the storages."""
    return agent(path, policy=pickle.dumps(0x1950A86A20F9469CFC6C, 2) + pickle.dumps(1001, 2) + inflating(size))


def optimizers_that_inflate(path: Path, size: int) -> Path:
    content = inflating(size // 4)
    return agent(path, **{f"optimizer{number}__pth": content for number in range(4)})


def json_of_empty_lists(path: Path, size: int) -> Path:
    """Three bytes make an object of 56, or of 64; now and then one of another kind, or they would deflate further."""
    kinds = [b"{}," if number % 100 == 0 else b"[]," for number in range(size // 3)]
    for number in np.random.default_rng(0).integers(0, len(kinds), len(kinds) // 50).tolist():
        kinds[number] = b"{},"
    return agent(path, data=b"[" + b"".join(kinds) + b"0]")


def directory_of_many_entries(path: Path, size: int) -> Path:
    """Entries of 52 bytes in the directory of a zip, all of the same empty member."""
    count = size // 52
    start = struct.pack("<4s5H3L2H", b"PK\x03\x04", 20, 0, 0, 0, 33, 0, 0, 0, 1, 0) + b"x"
    head = struct.pack("<4s6H3L5H2L", b"PK\x01\x02", 20, 20, 0, 0, 0, 33, 0, 0, 0, 6, 0, 0, 0, 0, 0, 0)
    directory = b"".join(head + b"%06x" % number for number in range(count))
    end = struct.pack(
        "<4s4H2LH", b"PK\x05\x06", 0, 0, min(count, 0xFFFF), min(count, 0xFFFF), len(directory), len(start), 0
    )
    path.write_bytes(start + directory + end)
    return path


# name -> maker, a size far beyond what is allowed, and one that is just allowed
HOSTILE: dict[str, tuple[Callable[[Path, int], Path], int, int]] = {
    "policy.pth that inflates": (policy_that_inflates, 100 * MB, 16 * MB),
    "policy.pth of the old format that inflates": (policy_of_the_old_format, 100 * MB, 30 * MB),
    "optimizers that inflate": (optimizers_that_inflate, 160 * MB, 30 * MB),
    "JSON of empty lists": (json_of_empty_lists, 12 * MB, 4 * MB),
    "a directory of many entries": (directory_of_many_entries, 12 * MB, 6 * MB),
}
