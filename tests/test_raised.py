"""The comparison of errors with expected parts: each part that differs is found."""

from __future__ import annotations

import re
from typing import Any

import pytest

from Neuron_Selection import inspect_agent
from Neuron_Selection.errors import InputError, UntrustedError, UsageError
from tests.raised import bad_sentence, bad_state, bad_value, check_parts, parts, raises, reports

VALUE = InputError("folder/a.json", "rows[0]", found="null", expected="text", hint="try again")
STATE = InputError("folder/a.json", problem="was changed")
FLAGS = UsageError("--one cannot be used with --two", hint="use --three")


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (VALUE, parts(file="a.json", field="rows[0]", found="null", expected="text")),
        (VALUE, parts(file="folder/a.json", field=re.compile("rows.*"), found=..., expected="text", hint="try again")),
        (VALUE, bad_value("rows[0]", "null")),
        (STATE, parts(file="a.json", problem="was changed")),
        (STATE, bad_state("a.json", "was changed")),
        (FLAGS, parts(flags=["--one", "--two"])),
        (FLAGS, bad_sentence("--one", "--two")),
    ],
)
def test_an_error_with_the_expected_parts_passes(error: Exception, expected: dict[str, Any]) -> None:
    check_parts(error, **expected)


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (VALUE, parts(file="b.json", field="rows[0]", found="null", expected="text")),
        (VALUE, parts(file="a.json", field="rows", found="null", expected="text")),
        (VALUE, parts(file="a.json", field="rows[0]", expected="text")),
        (VALUE, parts(file="a.json", field="rows[0]", found="null", expected=re.compile("tex"))),
        (VALUE, parts(file="a.json", field="rows[0]", found="null", expected="text", hint="")),
        (VALUE, parts(field="rows[0]", found="null", expected="text")),
        (VALUE, bad_value("a.json", "null")),
        (STATE, parts(file="a.json")),
        (STATE, bad_state("a.json", "was")),
        (FLAGS, parts(flags=["--two", "--one"])),
        (FLAGS, parts(flags=["--one"])),
        (FLAGS, parts(names=["--four"])),
        (ValueError("--one"), parts(names=["--one"])),
    ],
)
def test_a_part_that_differs_is_found(error: Exception, expected: dict[str, Any]) -> None:
    with pytest.raises(AssertionError):
        check_parts(error, **expected)


def test_another_class_is_found() -> None:
    with pytest.raises(AssertionError), raises(InputError, file="a", field="b", problem="c"):
        raise UntrustedError("a", "b", "c")


def test_the_error_of_a_script_is_compared_and_has_to_be_reported() -> None:
    with reports(InputError, file="none", problem="no such file or folder"):
        assert inspect_agent.main(["none"]) == 2
    with pytest.raises(AssertionError), reports(InputError, file="none", problem="contains no zip"):
        inspect_agent.main(["none"])
    with pytest.raises(ValueError, match="not enough values"), reports(InputError, file="none", problem=...):
        pass
