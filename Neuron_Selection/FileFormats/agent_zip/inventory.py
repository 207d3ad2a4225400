"""List every pickled name and every tensor in an agent's zip, without running anything."""

from __future__ import annotations

import base64
from collections.abc import Callable, Container
from dataclasses import dataclass
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np

from Neuron_Selection.errors import InputError, SuiteError
from Neuron_Selection.FileFormats.agent_zip.pickled_data import Name, read_pickle
from Neuron_Selection.FileFormats.agent_zip.tensors import tensors_from
from Neuron_Selection.FileFormats.storage.atomic_files import sha256_of
from Neuron_Selection.FileFormats.storage.json_files import parse_edited_json
from Neuron_Selection.FileFormats.storage.zip_members import ZipMembers

_PICKLED_LIMIT = 1 << 23  # bytes of all pickles together; real agents have a hundredth of that


@dataclass(frozen=True, kw_only=True, slots=True)
class AgentInventory:
    """``names``: field or member to the globals in its pickle; ``unread``: field or member to the reason."""

    sha256: str
    size: int
    members: tuple[str, ...]
    names: dict[str, tuple[str, ...]]
    unread: dict[str, str]
    tensors: dict[str, tuple[int, ...]]


def take_inventory(path: Path, data: bytes) -> AgentInventory:
    """List the content of a zip, as far as it can be read.

    :param path: the zip, for messages
    :param data: its bytes
    :raises InputError: not a complete zip
    """
    where = Path(path.name)  # the reasons in the list name only the place inside the zip
    members = ZipMembers(data, where=path).renamed(where)
    names: dict[str, tuple[str, ...]] = {}
    unread: dict[str, str] = {}
    tensors: dict[str, np.ndarray] = {}

    def attempt(place: str, read: Callable[[], object]) -> Any:
        try:
            return read()
        except (SuiteError, ValueError) as error:  # binascii.Error is a ValueError
            unread[place] = str(error).removeprefix(f"{where}: ").removeprefix(f"{place}: ")
            return None

    pickles = _pickles(members, where, attempt)
    spent = 0

    def read_within_limit(place: str, found: set[Name]) -> None:
        nonlocal spent
        pickled = pickles[place]()
        spent += len(pickled)
        if spent > _PICKLED_LIMIT:
            raise InputError(where, place, f"has more than {_PICKLED_LIMIT:,} bytes of pickles before it")
        read_pickle(pickled, where=where, what=place, names=found)

    for place in pickles:
        found: set[Name] = set()
        attempt(place, partial(read_within_limit, place, found))
        if found:
            names[place] = tuple(sorted(map(str, found)))
    if "policy.pth" in members and "policy.pth" not in unread:
        tensors = attempt("policy.pth", partial(_tensors, members, where)) or {}
    return AgentInventory(
        sha256=sha256_of(data),
        size=len(data),
        members=tuple(members.names),
        names=names,
        unread=unread,
        tensors={name: tensor.shape for name, tensor in tensors.items()},
    )


def _tensors(members: ZipMembers, where: Path) -> dict[str, np.ndarray]:
    return tensors_from(members.read("policy.pth"), where=where, unpacked=members.unpacked)


def _pickles(
    members: ZipMembers, path: Path, attempt: Callable[[str, Callable[[], object]], Any]
) -> dict[str, Callable[[], bytes]]:
    """Each pickle and the function that reads it: fields of ``data``, and pickles in torch files."""
    pickles: dict[str, Callable[[], bytes]] = {}
    for field, value in (attempt("data", lambda: _serialized_fields(members, path)) or {}).items():
        place = _free(f"data: {field}" if field in members else field, pickles)
        pickles[place] = partial(base64.b64decode, value, validate=True)
    for member in [name for name in members.names if name.endswith(".pth")]:
        nested = attempt(member, partial(_records_of, members, member, path)) or {}
        for inner, load in nested.items():
            pickles[_free(member if len(nested) == 1 else f"{member}: {inner}", pickles)] = load
    return pickles


def _free(place: str, taken: Container[str]) -> str:
    """A name that is not in use yet, since names in the zip are arbitrary and one must not hide another."""
    return next(name for number in count() if (name := place + "'" * number) not in taken)


def _serialized_fields(members: ZipMembers, path: Path) -> dict[str, str]:
    document = parse_edited_json(members.read_document("data"), f"{path}: data")
    fields = document.items() if isinstance(document, dict) else ()
    return {
        field: value[":serialized:"]
        for field, value in fields
        if isinstance(value, dict) and isinstance(value.get(":serialized:"), str)
    }


def _records_of(members: ZipMembers, name: str, path: Path) -> dict[str, Callable[[], bytes]]:
    """Every pickle in a torch file, which normally has one."""
    nested = ZipMembers(members.read(name), where=f"{path}: {name}", unpacked=members.unpacked)
    found = [inner for inner in nested.names if inner.rsplit("/", 1)[-1] == "data.pkl"]
    return {inner: partial(nested.read, inner) for inner in found or ["data.pkl"]}
