"""Wrappers of gymnasium and minigrid, named in text: ``minigrid.wrappers.ViewSizeWrapper:agent_view_size=5``.

Arguments follow a colon and are separated by commas. A value is read as JSON, which may itself contain commas, else as
text up to the next comma: ``gymnasium.wrappers.ResizeObservation:shape=[84,84]``.
"""

from __future__ import annotations

import difflib
import importlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import gymnasium

from Neuron_Selection.errors import InputError, shown

ROOMS = ("gymnasium.wrappers", "minigrid.wrappers")
# They write files, open windows, or return observations that are not numpy's.
_REFUSED = {"RecordVideo", "HumanRendering", "RenderCollection", "ArrayConversion", "JaxToNumpy", "JaxToTorch",
            "NumpyToTorch", "Autoreset"}  # fmt: skip
_NAME = re.compile(r"(?P<room>[\w.]+)\.(?P<name>\w+)")
_ARGUMENT = re.compile(r"(\w+)=")


@dataclass(frozen=True, kw_only=True, slots=True)
class Wrapper:
    """A wrapper's name, such as ``minigrid.wrappers.ImgObsWrapper``, and its arguments."""

    name: str
    arguments: Mapping[str, Any]

    def __str__(self) -> str:
        listed = ",".join(f"{key}={json.dumps(value, separators=(',', ':'))}" for key, value in self.arguments.items())
        return f"{self.name}:{listed}" if listed else self.name

    def apply(self, env: gymnasium.Env[Any, Any]) -> gymnasium.Env[Any, Any]:
        """The environment inside this wrapper."""
        room, _, name = self.name.rpartition(".")
        wrapped: gymnasium.Env[Any, Any] = getattr(importlib.import_module(room), name)(env, **self.arguments)
        return wrapped


def parse_wrapper(text: str, *, where: str = "--wrapper") -> Wrapper:
    """Parse one wrapper.

    :param where: the flag or file, for messages
    :raises InputError: another form, a package other than the two, a name that is not one of its wrappers, or a
        wrapper that is not allowed
    """
    name, colon, arguments = text.partition(":")
    parts = _NAME.fullmatch(name)
    if parts is None or parts["room"] not in ROOMS:
        raise InputError(where, found=shown(text), expected=f"a wrapper of {' or '.join(ROOMS)}", hint=_own_wrapper())
    known = _names_in(parts["room"])
    if parts["name"] not in known:
        close = difflib.get_close_matches(parts["name"], known, n=3)
        raise InputError(
            where,
            found=shown(name),
            expected=f"one of {parts['room']}",
            hint=f"closest matches: {', '.join(close)}" if close else "",
        )
    if parts["name"] in _REFUSED:
        problem = "is not allowed: it writes files, opens a window or changes the type of observations"
        raise InputError(where, shown(name), problem)
    return Wrapper(name=name, arguments=_arguments(arguments, text, where) if colon else {})


def parse_arguments(words: list[str] | tuple[str, ...], *, where: str) -> dict[str, Any]:
    """Parse words of the form ``KEY=VALUE``; a value is read as JSON, else as text.

    :raises InputError: another form, or a key given twice
    """
    found: dict[str, Any] = {}
    for word in words:
        key, sign, value = word.partition("=")
        if not sign or not key.isidentifier() or key in found:
            raise InputError(where, found=shown(word), expected="KEY=VALUE, each key once")
        try:
            found[key] = json.loads(value, parse_constant=_refuse_literal)
        except ValueError:
            found[key] = value
    return found


def _arguments(text: str, whole: str, where: str) -> dict[str, Any]:
    words, rest = [], text
    while True:
        key = _ARGUMENT.match(rest)
        if key is None:
            raise InputError(where, found=shown(whole), expected="NAME:key=value,key=value")
        end = _end_of_value(rest, key.end())
        words.append(rest[:end])
        if end == len(rest):
            return parse_arguments(words, where=where)
        rest = rest[end + 1 :]


def _end_of_value(text: str, start: int) -> int:
    """The end of a JSON value that starts here; without one, the next comma."""
    try:
        _, end = json.JSONDecoder().raw_decode(text, start)
    except ValueError:
        end = -1
    if end == -1 or text[end : end + 1] not in ("", ","):
        end = text.find(",", start)
    return len(text) if end == -1 else end


def _refuse_literal(literal: str) -> None:
    """NaN and infinity are no JSON: they are read as text."""
    raise ValueError(literal)


def _names_in(room: str) -> list[str]:
    module = importlib.import_module(room)
    if hasattr(module, "__all__"):
        return [name for name in module.__all__ if name != "vector"]
    return [
        name
        for name, value in vars(module).items()
        if isinstance(value, type) and issubclass(value, gymnasium.Wrapper) and value.__module__ == room
    ]


def _own_wrapper() -> str:
    return "apply your own wrappers in a factory, --env FILE.py:make_env"
