"""Change single numbers of the tensors in an agent's zip; all other bytes of every member stay the same.

Both zips, the agent's and the ``policy.pth`` in it, are written again with the same members in the same order, with the
same names, times and compression. In ``policy.pth`` numbers start at multiples of 64 bytes, as torch aligns them.
"""

from __future__ import annotations

import io
import zipfile
from collections.abc import Mapping, Sequence
from copy import copy
from dataclasses import dataclass
from typing import Any

import numpy as np

from Neuron_Selection.errors import InputError, shown
from Neuron_Selection.FileFormats.agent_zip.pickled_data import read_pickle
from Neuron_Selection.FileFormats.agent_zip.tensors import tensors_from
from Neuron_Selection.FileFormats.storage.zip_members import ZipMembers

_POLICY = "policy.pth"
_ALIGNMENT = 64
_LOCAL_HEADER = 30
_PADDING = b"FB"  # the extra field that torch uses for padding


@dataclass(frozen=True, kw_only=True, slots=True)
class TensorEdit:
    """``index``: the position of one number, one entry per axis of the tensor."""

    tensor: str
    index: tuple[int, ...]
    value: float


def edited_agent_bytes(data: bytes, edits: Sequence[TensorEdit], *, where: object) -> bytes:
    """The bytes of the zip with these numbers changed.

    :param data: the bytes of a zip that ``read_agent_zip`` has read
    :raises InputError: a tensor that shares its numbers with another one, so that both would change; or a member that
        cannot be copied
    """
    members = ZipMembers(data, where=where)
    policy = members.read(_POLICY)
    edited = _edited_policy(policy, edits, where=f"{where}: {_POLICY}")
    _verify(policy, edited, edits, where=where)
    return _rezipped(data, {_POLICY: edited}, alignment=1, where=where)


def _edited_policy(policy: bytes, edits: Sequence[TensorEdit], *, where: object) -> bytes:
    members = ZipMembers(policy, where=where)
    (pickle_name,) = [name for name in members.names if name.rsplit("/", 1)[-1] == "data.pkl"]
    folder = pickle_name[: -len("data.pkl")]
    order = members.read(folder + "byteorder") if folder + "byteorder" in members else b"little"
    records = _records(read_pickle(members.read(pickle_name), where=where, what="tensor records"))
    dtypes = {name: tensor.dtype for name, tensor in tensors_from(policy, where=where).items()}
    storages: dict[str, bytearray] = {}
    for edit in edits:
        persistent, offset, _size, stride = records[edit.tensor].args[:4]
        member = f"{folder}data/{persistent.key[2]}"
        storage = storages.setdefault(member, bytearray(members.read(member)))
        dtype = dtypes[edit.tensor].newbyteorder("<" if order == b"little" else ">")
        place = (offset + sum(step * side for step, side in zip(stride, edit.index, strict=True))) * dtype.itemsize
        storage[place : place + dtype.itemsize] = np.array(edit.value, dtype).tobytes()
    replaced = {name: bytes(storage) for name, storage in storages.items()}
    return _rezipped(policy, replaced, alignment=_ALIGNMENT, where=where)


def _records(root: Any) -> dict[str, Any]:
    """Tensor name to its record; ``tensors_from`` has checked all of them."""
    pairs = root.items() if isinstance(root, dict) else root.pairs
    plain = {}
    for name, record in pairs:
        is_parameter = record.callable.qualname == "_rebuild_parameter"
        plain[name] = record.args[0] if is_parameter else record
    return plain


def _verify(before: bytes, after: bytes, edits: Sequence[TensorEdit], *, where: object) -> None:
    """Read the new file back and check that the edited numbers, and no others, have changed."""
    old, new = tensors_from(before, where=where), tensors_from(after, where=where)
    expected = {edit.tensor: old[edit.tensor].copy() for edit in edits}
    for edit in edits:
        expected[edit.tensor][edit.index] = edit.value
    for name, tensor in old.items():
        if new[name].tobytes() != expected.get(name, tensor).tobytes():
            raise InputError(where, shown(name, quoted=False), "shares its numbers with another tensor")


def _rezipped(data: bytes, replaced: Mapping[str, bytes], *, alignment: int, where: object) -> bytes:
    members = ZipMembers(data, where=where)  # every member is read through its checks
    buffer = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as old, zipfile.ZipFile(buffer, "w") as new:
        new.comment = old.comment
        for info in old.infolist():
            content = replaced[info.filename] if info.filename in replaced else members.read(info.filename)
            fresh = copy(info)
            fresh.extra = b""
            start = buffer.tell() + _LOCAL_HEADER + len(info.filename.encode())
            if alignment > 1 and info.compress_type == zipfile.ZIP_STORED and start % alignment:
                fill = (-start - 4) % alignment
                fresh.extra = _PADDING + fill.to_bytes(2, "little") + b"Z" * fill
            try:
                new.writestr(fresh, content, compress_type=info.compress_type)
            except (ValueError, zipfile.LargeZipFile) as error:
                raise InputError(where, shown(info.filename), f"cannot be copied ({error})") from error
    return buffer.getvalue()
