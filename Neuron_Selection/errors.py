"""What a user can mend: one family of errors, one line each, with the exit code it deserves."""

from __future__ import annotations

import json

LINE_LIMIT = 400


class SuiteError(Exception):
    """Something the user can mend. The message is one printable line; ``detail`` may add more lines."""

    exit_code = 2

    def __init__(self, message: str, *, detail: tuple[str, ...] = ()) -> None:
        super().__init__(one_line(message))
        self.detail = detail


class UsageError(SuiteError):
    """The command line, or the arguments of a call, cannot be what was meant."""


class EngineError(UsageError):
    """The numpy engine cannot run this network, device or dtype; hooks can."""


class InputError(SuiteError):
    """A file, or an argument in its place, holds something that it must not."""

    def __init__(
        self,
        where: object,
        field: str = "",
        *,
        found: str = "",
        expected: str = "",
        hint: str = "",
        detail: tuple[str, ...] = (),
    ) -> None:
        """Compose ``WHERE: FIELD: found X, expected Y (hint)``; empty parts are left out."""
        parts = [shown(str(where), limit=120, quoted=False)]
        if field:
            parts.append(field)
        facts = [f"found {found}"] if found else []
        if expected:
            facts.append(f"expected {expected}")
        if facts:
            parts.append(", ".join(facts))
        super().__init__(": ".join(parts) + (f" ({hint})" if hint else ""), detail=detail)


class UntrustedError(InputError):
    """Only a trust flag would let this through: code that a file names or carries."""

    exit_code = 3


class MachineError(SuiteError):
    """The machine cannot do it: permission, disk, memory, a device that is absent."""

    exit_code = 4


class CheckError(SuiteError):
    """A run failed one of its own checks: a fault of the suite or of what it stands on, not of the user."""

    exit_code = 1

    def __init__(self, check: str, message: str) -> None:
        super().__init__(f"self-check {check} failed: {message}")


class SuiteWarning(UserWarning):
    """Something the user should know; the run goes on."""


def is_lack_of_memory(error: Exception) -> bool:
    """Whether the machine has too little memory; torch's error has no class of its own on the CPU."""
    torchs = type(error).__name__ == "OutOfMemoryError" or "can't allocate memory" in str(error)
    return torchs or isinstance(error, MemoryError)


def shown(value: object, *, limit: int = 60, quoted: bool = True) -> str:
    """File content made fit for one line: control characters escaped, the middle of long text cut.

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
