"""Read the tensors in a ``policy.pth`` as numpy arrays, without torch."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

import numpy as np

from Neuron_Selection.errors import InputError, UntrustedError, shown
from Neuron_Selection.FileFormats.agent_zip.pickled_data import Built, Name, Persistent, read_pickle
from Neuron_Selection.FileFormats.storage.zip_members import Unpacked, ZipMembers

_STORAGES = {
    "FloatStorage": "f4",
    "DoubleStorage": "f8",
    "HalfStorage": "f2",
    "LongStorage": "i8",
    "IntStorage": "i4",
    "ShortStorage": "i2",
    "CharStorage": "i1",
    "ByteStorage": "u1",
    "BoolStorage": "?",
    "ComplexFloatStorage": "c8",
    "ComplexDoubleStorage": "c16",
}
_REBUILD_TENSOR = Name("torch._utils", "_rebuild_tensor_v2")
_REBUILD_PARAMETER = Name("torch._utils", "_rebuild_parameter")
_ORDERED_DICT = Name("collections", "OrderedDict")
_TENSOR_LIMIT = 10_000
_SHARING_LIMIT = 16  # limit on the size of all tensors, relative to the stored bytes


def tensors_from(data: bytes, *, where: object, unpacked: Unpacked | None = None) -> dict[str, np.ndarray]:
    """Every tensor in a torch zip file with a flat state dict, as read-only views of the file's bytes.

    :param data: the bytes of ``policy.pth``
    :param unpacked: the count of the zip that contains the file
    :raises InputError: damaged, or a tensor that is sparse, overlapping or outside its storage
    :raises UntrustedError: a pickle that calls something other than torch's tensor records
    """
    if not data.startswith(b"PK"):
        raise InputError(
            where,
            found="tensors in the format of torch before 1.6",
            expected="a zip",
            hint="save the agent again with a newer torch",
        )
    return _TensorReader(ZipMembers(data, where=where, unpacked=unpacked), where).read()


def weights_sha256(tensors: Mapping[str, np.ndarray]) -> str:
    """The fingerprint of a network: SHA-256 over names, dtypes, shapes and bytes, in order of name."""
    digest = hashlib.sha256()
    for name in sorted(tensors):
        tensor = tensors[name]
        digest.update(f"{name}\0{tensor.dtype.str}\0{tensor.shape}\0".encode())
        digest.update(np.ascontiguousarray(tensor).reshape(-1).view(np.uint8).data)
    return digest.hexdigest()


class _TensorReader:
    def __init__(self, members: ZipMembers, where: object) -> None:
        self.members = members
        self.where = where
        pickles = [name for name in members.names if name.rsplit("/", 1)[-1] == "data.pkl"]
        if len(pickles) != 1:
            raise self.error("", f"{len(pickles)} members called data.pkl", "one")
        self.folder = pickles[0][: -len("data.pkl")]
        order = members.read(self.folder + "byteorder") if self.folder + "byteorder" in members.names else b"little"
        if order not in (b"little", b"big"):
            raise self.error("byteorder", shown(order.decode("latin-1")), "little or big")
        self.byteorder = "<" if order == b"little" else ">"
        self.storages: dict[tuple[str, str], np.ndarray] = {}

    def error(self, tensor: str, found: str, expected: str) -> InputError:
        return InputError(self.where, tensor, found=found, expected=expected)

    def read(self) -> dict[str, np.ndarray]:
        pickled = self.members.read(self.folder + "data.pkl")
        root = read_pickle(pickled, where=self.where, what="tensor records")
        if isinstance(root, Built) and root.callable == _ORDERED_DICT and root.args == ():
            pairs = root.pairs
        elif isinstance(root, dict):
            pairs = list(root.items())
        else:
            self.refuse_call(root, "")
            raise self.error("", shown(root), "a state dict of tensors")
        if len(pairs) > _TENSOR_LIMIT:
            raise self.error("", f"{len(pairs):,} tensors", f"at most {_TENSOR_LIMIT:,}")
        tensors: dict[str, np.ndarray] = {}
        covered = 0
        for name, record in pairs:
            if not isinstance(name, str) or name in tensors:
                raise self.error(shown(name), "a tensor name that is not text or is repeated", "distinct names")
            if not _is_utf8(name):
                raise self.error(shown(name), "a tensor name that is not valid UTF-8", "text")
            tensors[name] = self.tensor(record, name)
            covered += tensors[name].nbytes
        stored = sum(storage.nbytes for storage in self.storages.values())
        if covered > _SHARING_LIMIT * stored + 1024:
            raise self.error("", "tensors much larger than the stored bytes", "tensors with separate storages")
        return tensors

    def refuse_call(self, record: object, tensor: str) -> None:
        if isinstance(record, Built) and record.callable != _REBUILD_TENSOR:
            called = shown(str(record.callable)) if isinstance(record.callable, Name) else "something"
            if isinstance(record.callable, Name) and record.callable.module.startswith("torch._utils"):
                raise self.error(tensor, f"a tensor made by {called}", "a plain dense tensor")
            raise UntrustedError(self.where, tensor, found=f"a call of {called}", expected="plain dense tensors")

    def tensor(self, record: object, name: str) -> np.ndarray:
        if isinstance(record, Built) and record.callable == _REBUILD_PARAMETER and isinstance(record.args, tuple):
            record = record.args[0] if record.args else None
        self.refuse_call(record, shown(name))
        if not isinstance(record, Built) or not isinstance(record.args, tuple) or len(record.args) < 4:
            raise self.error(shown(name), shown(record), "a tensor")
        persistent, offset, size, stride = record.args[:4]
        storage = self.storage(persistent, name)
        if not (_is_integers(size) and _is_integers(stride) and _is_integers((offset,))) or len(size) != len(stride):
            raise self.error(shown(name), "a tensor record whose sizes are not integers", "a tensor")
        if len(size) > 8:
            raise self.error(shown(name), f"{len(size)} dimensions", "at most 8")
        if 0 in size:
            raise self.error(shown(name), "an empty tensor", "one with values")
        extent = 1
        for step, side in sorted(zip(stride, size, strict=True)):
            if side > 1 and step < extent:
                raise self.error(shown(name), "an expanded or overlapping tensor", "a plain dense tensor")
            extent += step * (side - 1)
        if offset + extent > storage.size:
            raise self.error(
                shown(name),
                f"a tensor that ends {offset + extent - storage.size:,} values past its storage",
                "a tensor inside its storage",
            )
        steps = tuple(step * storage.itemsize for step in stride)
        view: np.ndarray = np.ndarray(size, storage.dtype, storage, offset * storage.itemsize, steps)
        return view

    def storage(self, persistent: object, name: str) -> np.ndarray:
        key = persistent.key if isinstance(persistent, Persistent) else None
        if not isinstance(key, tuple) or len(key) != 5 or key[0] != "storage":
            raise self.error(shown(name), "a tensor without a storage", "a tensor")
        _word, kind, member, _device, count = key
        if not (isinstance(kind, Name) and kind.module == "torch" and kind.qualname in _STORAGES):
            raise self.error(shown(name), f"storage {shown(str(kind) if isinstance(kind, Name) else kind)}", "floats")
        if not (isinstance(member, str) and isinstance(count, int)):
            raise self.error(shown(name), "a storage without a member and a size", "a tensor")
        if (kind.qualname, member) not in self.storages:
            dtype = np.dtype(self.byteorder + _STORAGES[kind.qualname])
            data = self.members.read(f"{self.folder}data/{member}")
            if len(data) != count * dtype.itemsize:
                raise self.error(
                    shown(name), f"a storage of {len(data):,} bytes", f"{shown(count)} values of {dtype.itemsize} bytes"
                )
            storage: np.ndarray = np.frombuffer(data, dtype).astype(dtype.newbyteorder("="), copy=False)
            self.storages[kind.qualname, member] = storage
        return self.storages[kind.qualname, member]


def _is_utf8(name: str) -> bool:
    """Whether text can be encoded as UTF-8; text in a pickle can contain half of a surrogate pair."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def _is_integers(values: Any) -> bool:
    return isinstance(values, tuple) and all(
        isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 1 << 48 for value in values
    )
