"""What scripts say: results on stdout, progress and warnings on stderr, also where these are closed, full or ASCII."""

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
    """Results go to stdout, talk goes to stderr."""

    def __init__(self, *, quiet: bool, as_json: bool) -> None:
        self.quiet = quiet
        self._as_json = as_json
        self._results = sys.stdout

    def say(self, message: str) -> None:
        """A remark on stderr, silenced by ``--quiet``."""
        if not self.quiet:
            print(message, file=sys.stderr)

    def result(self, document: Mapping[str, Any], lines: Iterable[str]) -> None:
        """The summary on stdout: ``document`` with ``--json``, else ``lines``."""
        text = json.dumps(document, indent=2) if self._as_json else "\n".join(lines)
        encoding = self._results.encoding or "utf-8"  # a path may hold what a terminal in ASCII cannot show
        print(text.encode(encoding, "backslashreplace").decode(encoding), file=self._results)

    def progress(self, items: Iterable[Item], *, total: int, unit: str) -> Iterable[Item]:
        """``items``, with a progress bar where stderr is a terminal."""
        if self.quiet or not sys.stderr.isatty():
            return items
        from tqdm import tqdm

        bar: Iterable[Item] = tqdm(items, total=total, unit=unit, leave=False)
        return bar


def open_closed_streams() -> None:
    """Put nothing in the place of streams that the shell closed (``>&-``).

    Python has None there: print would write talk to stdout, and the next file would get the number of stderr.
    """
    for name in ("stdin", "stdout", "stderr"):  # in the order of their numbers
        if getattr(sys, name) is None:
            setattr(sys, name, os.fdopen(os.open(os.devnull, os.O_WRONLY), "w"))


def let_go_of_stdout() -> None:
    """Drop what stdout does not take, or Python complains again when it closes it, and exits with a code of its own."""
    try:
        sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)


@contextmanager
def warnings_on_one_line() -> Iterator[None]:
    """Our warnings stand on stderr as ``warning: ...``, each once; those of libraries behave as ever."""
    said: set[str] = set()

    def show(message: Warning | str, category: type[Warning], *place: Any, **more: Any) -> None:
        if issubclass(category, SuiteWarning):
            if str(message) not in said:
                print(one_line(f"warning: {message}"), file=sys.stderr)
            said.add(str(message))
        else:
            usual(message, category, *place, **more)

    with warnings.catch_warnings():
        usual, warnings.showwarning = warnings.showwarning, show
        warnings.simplefilter("always", SuiteWarning)
        yield
