"""Run the user's own Python files, such as ``FILE.py:Class``: exactly the bytes that were read and hashed.

Python's own import would use ``__pycache__/FILE.cpython-311.pyc`` next to the file if there is one, whatever it holds
(PEP 552, unchecked hash-based pycs), and would write one there. The code that runs could then differ from the code
whose hash is recorded.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from Neuron_Selection.errors import UsageError, shown
from Neuron_Selection.FileFormats.storage.atomic_files import read_bytes, sha256_of


@dataclass(frozen=True, kw_only=True, slots=True)
class UserFile:
    """A Python file of the user, read once."""

    path: Path
    source: bytes

    @classmethod
    def read(cls, path: Path, *, hint: str) -> UserFile:
        """Read a file; nothing is compiled or run yet.

        :param hint: what the file is for, shown if it cannot be read
        """
        return cls(path=path, source=read_bytes(path, hint=hint))

    @property
    def sha256(self) -> str:
        """Hash of the bytes that ``module`` runs."""
        return sha256_of(self.source)

    def module(self) -> ModuleType:
        """The module of these bytes; the same module for the same path and bytes.

        :raises UsageError: the bytes are not Python, or raise while they run
        """
        name = f"_{self.path.stem}_{self.sha256[:12]}"
        if name not in sys.modules:
            module = ModuleType(name)
            module.__file__ = str(self.path)
            sys.modules[name] = module  # dataclasses and pickle look their module up
            try:
                run_user_code(str(self.path), lambda: self._execute(module))
            except BaseException:
                del sys.modules[name]
                raise
        return sys.modules[name]

    def _execute(self, module: ModuleType) -> None:
        code = compile(self.source, str(self.path), "exec", dont_inherit=True)
        exec(code, module.__dict__)  # noqa: S102 - the user named this file on the command line


def run_user_code(what: str, run: Callable[[], Any]) -> Any:
    """Run an import; any exception becomes an error the user can fix.

    :param what: the module or file, for the message
    :raises UsageError: with the kind of the error and its text
    """
    try:
        return run()
    except (Exception, SystemExit) as error:  # the user's own module may raise anything, and be a whole script
        kind = f"{type(error).__name__}: {error}"
        missing = error.name if isinstance(error, ModuleNotFoundError) else None
        hint = f"; install {missing} or add it to PYTHONPATH" if missing else ""
        raise UsageError(f"importing it failed ({kind}){hint}", field=what) from error


def file_and_name(source: str) -> tuple[Path, str]:
    """Split ``FILE.py:name``.

    :raises UsageError: the text has another form
    """
    path, _, name = source.rpartition(":")
    if not path.endswith(".py") or not name.isidentifier():
        raise UsageError(field="custom class", found=shown(source), expected="FILE.py:Class")
    return Path(path), name
