"""Errors the user can fix: one family, one line each, with its exit code."""

from __future__ import annotations

import json

LINE_LIMIT = 400


class SuiteError(Exception):
    """An error the user can fix. The message is one printable line; ``detail`` may add more lines.

    The message is composed of the parts, which stay readable as attributes: ``FILE: FIELD: found X, expected Y
    (HINT)`` for a value, ``FILE: FIELD: PROBLEM (HINT)`` for a state. Empty parts are left out, so that a sentence is
    a ``problem`` alone.
    """

    exit_code = 2

    def __init__(
        self,
        problem: str = "",
        *,
        file: object = "",
        field: str = "",
        found: str = "",
        expected: str = "",
        hint: str = "",
        detail: tuple[str, ...] = (),
    ) -> None:
        self.file, self.field, self.problem = str(file), field, problem
        self.found, self.expected, self.hint, self.detail = found, expected, hint, detail
        facts = [problem, f"found {found}" if found else "", f"expected {expected}" if expected else ""]
        parts = [shown(self.file, limit=120, quoted=False), field, ", ".join(fact for fact in facts if fact)]
        super().__init__(one_line(": ".join(part for part in parts if part) + (f" ({hint})" if hint else "")))


class UsageError(SuiteError):
    """Flags, or the arguments of a call, that cannot be used together or are missing, or a value they cannot have."""


class EngineError(UsageError):
    """The numpy engine cannot run this network, device or dtype; hooks can."""


class InputError(SuiteError):
    """A file, or one of its fields, has content that cannot be used."""

    def __init__(
        self,
        where: object,
        field: str = "",
        problem: str = "",
        *,
        found: str = "",
        expected: str = "",
        hint: str = "",
        detail: tuple[str, ...] = (),
    ) -> None:
        super().__init__(problem, file=where, field=field, found=found, expected=expected, hint=hint, detail=detail)


class UntrustedError(InputError):
    """A file names or carries code that runs only with a flag such as --trust."""

    exit_code = 3


class MachineError(SuiteError):
    """The machine cannot do it: permission, disk, memory, a missing device."""

    exit_code = 4


class CheckError(SuiteError):
    """A run failed one of its own checks: a fault of the suite or of a library below it, not of the user."""

    exit_code = 1

    def __init__(self, check: str, problem: str = "", *, field: str = "", found: str = "", expected: str = "") -> None:
        self.check = check
        where = f"self-check {check} failed"
        super().__init__(problem, file=where, field=field, found=found, expected=expected)


class SuiteWarning(UserWarning):
    """Something the user should know about a run that continues."""


def is_lack_of_memory(error: Exception) -> bool:
    """Whether memory ran out; torch raises a plain RuntimeError for it on the CPU."""
    from_torch = type(error).__name__ == "OutOfMemoryError" or "can't allocate memory" in str(error)
    return from_torch or isinstance(error, MemoryError)


def shown(value: object, *, limit: int = 60, quoted: bool = True) -> str:
    """File content as it is shown in a message: control characters escaped, the middle of long text cut.

    :param value: str, number, bool or None are shown by value; anything else by its type only,
        since the ``repr`` of a structure from a file may never end.
    """
    if isinstance(value, str):
        head = value if len(value) <= 2 * limit else value[: limit - 10] + value[-limit:]
        text = repr(head) if quoted or not head.isprintable() else head
    elif isinstance(value, int) and not isinstance(value, bool) and value.bit_length() > 128:
        text = f"an integer of {value.bit_length()} bits"
    elif value is None or isinstance(value, bool | int | float):
        text = json.dumps(value)
    else:
        names: dict[type, str] = {dict: "an object", list: "a list", tuple: "a tuple"}
        text = names.get(type(value), type(value).__name__)
    return text if len(text) <= limit else text[: limit // 2 - 2] + "..." + text[-(limit // 2 - 1) :]


def one_line(message: str) -> str:
    """``message`` on one printable line of at most 400 characters."""
    printable = "".join(c if c.isprintable() else repr(c)[1:-1] for c in message)
    if len(printable) <= LINE_LIMIT:
        return printable
    half = LINE_LIMIT // 2 - 3
    return printable[:half] + " ... " + printable[-half:]
