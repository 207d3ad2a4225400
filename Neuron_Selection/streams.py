"""Output of scripts: results on stdout, progress and warnings on stderr, even if a stream is closed, full or ASCII."""

from __future__ import annotations

import json
import os
import sys
import warnings
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, TypeVar

from Neuron_Selection.errors import SuiteWarning, one_line

Item = TypeVar("Item")


class Console:
    """Results go to stdout, remarks and progress to stderr."""

    def __init__(self, *, quiet: bool, as_json: bool) -> None:
        self.quiet = quiet
        self._as_json = as_json
        self._results = sys.stdout

    def say(self, message: str) -> None:
        """Print a remark on stderr unless ``--quiet`` is set."""
        if not self.quiet:
            print(message, file=sys.stderr)

    def result(self, document: Mapping[str, Any], lines: Iterable[str]) -> None:
        """Print the summary on stdout: ``document`` with ``--json``, else ``lines``."""
        text = json.dumps(document, indent=2) if self._as_json else "\n".join(lines)
        encoding = self._results.encoding or "utf-8"  # a path may hold characters that an ASCII terminal cannot show
        print(text.encode(encoding, "backslashreplace").decode(encoding), file=self._results)

    def progress(self, items: Iterable[Item], *, total: int, unit: str) -> Iterable[Item]:
        """Iterate over ``items``, with a progress bar if stderr is a terminal."""
        if self.quiet or not sys.stderr.isatty():
            return items
        from tqdm import tqdm

        bar: Iterable[Item] = tqdm(items, total=total, unit=unit, leave=False)
        return bar


def open_closed_streams() -> None:
    """Replace streams that the shell closed (``>&-``) by the null device.

    Python sets them to None; remarks would then go to stdout, and the next opened file would get the number of stderr.
    """
    for name in ("stdin", "stdout", "stderr"):  # in the order of their file descriptors
        if getattr(sys, name) is None:
            setattr(sys, name, os.fdopen(os.open(os.devnull, os.O_WRONLY), "w"))


def discard_stdout() -> None:
    """Discard output that stdout does not accept; Python would report it again on exit, with another exit code."""
    try:
        sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)


@contextmanager
def warnings_on_one_line() -> Iterator[None]:
    """Print each warning of this suite once, as one line on stderr; warnings of libraries are not changed."""
    printed: set[str] = set()

    def show(message: Warning | str, category: type[Warning], *place: Any, **more: Any) -> None:
        if issubclass(category, SuiteWarning):
            if str(message) not in printed:
                print(one_line(f"warning: {message}"), file=sys.stderr)
            printed.add(str(message))
        else:
            usual(message, category, *place, **more)

    with warnings.catch_warnings():
        usual, warnings.showwarning = warnings.showwarning, show
        warnings.simplefilter("always", SuiteWarning)
        yield
