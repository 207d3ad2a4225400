"""Check documents read from JSON against a schema, and name the field that does not match.

Files that people edit are read with the standard library first, which finds duplicate keys and NaN; msgspec then checks
fields and types.
"""

from __future__ import annotations

import re
from typing import Annotated, Any, TypeAlias, TypeVar

import msgspec
from msgspec import Meta

from Neuron_Selection.errors import InputError, shown

Checked = TypeVar("Checked")
Index: TypeAlias = Annotated[int, Meta(ge=0)]

_WORDS = {
    "object": "an object",
    "array": "a list",
    "int": "a whole number",
    "float": "a finite number",
    "str": "text",
    "bool": "true or false",
}
_COMPARISONS = {">=": "at least", "<=": "at most", ">": "above", "<": "below"}
_MESSAGE = re.compile(r"(?P<text>.*?)(?: - at `\$(?P<path>.*)`)?", re.DOTALL)
_EXPECTED = re.compile(
    r"Expected `(?P<types>[^`]+)`"
    r"(?: of length (?P<length>[^,]+)(?:, got .+)?| (?P<limit>[<>]=? .+)|, got `(?P<got>\w+)`)?"
)
_MISSING = re.compile(r"Object missing required field `(?P<name>[^`]+)`")


def checked_document(
    document: Any, schema: type[Checked], where: object, *, field: str = "", hint: str = ""
) -> Checked:
    """Convert a document to a msgspec Struct, without coercing types; keys that the Struct does not name are ignored.

    :param schema: the Struct
    :param field: the document's own place in the file, for messages
    :param hint: what to do about a document that does not match
    :raises InputError: the field that does not match, what was found and what was expected
    """
    try:
        return msgspec.convert(document, schema, strict=True)
    except msgspec.ValidationError as error:
        raise _input_error(document, str(error), where, field, hint) from error


def _input_error(document: Any, message: str, where: object, field: str, hint: str) -> InputError:
    parsed = _MESSAGE.fullmatch(message)
    text, path = (parsed["text"], parsed["path"] or "") if parsed else (message, "")
    missing = _MISSING.fullmatch(text)
    if missing:
        return InputError(where, _joined(field, f"{path}.{missing['name']}"), "is missing", hint=hint)
    expected = _EXPECTED.fullmatch(text)
    words = _in_words(expected) if expected else "a finite number" if text == "Number out of range" else ""
    if not words:
        return InputError(where, _joined(field, path), text, hint=hint)
    got = expected["got"] if expected else None
    unknown = _WORDS.get(got or "", "another value")  # msgspec does not say which key of a mapping it means
    found = unknown if "[...]" in path else _found(document, path, show_length=" of length " in words)
    return InputError(where, _joined(field, path), found=found, expected=words, hint=hint)


def _joined(field: str, path: str) -> str:
    return f"{field}{path}" if field else path.lstrip(".")


def _in_words(expected: re.Match[str]) -> str:
    words = " or ".join(_WORDS.get(name, name) for name in expected["types"].split(" | "))
    limit = expected["length"] or expected["limit"]
    for sign, word in _COMPARISONS.items():
        if limit and limit.startswith(f"{sign} "):
            limit = f"{word} {limit.removeprefix(f'{sign} ').removesuffix('.0')}"
    if expected["length"]:
        return f"{words} of length {limit}"
    return f"{words}, {limit}" if limit else words


def _found(document: Any, path: str, *, show_length: bool) -> str:
    value = document
    for name, index in re.findall(r"\.(\w+)|\[(\d+)\]", path):
        value = value[name] if name else value[int(index)]
    return f"{shown(value)} of length {len(value)}" if show_length else shown(value)
