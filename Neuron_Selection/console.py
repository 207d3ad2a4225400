"""Where a script speaks: results go to stdout, talk and progress to stderr."""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Iterable, Mapping
from typing import Any, TypeVar

Item = TypeVar("Item")


class Console:
    """Results go to stdout, talk goes to stderr."""

    def __init__(self, *, quiet: bool, as_json: bool) -> None:
        self.quiet = quiet
        self._as_json = as_json

    def say(self, message: str) -> None:
        """A remark on stderr, silenced by ``--quiet``."""
        if not self.quiet:
            print(message, file=sys.stderr)

    def result(self, document: Mapping[str, Any], lines: Iterable[str]) -> None:
        """The summary on stdout: ``document`` with ``--json``, else ``lines``."""
        print(json.dumps(document, indent=2) if self._as_json else "\n".join(lines))

    def progress(self, items: Iterable[Item], *, total: int, unit: str) -> Iterable[Item]:
        """``items``, with a progress bar where stderr is a terminal."""
        if self.quiet or not sys.stderr.isatty():
            return items
        from tqdm import tqdm

        bar: Iterable[Item] = tqdm(items, total=total, unit=unit, leave=False)
        return bar


def speak_plainly() -> None:
    """Let stdout escape what its encoding lacks, as stderr does, instead of failing at the end of a run."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")


def all_is_said() -> None:
    """Raise an OSError where stdout cannot take what was printed; nothing where a shell has closed it (``>&-``)."""
    if sys.stdout is not None:
        sys.stdout.flush()
