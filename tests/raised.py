"""Compare an error with the parts it is expected to have, instead of with the words of its message.

The messages themselves are in ``faults/MESSAGES.md``.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest

from Neuron_Selection import command_line
from Neuron_Selection.errors import CheckError, MachineError, SuiteError, UntrustedError
from Neuron_Selection.FileFormats.provenance import different_run_error

DIFFERENT_RUN = different_run_error(Path()).problem
NO_SUCH_FILE = re.compile("no such file in .* nor in .*")
INPUT_AND_OUTPUT = "is both an input and an output of this run"
EXIT_CODES = {CheckError: 1, UntrustedError: 3, MachineError: 4}
Parts = dict[str, Any]


def parts(**expected: Any) -> Parts:
    """The parts of an expected error, as a row of a table of cases: the keywords of ``check_parts``."""
    return expected


def bad_value(place: str, found: Any) -> Parts:
    """The parts of an error in a value: enough for a case whose whole message is in the golden table."""
    return parts(file=..., place=place, found=found, expected=...)


def bad_state(place: str, problem: Any) -> Parts:
    """The parts of an error in a state, such as a missing field."""
    return parts(file=..., place=place, problem=problem, expected=...)


def bad_sentence(*names: str, place: str | None = None) -> Parts:
    """The parts of an error whose problem is a sentence: values that it contains."""
    return parts(file=..., place=place, names=names, field=...)


def check_parts(
    error: BaseException,
    *,
    file: Any = "",
    place: str | None = None,
    names: Sequence[Any] = (),
    flags: Sequence[str] = (),
    **expected: Any,
) -> None:
    """Check the parts of an error. A part that is not given has to be empty, except the hint.

    :param file: its path, or its name alone; ``...`` for any
    :param place: the field, or the name of the file if the error has no field
    :param names: values that a sentence contains, such as a layer or an id; its other words are not compared
    :param flags: all flags that ``problem`` names, in their order; its other words are not compared
    :param expected: ``field``, ``problem``, ``found``, ``expected``, ``hint``: the text, a compiled pattern of all of
        it, or ``...`` for any text
    """
    assert isinstance(error, SuiteError), error
    assert file is ... or str(file) in (error.file, Path(error.file).name), error
    assert place in (None, error.field or Path(error.file).name), error
    assert all(str(name) in str(error) for name in names), error
    assert not flags or re.findall(r"--\w+", error.problem) == list(flags), error
    if names or flags:
        expected = {"problem": ..., **expected}
    if place is not None:
        expected = {"field": ..., **expected}
    assert expected, "the class and the file alone do not identify an error"
    for part, value in {"field": "", "problem": "", "found": "", "expected": "", **expected}.items():
        text = getattr(error, part)
        assert value is ... or (value.fullmatch(text) if isinstance(value, re.Pattern) else value == text), (part, text)


@contextmanager
def raises(kind: type[SuiteError], **expected: Any) -> Iterator[pytest.ExceptionInfo[SuiteError]]:
    """``pytest.raises`` with the parts of the error.

    :param kind: exactly this class, not a subclass
    """
    with pytest.raises(kind) as caught:
        yield caught
    assert type(caught.value) is kind
    assert caught.value.exit_code == EXIT_CODES.get(kind, 2)
    check_parts(caught.value, **expected)


@contextmanager
def reported_errors() -> Iterator[list[BaseException]]:
    """The errors that scripts of this process report meanwhile."""
    errors: list[BaseException] = []
    report = command_line._failed

    def keep(*arguments: Any, **more: Any) -> int:
        error = sys.exc_info()[1]
        assert error is not None
        errors.append(error)
        return report(*arguments, **more)

    with patch.object(command_line, "_failed", keep):
        yield errors


@contextmanager
def reports(kind: type[SuiteError], **expected: Any) -> Iterator[None]:
    """A script that is run in the block, in this process, reports one error with these parts.

    Its exit code is compared in the block: ``assert main(words) == 2``.

    :param kind: exactly this class, not a subclass
    """
    with reported_errors() as errors:
        yield
    (error,) = errors
    assert type(error) is kind, error
    check_parts(error, **expected)
