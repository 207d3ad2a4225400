"""Functions in the user's own Python files, ``FILE.py:name``, for ``--when`` and ``--success``."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from Neuron_Selection.errors import InputError, UsageError, shown
from Neuron_Selection.PatchingTooling.agent.user_files import UserFile


@dataclass(frozen=True, kw_only=True, slots=True)
class UserFunction:
    """A function in a file that was read once; it can be handed to another process."""

    flag: str
    name: str
    file: UserFile

    @property
    def described(self) -> dict[str, str]:
        """The function for the metadata."""
        return {"function": self.name, "sha256": self.file.sha256}

    def __call__(self, *arguments: Any) -> Any:
        """Call the function; whatever it raises becomes an error the user can fix."""
        function = self._loaded()
        try:
            return function(*arguments)
        except Exception as error:  # the user's own function may raise anything
            where = f"{self.file.path}:{self.name}"
            raise UsageError(
                "failed", field=f"--{self.flag} {where}", hint=f"{type(error).__name__}: {error}"
            ) from error

    def check(self) -> None:
        """Raise if the file has no such function."""
        self._loaded()

    def _loaded(self) -> Callable[..., Any]:
        function = getattr(self.file.module(), self.name, None)
        if not callable(function):
            raise InputError(self.file.path, self.name, found="no function of this name", expected="a function")
        return function  # type: ignore[no-any-return]


def user_function(flag: str, text: str) -> UserFunction:
    """The function that ``FILE.py:name`` names.

    :param flag: without dashes, for messages
    :raises SuiteError: another form, a file that cannot be read, or one without such a function
    """
    path, _, name = text.rpartition(":")
    if not path.endswith(".py") or not name.isidentifier():
        raise UsageError(field=f"--{flag}", found=shown(text), expected="FILE.py:function")
    found = UserFunction(flag=flag, name=name, file=UserFile.read(Path(path), hint=f"--{flag} names your own function"))
    found.check()
    return found


def success_signal(text: str | None) -> tuple[UserFunction | None, str]:
    """What ``--success`` names: a function, or the key in ``info[key]``; neither for None.

    :raises SuiteError: another form, or a file without such a function
    """
    if text is None:
        return None, ""
    key = re.fullmatch(r"info\[(?:'([^']+)'|\"([^\"]+)\"|([^\]'\"]+))\]", text.strip())
    if key is not None:
        return None, next(name for name in key.groups() if name)
    return user_function("success", text), ""
