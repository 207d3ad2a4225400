"""Every pickled name in an agent's zip, and every tensor, listed without running anything."""

from __future__ import annotations

import base64
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from Neuron_Selection.errors import SuiteError, shown
from Neuron_Selection.FileFormats.agent_zip import DATA_LIMIT
from Neuron_Selection.FileFormats.atomic_files import read_bytes, sha256_of
from Neuron_Selection.FileFormats.json_files import parse_edited_json
from Neuron_Selection.FileFormats.pickled_data import Name, read_pickle
from Neuron_Selection.FileFormats.policy_tensors import tensors_from
from Neuron_Selection.FileFormats.zip_members import ZipMembers


@dataclass(frozen=True, kw_only=True, slots=True)
class AgentInventory:
    """``names``: field or member to the globals that its pickle names; ``unread``: field or member to the reason."""

    sha256: str
    size: int
    members: tuple[str, ...]
    names: dict[str, tuple[str, ...]]
    unread: dict[str, str]
    tensors: dict[str, tuple[int, ...]]


def take_inventory(path: Path) -> AgentInventory:
    """List what is in a zip, as far as it can be read.

    :raises InputError: no whole zip
    """
    data = read_bytes(path, hint="name an agent folder or a zip")
    members = ZipMembers(data, where=path)
    names: dict[str, tuple[str, ...]] = {}
    unread: dict[str, str] = {}
    tensors: dict[str, np.ndarray] = {}

    def attempt(place: str, read: Callable[[], object]) -> Any:
        try:
            return read()
        except (SuiteError, ValueError) as error:  # binascii.Error is a ValueError
            unread[place] = str(error).removeprefix(f"{path}: ").removeprefix(f"{place}: ")
            return None

    fields = attempt("data", lambda: _serialized_fields(members, path)) or {}
    files = [name for name in members.names if name.endswith(".pth")]
    pickles: dict[str, Callable[[], bytes]] = {
        **{field: partial(base64.b64decode, value, validate=True) for field, value in fields.items()},
        **{name: partial(_tensor_records, members, name, path) for name in files},
    }
    for place, load in pickles.items():
        found: set[Name] = set()
        attempt(place, lambda: read_pickle(load(), where=path, what=place, names=found))  # noqa: B023 - called at once
        if found:
            names[place] = tuple(sorted(map(str, found)))
    if "policy.pth" in members and "policy.pth" not in unread:
        tensors = attempt("policy.pth", lambda: tensors_from(members.read("policy.pth"), where=path)) or {}
    return AgentInventory(
        sha256=sha256_of(data),
        size=len(data),
        members=tuple(members.names),
        names=names,
        unread=unread,
        tensors={name: tensor.shape for name, tensor in tensors.items()},
    )


def _serialized_fields(members: ZipMembers, path: Path) -> dict[str, str]:
    document = parse_edited_json(members.read("data", limit=DATA_LIMIT), f"{path}: data")
    fields = document.items() if isinstance(document, dict) else ()
    return {
        shown(field, quoted=False): value[":serialized:"]
        for field, value in fields
        if isinstance(value, dict) and isinstance(value.get(":serialized:"), str)
    }


def _tensor_records(members: ZipMembers, name: str, path: Path) -> bytes:
    """The one pickle of a torch file."""
    nested = ZipMembers(members.read(name), where=f"{path}: {name}")
    return nested.read(next((inner for inner in nested.names if inner.rsplit("/", 1)[-1] == "data.pkl"), "data.pkl"))
