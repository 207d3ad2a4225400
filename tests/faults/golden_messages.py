"""The golden table of messages: every error line of the fault tests, word for word, in ``MESSAGES.md``.

A changed message shows up in one place. ``UPDATE_MESSAGES=1 pytest -n 0 tests/faults`` writes the table anew.
"""

from __future__ import annotations

import os
import re
import tempfile
from functools import cache
from pathlib import Path

from tests.conftest import ROOT

TABLE = Path(__file__).parent / "MESSAGES.md"
FILES = (
    "agent",
    "vecnormalize",
    "input",
    "patching",
    "pipeline",
    "command_line",
    "edge",
    "recording",
    "rollout",
    "report",
    "document",
)  # fmt: skip; others depend on the machine
_HEAD = """# Messages

Every error line that the fault tests see, with its exit code; written by `UPDATE_MESSAGES=1 pytest -n 0 tests/faults`.
`FOLDER` is the folder of a test, `PROJECT` the checkout.

| test | exit | message |
|---|---|---|
"""


def check_message(code: int, line: str) -> None:
    """Compare an error line with the table, or write it there.

    :param line: ``error: MESSAGE``
    """
    test = os.environ["PYTEST_CURRENT_TEST"].rpartition(" (")[0]
    place = re.fullmatch(r"tests/faults/test_(\w+)_faults\.py::(.*)", test, re.DOTALL)
    if place is None or place[1] not in FILES:
        return
    row = _row(place[2], code, line.removeprefix("error: "))
    if os.environ.get("UPDATE_MESSAGES"):
        text = TABLE.read_text() if TABLE.exists() else _HEAD
        TABLE.write_text(_HEAD + "".join(sorted({*text.removeprefix(_HEAD).splitlines(keepends=True), row})))
        return
    assert row in _rows(), f"not in {TABLE.name}: {row}"


@cache
def _rows() -> frozenset[str]:
    return frozenset(TABLE.read_text().splitlines(keepends=True))


def _row(test: str, code: int, message: str) -> str:
    folder = re.escape(tempfile.gettempdir()) + r"/pytest-of-[^/]+/pytest-\d+/(?:popen-gw\d+/)?[^/\s:]+"
    for found, stands_for in (
        (folder, "FOLDER"),
        (re.escape(str(ROOT)), "PROJECT"),
        (r"\b[0-9a-f]{12,64}\b", "HASH"),
        (r".*(?=: File name too long)", "FOLDER/..."),
    ):
        message = re.sub(found, stands_for, message)
    cells = (test, str(code), message)
    return "| " + " | ".join(cell.replace("|", "\\|").replace("\n", "\\n") for cell in cells) + " |\n"
