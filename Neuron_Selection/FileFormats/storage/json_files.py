"""JSON files: a strict reader for files that people edit, and writers with reproducible bytes."""

from __future__ import annotations

import json
import math
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from Neuron_Selection.errors import InputError, shown
from Neuron_Selection.FileFormats.storage.atomic_files import read_bytes

_MAYBE_INFINITE = re.compile(
    r"[0-9][eE]\+?0*[1-9][0-9]{2}|[0-9]{200}"
)  # an exponent of three digits, or as many digits


@dataclass(frozen=True, kw_only=True, slots=True)
class _Fault:
    """A placeholder for an invalid value in a document, until the position of the value is known."""

    found: str
    expected: str
    key: str | None = None


def read_edited_json(path: Path, *, hint: str = "") -> Any:
    """The document in ``path``; see ``parse_edited_json``."""
    return parse_edited_json(read_bytes(path, hint=hint), path)


def parse_edited_json(data: bytes, where: object) -> Any:
    """Parse ``data`` strictly, refusing what Python's parser silently accepts.

    :param where: the file's name, for messages
    :raises InputError: not UTF-8 (a byte-order mark is fine), not JSON, a duplicate key, NaN, Infinity, a number beyond
        the range of floats, nesting too deep, or an integer of thousands of digits
    """
    faulty = False
    literals: dict[str, _Fault] = {}  # one fault per literal, since a file may hold millions

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any] | _Fault:
        nonlocal faulty
        document = dict(pairs)
        if len(document) == len(pairs):
            return document
        faulty = True
        twice = next(key for key, count in Counter(key for key, _ in pairs).items() if count > 1)
        return _Fault(found="a duplicate key", expected="unique keys", key=twice)

    def refused(literal: str) -> _Fault:
        nonlocal faulty
        faulty = True
        if literal not in literals:
            literals[literal] = _Fault(found=f"the literal {literal}", expected="finite numbers")
        return literals[literal]

    def finite(literal: str) -> float | _Fault:
        value = float(literal)
        return value if math.isfinite(value) else refused(literal)

    text = _text_of(data, where)
    number = finite if _MAYBE_INFINITE.search(text) else None  # this hook makes parsing twice as slow
    try:
        document = json.loads(text, object_pairs_hook=unique, parse_constant=refused, parse_float=number)
    except json.JSONDecodeError as error:
        place = f"line {error.lineno}, column {error.colno}"
        raise InputError(where, place, found=f"invalid JSON ({error.msg})", expected="JSON") from error
    except RecursionError as error:
        raise InputError(where, problem="is nested too deeply") from error
    except ValueError as error:  # Python's limit on the digits of an integer
        raise InputError(where, found="an integer of thousands of digits", expected="ordinary numbers") from error
    if faulty:
        place, fault = _first_fault(document)
        raise InputError(where, place, found=fault.found, expected=fault.expected)
    return document


def _text_of(data: bytes, where: object) -> str:
    if data.startswith(b"PK\x03\x04"):
        raise InputError(where, found="a zip file (.npz, .zip)", expected="JSON")
    if not data.strip():
        raise InputError(where, found="an empty file", expected="JSON")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(where, found=f"bytes that are not UTF-8 (at byte {error.start})", expected="JSON") from error


def _first_fault(document: Any) -> tuple[str, _Fault]:
    """The position, such as ``'an id'.input[3]``, and the first fault in the order of the file."""
    place, value = "", document
    unfinished = []
    while not isinstance(value, _Fault):
        unfinished.append(_parts(place, value))
        while (following := next(unfinished[-1], None)) is None:
            unfinished.pop()
        place, value = following
    return place if value.key is None else _below(place, value.key), value


def _parts(place: str, value: Any) -> Iterator[tuple[str, Any]]:
    for key, part in value.items() if isinstance(value, dict) else enumerate(value):
        if isinstance(part, dict | list | _Fault):
            yield _below(place, key), part


def _below(place: str, key: str | int) -> str:
    if isinstance(key, int):
        return f"{place}[{key}]"
    return f"{place}.{key if key.isidentifier() else shown(key)}" if place else shown(key)


def is_finite_number(value: Any) -> bool:
    """Whether ``value`` is an int or float, not a boolean, in the range of floats; JSON allows 1e999 and 10^400."""
    try:
        return type(value) in (int, float) and math.isfinite(value)
    except OverflowError:  # an integer beyond the range of floats
        return False


def json_bytes(document: Any, *, indent: int | None = 2) -> bytes:
    """``document`` as UTF-8 JSON with a trailing newline; the same document gives the same bytes."""
    text = json.dumps(document, indent=indent, allow_nan=False, ensure_ascii=False) + "\n"
    return text.encode("utf-8", "backslashreplace")  # bytes of a path that are not UTF-8 become JSON escapes


def large_json_bytes(document: Any) -> bytes:
    """``json_bytes`` for large documents, several times faster by msgspec."""
    import msgspec

    data = msgspec.json.format(msgspec.json.encode(document), indent=2) + b"\n"
    return json_bytes(document) if b"null" in data else data  # msgspec silently writes NaN as null
