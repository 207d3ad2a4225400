"""JSON that people edit: read strictly, written readably."""

from __future__ import annotations

import json
import math
from collections import Counter
from pathlib import Path
from typing import Any, NoReturn

from Neuron_Selection.errors import InputError, shown
from Neuron_Selection.FileFormats.atomic_files import read_bytes


def read_edited_json(path: Path, *, hint: str = "") -> Any:
    """The document in ``path``; see ``parse_edited_json``."""
    return parse_edited_json(read_bytes(path, hint=hint), path)


def parse_edited_json(data: bytes, where: object) -> Any:
    """The document in ``data``, without what Python's reader lets through in silence.

    :param where: the file's name, for messages
    :raises InputError: not UTF-8 (a byte-order mark is fine), not JSON, a key twice in one object, NaN or
        Infinity, nested too deep, an integer of thousands of digits
    """

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        document = dict(pairs)
        if len(document) < len(pairs):
            twice = next(key for key, count in Counter(key for key, _ in pairs).items() if count > 1)
            raise InputError(where, shown(twice), found="this key twice in one object", expected="once")
        return document

    def refused(literal: str) -> NoReturn:
        raise InputError(where, found=f"the literal {literal}", expected="finite numbers")

    if data.startswith(b"PK\x03\x04"):
        raise InputError(where, found="a zip file (.npz, .zip)", expected="JSON")
    if not data.strip():
        raise InputError(where, found="an empty file", expected="JSON")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(where, found=f"bytes that are no UTF-8 (at byte {error.start})", expected="JSON") from error
    try:
        return json.loads(text, object_pairs_hook=unique, parse_constant=refused)
    except json.JSONDecodeError as error:
        place = f"line {error.lineno}, column {error.colno}"
        raise InputError(where, place, found=f"no JSON ({error.msg})", expected="JSON") from error
    except RecursionError as error:
        raise InputError(where, found="nesting too deep to read", expected="a few levels") from error
    except ValueError as error:  # Python's limit on the digits of an integer
        raise InputError(where, found="an integer of thousands of digits", expected="ordinary numbers") from error


def is_finite_number(value: Any) -> bool:
    """Whether ``value`` is an int or float, no boolean, that is a finite float too; JSON knows 1e999 and 10^400."""
    try:
        return type(value) in (int, float) and math.isfinite(value)
    except OverflowError:  # an integer beyond every float
        return False


def json_bytes(document: Any, *, indent: int | None = 2) -> bytes:
    """``document`` as UTF-8 JSON with a trailing newline; the same document gives the same bytes."""
    text = json.dumps(document, indent=indent, allow_nan=False, ensure_ascii=False) + "\n"
    return text.encode("utf-8", "backslashreplace")  # a path of other bytes than UTF-8 keeps them as JSON escapes


def large_json_bytes(document: Any) -> bytes:
    """``json_bytes`` for large documents that machines write: by msgspec, several times faster."""
    import msgspec

    data = msgspec.json.format(msgspec.json.encode(document), indent=2) + b"\n"
    return json_bytes(document) if b"null" in data else data  # msgspec makes a null of NaN, in silence
