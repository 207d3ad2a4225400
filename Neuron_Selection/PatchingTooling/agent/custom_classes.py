"""Custom classes, which are neither SB3's nor torch's: which ones the user trusts, and how they are loaded.

Nothing in an agent's zip is ever run. A class that the zip only names is imported if ``--trust`` names it too; a class
whose code is stored in the zip is replaced by the user's own copy, ``FILE.py:Class``.
"""

from __future__ import annotations

import importlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeGuard

from Neuron_Selection.errors import InputError, UntrustedError, UsageError, shown
from Neuron_Selection.FileFormats.agent_zip.agent_zip import ClassByValue
from Neuron_Selection.FileFormats.agent_zip.pickled_data import Name
from Neuron_Selection.PatchingTooling.agent.user_files import UserFile, file_and_name, run_user_code

ARGUMENT = "an argument"  # the role of a class among the arguments of another
_COPIES = {"features_extractor_class": "features_extractor", "activation_fn": "activation_fn", "policy_class": "policy"}


@dataclass(frozen=True, kw_only=True, slots=True)
class CustomClasses:
    """The classes that the user trusts: names in ``trust`` are imported, copies are ``FILE.py:Class`` or classes."""

    trust: tuple[str, ...] = ()
    features_extractor: str | type | None = None
    activation_fn: str | type | None = None
    policy: str | type | None = None
    _files: dict[Path, UserFile] = field(default_factory=dict, init=False, repr=False, compare=False)

    @property
    def copies(self) -> dict[str, str | type]:
        """Flag to the user's own copy of a class."""
        given = {name: getattr(self, name) for name in _COPIES.values()}
        return {name: copy for name, copy in given.items() if copy is not None}

    def __post_init__(self) -> None:
        for source in self.copies.values():
            if isinstance(source, str):
                file_and_name(source)
        for name in self.trust:
            if not re.fullmatch(r"\w+(\.\w+)+", name):
                raise UsageError(field="trust", found=shown(name), expected="module.Class")

    def source_of(self, value: Name | ClassByValue, role: str, *, where: str, expected: str) -> str:
        """The source of the class for this role: ``module.Class`` or ``FILE.py:Class``.

        :param role: the policy argument, such as ``features_extractor_class``
        :param expected: the classes that need no flag
        :raises UntrustedError: the user does not trust it
        """
        flag = _COPIES.get(role)
        if flag in self.copies:
            return _source(self.copies[flag])
        name = value.name if isinstance(value, ClassByValue) else str(value)
        if isinstance(value, Name) and name in self.trust:
            return name
        other = self.features_extractor or self.policy
        if role == ARGUMENT and isinstance(value, ClassByValue) and other and name.isidentifier():
            return _next_to(other, name)
        field = role if role == "policy_class" else f"policy_kwargs.{role}"
        if isinstance(value, Name):
            found, hint = f"the custom class {shown(name)}", f"--trust {name} imports it"
        elif name.isidentifier():
            found = f"the class {shown(name)}, whose code is stored in the zip"
            hint = f"--{flag} FILE.py:{name} uses your own copy" if flag else "save it by reference"
            hint = "--features_extractor FILE.py:Class uses both from one file" if role == ARGUMENT else hint
        else:
            found = f"{shown(name, quoted=False)} instead of a class"
            hint = (
                f"--{flag} FILE.py:Class uses a class of yours that does the same" if flag else "save it by reference"
            )
        raise UntrustedError(where, field, found=found, expected=expected, hint=hint)

    def classes_inside(self, arguments: object, where: str) -> set[str]:
        """The custom classes among a policy's arguments, such as ``features_extractor_kwargs``.

        :raises UntrustedError: one that the user does not trust
        """
        if isinstance(arguments, Mapping):
            return set().union(*(self.classes_inside(value, where) for value in arguments.values()))
        if isinstance(arguments, list | tuple):
            return set().union(*(self.classes_inside(value, where) for value in arguments))
        if isinstance(arguments, Name | ClassByValue) and not is_torch_module(arguments):
            return {self.source_of(arguments, ARGUMENT, where=where, expected="plain values and torch.nn's classes")}
        return set()

    def refuse_unused(self, used: Sequence[str], *, where: str) -> None:
        """Raise for a trusted class that the agent does not use."""
        for flag, given in (
            *(("--trust", name) for name in self.trust),
            *((f"--{flag}", copy) for flag, copy in self.copies.items()),
        ):
            if _source(given) not in used:
                named = shown(_source(given), limit=120, quoted=False)
                raise InputError(where, problem=f"this agent does not use {flag} {named}")

    @property
    def names(self) -> tuple[str, ...]:
        """Every trusted class, by its source."""
        return (*self.trust, *map(_source, self.copies.values()))

    @property
    def described(self) -> dict[str, Any]:
        """For the metadata: the names, and the SHA-256 of files; empty without custom classes."""
        described: dict[str, Any] = {"trust": list(self.trust)} if self.trust else {}
        for flag, source in self.copies.items():
            if isinstance(source, type):
                described[flag] = {"class": _source(source)}
            else:
                path, name = file_and_name(source)
                described[flag] = {"file": path.name, "class": name, "sha256": self._file(path).sha256}
        return described

    def load(self, source: str, base: type) -> Any:
        """Import the class that ``source_of`` named.

        :param source: ``module.Class`` or ``FILE.py:Class``
        :param base: the required base class; for ``object`` also a function of torch
        :raises UsageError: no such file, module or class, an error while importing it, or a class of another kind
        """
        for given in self.copies.values():
            if isinstance(given, type) and _source(given) == source:
                return _checked(given, source, base)
        if ":" in source:
            path, name = file_and_name(source)
            found: Any = self._file(path).module()
        else:
            module, _, name = source.rpartition(".")
            found = run_user_code(source, lambda: importlib.import_module(module))
        if not hasattr(found, name):
            raise UsageError(f"the module has no {shown(name)}", field=source)
        return _checked(getattr(found, name), source, base)

    def _file(self, path: Path) -> UserFile:
        """A file is read once, so that the recorded hash is that of the code that runs."""
        if path not in self._files:
            self._files[path] = UserFile.read(path, hint="FILE.py:Class names your own copy of the class")
        return self._files[path]


def _next_to(given: str | type, name: str) -> str:
    """The source of a class that was pickled together with another: that of the user's copy of the other."""
    if isinstance(given, str):
        return f"{file_and_name(given)[0]}:{name}"
    return f"{given.__module__}.{name}"


def is_torch_module(value: object) -> TypeGuard[Name]:
    """Whether a pickled name is one of torch.nn's."""
    return isinstance(value, Name) and (value.module == "torch.nn" or value.module.startswith("torch.nn.modules."))


def is_custom(source: str) -> bool:
    """Whether a class is custom; SB3's and torch's have bare names."""
    return "." in source


def _checked(loaded: Any, source: str, base: type) -> Any:
    if base is object and source.startswith("torch.") and callable(loaded):
        return loaded  # a function of torch, such as functional.elu, among the arguments of a class
    if not (isinstance(loaded, type) and issubclass(loaded, base)):
        kind = f"a class that is not a {base.__name__}" if isinstance(loaded, type) else f"a {type(loaded).__name__}"
        raise UsageError(field=source, found=kind, expected=f"a subclass of {base.__name__}")
    return loaded


def _source(given: str | type) -> str:
    return given if isinstance(given, str) else f"{given.__module__}.{given.__qualname__}"
