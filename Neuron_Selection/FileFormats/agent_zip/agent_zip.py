"""A Stable-Baselines3 ``agent.zip`` read as data, without running anything: its policy, spaces and weights."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from Neuron_Selection.errors import InputError, UntrustedError, shown
from Neuron_Selection.FileFormats.agent_zip.pickled_arrays import is_array_data, scalar_from
from Neuron_Selection.FileFormats.agent_zip.pickled_data import Built, Name, read_pickle
from Neuron_Selection.FileFormats.agent_zip.spaces import Space, space_from
from Neuron_Selection.FileFormats.agent_zip.tensors import tensors_from, weights_sha256
from Neuron_Selection.FileFormats.storage.atomic_files import read_bytes, sha256_of
from Neuron_Selection.FileFormats.storage.json_files import parse_edited_json
from Neuron_Selection.FileFormats.storage.zip_members import ZipMembers

_DEPTH_LIMIT = 8
_NODE_LIMIT = 10_000
_NETWORKS = ("q_net.", "quantile_net.")  # an actor's network is its policy
_OPTIMIZER = ("optimizer_class", "optimizer_kwargs")  # not used for inference; never decoded
_SKELETON_MAKERS = {"_make_skeleton_class", "_make_skeleton_enum", "_make_function", "_make_cell", "_fill_function"}


@dataclass(frozen=True, kw_only=True, slots=True)
class ClassByValue:
    """A class whose code is stored in the zip (pickled from ``__main__``); only its name is read.

    For a function or a ``functools.partial``, the name is a description.
    """

    name: str


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class AgentZip:
    """The content of an agent's zip, as plain values.

    ``policy_kwargs`` holds plain values; a class in it is a ``Name`` or a ``ClassByValue``. ``tensors`` is the
    policy's state dict; ``network_tensors`` those of the network that decides, under the names that its parameters have
    there, such as ``q_net.0.weight``: without target networks and repetitions. ``sha256`` is of the zip's bytes,
    ``weights_sha256`` of ``network_tensors``. ``data_keys`` are the names of all fields in ``data``, of which four are
    decoded. ``gamma``: the discount factor of the training, None where the zip has none.
    """

    path: Path
    sha256: str
    sb3_version: str
    data_keys: frozenset[str]
    policy_class: Name | ClassByValue
    policy_kwargs: dict[str, Any]
    observation_space: Space
    action_space: Space
    tensors: dict[str, np.ndarray]
    network_tensors: dict[str, np.ndarray]
    weights_sha256: str
    gamma: float | None


def read_agent_zip(path: Path) -> AgentZip:
    """Read ``path`` once; hash and parse the same bytes as ``parse_agent_zip``."""
    return parse_agent_zip(read_agent_bytes(path), path)


def read_agent_bytes(path: Path) -> bytes:
    """The bytes of an agent's zip, not checked."""
    return read_bytes(path, hint="--agent_path names an agent folder or a zip")


def parse_agent_zip(data: bytes, path: Path) -> AgentZip:
    """Parse the bytes of an agent's zip.

    :param path: the zip, for messages
    :raises InputError: not a complete SB3 zip
    :raises UntrustedError: a required field would run code
    """
    members = ZipMembers(data, where=path)
    if "data" not in members or "policy.pth" not in members:
        if any(name.rsplit("/", 1)[-1] == "data.pkl" for name in members.names):
            raise InputError(
                path,
                found="a truncated agent or a bare .pth",
                expected="an agent's zip",
                hint="download it again, or save the whole agent: model.save",
            )
        missing = "data" if "data" not in members else "policy.pth"
        raise InputError(path, problem=f"has no member {missing}", expected="a zip saved by Stable-Baselines3")
    fields = _Fields(parse_edited_json(members.read_document("data"), f"{path}: data"), path)
    tensors = tensors_from(members.read("policy.pth"), where=f"{path}: policy.pth", unpacked=members.unpacked)
    policy_kwargs = fields.policy_kwargs()
    network = _network_tensors(tensors, policy_kwargs)
    version = "_stable_baselines3_version"
    return AgentZip(
        path=path,
        sha256=sha256_of(data),
        sb3_version=members.read(version, limit=1000).decode("latin-1").strip() if version in members else "",
        data_keys=frozenset(fields.document),
        policy_class=fields.policy_class(),
        policy_kwargs=policy_kwargs,
        observation_space=fields.space("observation_space"),
        action_space=fields.space("action_space"),
        tensors=tensors,
        network_tensors=network,
        weights_sha256=weights_sha256(network),
        gamma=fields.gamma(),
    )


def repeated_extractors(policy_kwargs: Mapping[str, Any]) -> tuple[str, ...]:
    """The names under which an actor's zip repeats ``features_extractor``: the critic's too where it is shared."""
    is_shared = policy_kwargs.get("share_features_extractor", True)
    return ("pi_features_extractor", "vf_features_extractor") if is_shared else ("pi_features_extractor",)


def _network_tensors(tensors: Mapping[str, np.ndarray], policy_kwargs: Mapping[str, Any]) -> dict[str, np.ndarray]:
    for network in _NETWORKS:
        online = {name.removeprefix(network): one for name, one in tensors.items() if name.startswith(network)}
        if online:
            return online
    repeated = tuple(f"{name}." for name in repeated_extractors(policy_kwargs))
    return {name: tensor for name, tensor in tensors.items() if not name.startswith(repeated)}


class _Fields:
    """The four fields of ``data`` that inference requires; the others are never decoded."""

    def __init__(self, document: Any, path: Path) -> None:
        self.where = f"{path}: data"
        if not isinstance(document, dict):
            raise InputError(self.where, found=shown(document), expected="an object")
        self.document = document

    def policy_class(self) -> Name | ClassByValue:
        value = self._plain(self._unpickled("policy_class"), "policy_class", [0])
        if not isinstance(value, Name | ClassByValue):
            raise InputError(self.where, "policy_class", found=shown(value), expected="a class")
        return value

    def policy_kwargs(self) -> dict[str, Any]:
        value = self.document.get("policy_kwargs", {})
        if not isinstance(value, dict) or ":serialized:" in value:
            record = _as_dict(self._unpickled("policy_kwargs"))
            if isinstance(record, dict):
                record = {name: item for name, item in record.items() if name not in _OPTIMIZER}
            value = self._plain(record, "policy_kwargs", [0])
        if not isinstance(value, dict) or not all(isinstance(key, str) for key in value):
            raise InputError(self.where, "policy_kwargs", found=shown(value), expected="an object with names")
        return {name: item for name, item in value.items() if name not in _OPTIMIZER}

    def space(self, field: str) -> Space:
        return space_from(self._unpickled(field), where=self.where, field=field)

    def gamma(self) -> float | None:
        value = self.document.get("gamma")
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 1:
            return None
        return float(value)

    def _unpickled(self, field: str) -> object:
        value = self.document.get(field)
        serialized = value.get(":serialized:") if isinstance(value, dict) else None
        if not isinstance(serialized, str):
            found = shown(value) if field in self.document else "no such field"
            raise InputError(self.where, field, found=found, expected="a value pickled by Stable-Baselines3")
        try:
            pickled = base64.b64decode(serialized, validate=True)
        except (binascii.Error, ValueError) as error:
            raise InputError(self.where, field, found="damaged base64", expected="a pickled value") from error
        return read_pickle(pickled, where=self.where, what=field)

    def _plain(self, value: object, field: str, visited: list[int], depth: int = 0) -> Any:
        """The record as plain Python values, with limits, since a list in a pickle can contain itself."""
        visited[0] += 1
        if depth > _DEPTH_LIMIT or visited[0] > _NODE_LIMIT:
            raise InputError(self.where, field, "is nested too deeply, or has too many values")
        if value is None or isinstance(value, bool | int | float | str | Name):
            return value
        if isinstance(value, list | tuple):
            items = [self._plain(item, field, visited, depth + 1) for item in value]
            return items if isinstance(value, list) else tuple(items)  # a custom class may ask for a tuple
        value = _as_dict(value)
        if isinstance(value, dict):
            return {key: self._plain(item, field, visited, depth + 1) for key, item in value.items()}
        if is_array_data(value):
            try:
                return scalar_from(value)
            except (ValueError, TypeError, OverflowError) as error:
                expected = "plain values and class names"
                raise InputError(self.where, field, found="a numpy array or dtype", expected=expected) from error
        called = value.callable if isinstance(value, Built) else None
        if isinstance(called, Name) and called.module.startswith("cloudpickle") and called.qualname in _SKELETON_MAKERS:
            return ClassByValue(name=_name_by_value(value))
        if called == Name("functools", "partial"):
            return ClassByValue(name="a functools.partial")
        expected = "plain values and class names"
        if not isinstance(value, Built):
            raise InputError(self.where, field, found="another value", expected=expected)
        found = f"a call of {shown(str(called))}" if isinstance(called, Name) else "a call of the result of a call"
        raise UntrustedError(self.where, field, found=found, expected=expected)


def _as_dict(record: object) -> object:
    """An ``OrderedDict`` as a dict; any other record unchanged."""
    if isinstance(record, Built) and record.callable == Name("collections", "OrderedDict"):
        return dict(record.pairs)
    return record


def _name_by_value(record: object) -> str:
    """The name of a class that cloudpickle wrote by value; functions are all called the same."""
    arguments = record.args if isinstance(record, Built) else ()
    if isinstance(arguments, tuple) and len(arguments) > 1 and isinstance(arguments[1], str):
        return arguments[1]
    return "a function"
