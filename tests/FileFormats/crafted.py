"""Pickles and zips that no library of today writes: gym-era spaces, numpy 1 arrays, payloads, edited members."""

from __future__ import annotations

import io
import pickle
import sys
import zipfile
from collections import OrderedDict
from types import ModuleType
from typing import Any
from unittest.mock import patch

import numpy as np

_STUBS: dict[tuple[str, str], type] = {}


def stub(module: str, name: str) -> Any:
    """A class that pickles as ``module.name``, a module that may not exist; numpy's own where it is of that age."""
    real = getattr(sys.modules.get(module), name, None)
    if module.startswith("numpy.") and getattr(real, "__module__", None) == module:
        return real
    key = (module, name)
    return _STUBS.setdefault(key, type(name, (), {"__module__": module, "__qualname__": name}))


class Call:
    """Pickles as a call of ``function`` (a stub or a real one), then ``state`` put in."""

    def __init__(self, function, *args, state=None):
        self.reduced = (function, args) if state is None else (function, args, state)

    def __reduce__(self):
        return self.reduced


def space(name: str, *, module: str = "gym.spaces", **state):
    """A space of gym, with these attributes and no others; ``MultiDiscrete`` is in ``multi_discrete``."""
    file = {"MultiDiscrete": "multi_discrete", "MultiBinary": "multi_binary"}.get(name, name.lower())
    made = object.__new__(stub(f"{module}.{file}", name))
    made.__dict__.update(state)
    return made


def numpy_1_array(array: np.ndarray):
    """Pickles as numpy 1 did: ``numpy.core.multiarray._reconstruct``, then the state."""
    order = "C" if array.flags.c_contiguous else "F"
    state = (1, array.shape, array.dtype, order == "F", array.tobytes(order))
    return Call(stub("numpy.core.multiarray", "_reconstruct"), np.ndarray, (0,), b"b", state=state)


def numpy_1_scalar(value: np.generic):
    return Call(stub("numpy.core.multiarray", "scalar"), value.dtype, value.tobytes())


def numpy_2_buffer(array: np.ndarray):
    """Pickles as numpy 2 does with protocol 5: ``numpy._core.numeric._frombuffer``."""
    order = "C" if array.flags.c_contiguous else "F"
    function = stub("numpy._core.numeric", "_frombuffer")
    return Call(function, array.tobytes(order), array.dtype, array.shape, order)


def gym_box(low, high, /, *, shape_name: str = "_shape", arrays=numpy_1_array, **more):
    low, high = np.asarray(low), np.asarray(high)
    state = {shape_name: low.shape, "dtype": low.dtype, "low": arrays(low), "high": arrays(high)}
    return space("Box", **{**state, "np_random": None, "bounded_below": arrays(low > -np.inf), **more})


def gym_dict(**parts):
    return space("Dict", spaces=OrderedDict(parts), shape=None, dtype=None)


def dumps(value, *, protocol: int = 4) -> bytes:
    """Pickle, with the modules of the stubs standing in for the real ones."""
    modules: dict[str, ModuleType] = {}
    for (module, name), made in _STUBS.items():
        setattr(modules.setdefault(module, ModuleType(module)), name, made)
        for end in range(len(module)):  # its packages are imported too
            if module[end] == "." and module[:end] not in sys.modules:
                modules.setdefault(module[:end], ModuleType(module[:end]))
    file = io.BytesIO()
    with patch.dict(sys.modules, modules):
        _Pickler(file, protocol).dump(value)
    return file.getvalue()


class Storage:
    """Pickles as a reference to a tensor's storage, as torch writes it."""

    def __init__(
        self, kind: str = "FloatStorage", member: object = "0", device: str = "cpu", count: object = 6
    ) -> None:
        self.key = ("storage", stub("torch", kind), member, device, count)


class _Pickler(pickle.Pickler):
    def persistent_id(self, value):
        return value.key if isinstance(value, Storage) else None


def tensor(storage: object = None, offset: object = 0, size: object = (2, 3), stride: object = (3, 1)):
    """Pickles as a tensor record; by default a (2, 3) one over the whole of storage 0."""
    storage = Storage() if storage is None else storage
    requires_grad, hooks = 0, OrderedDict()
    return Call(stub("torch._utils", "_rebuild_tensor_v2"), storage, offset, size, stride, requires_grad, hooks)


def policy_pth(state: object, *, storages: tuple[bytes, ...] = (), byteorder: bytes | None = b"little") -> bytes:
    """A policy.pth of this state dict, or of these pickle bytes."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr("archive/data.pkl", state if isinstance(state, bytes) else dumps(state, protocol=2))
        if byteorder is not None:
            archive.writestr("archive/byteorder", byteorder)
        for number, content in enumerate(storages):
            archive.writestr(f"archive/data/{number}", content)
    return out.getvalue()


def rezipped(data: bytes, /, **changed) -> bytes:
    """A zip's bytes with members replaced (bytes), dropped (None) or edited (a function of their bytes).

    A member is named by the last part of its path.
    """
    out = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as old, zipfile.ZipFile(out, "w") as new:
        for name in old.namelist():
            change = changed.get(name.rsplit("/", 1)[-1].replace(".", "_"), lambda content: content)
            content = change(old.read(name)) if callable(change) else change
            if content is not None:
                new.writestr(name, content)
    return out.getvalue()


def nested(depth: int) -> bytes:
    """A pickle of a list in a list in a list."""
    return b"]" * depth + b"a" * (depth - 1) + b"."


LIST_IN_ITSELF = b"\x80\x04]\x94h\x00a."
HASHES_FOR_EVER = b")" + b"2\x86" * 64  # a tuple of two equal tuples of two equal tuples ...
