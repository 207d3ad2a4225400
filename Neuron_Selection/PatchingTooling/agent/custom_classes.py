"""Classes that are neither SB3's nor torch's: which ones the user lets in, and how they are fetched.

Nothing in an agent's zip is ever run. A class that the zip only names is imported if ``--trust`` names it too; a class
whose code lies in the zip is replaced by the user's own copy, ``FILE.py:Class``.
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
    """What the user lets in: ``trust`` names importable classes, the copies are ``FILE.py:Class`` or classes."""

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
                raise UsageError(f"trust: found {shown(name)}, expected module.Class")

    def source_of(self, value: Name | ClassByValue, role: str, *, where: str, expected: str) -> str:
        """Where the class for this role comes from: ``module.Class`` or ``FILE.py:Class``.

        :param role: the policy argument, such as ``features_extractor_class``
        :param expected: what would not need any permission
        :raises UntrustedError: the user has not let it in
        """
        flag = _COPIES.get(role)
        if flag in self.copies:
            return _source(self.copies[flag])
        name = value.name if isinstance(value, ClassByValue) else str(value)
        if isinstance(value, Name) and name in self.trust:
            return name
        other = self.features_extractor or self.policy
        if role == ARGUMENT and isinstance(value, ClassByValue) and other and name.isidentifier():
            return _beside(other, name)
        field = role if role == "policy_class" else f"policy_kwargs.{role}"
        if isinstance(value, Name):
            found, hint = f"the custom class {shown(name)}", f"--trust {name} imports it"
        elif name.isidentifier():
            found = f"the class {shown(name)}, whose code lies in the zip"
            hint = f"--{flag} FILE.py:{name} takes your own copy" if flag else "save it by reference"
            hint = "--features_extractor FILE.py:Class takes both from one file" if role == ARGUMENT else hint
        else:
            found = f"{shown(name, quoted=False)} in the place of a class"
            hint = (
                f"--{flag} FILE.py:Class takes a class of yours that does the same" if flag else "save it by reference"
            )
        raise UntrustedError(where, field, found=found, expected=expected, hint=hint)

    def classes_inside(self, arguments: object, where: str) -> set[str]:
        """The custom classes among a policy's arguments, such as ``features_extractor_kwargs``.

        :raises UntrustedError: one that the user has not let in
        """
        if isinstance(arguments, Mapping):
            return set().union(*(self.classes_inside(value, where) for value in arguments.values()))
        if isinstance(arguments, list | tuple):
            return set().union(*(self.classes_inside(value, where) for value in arguments))
        if isinstance(arguments, Name | ClassByValue) and not is_torch_module(arguments):
            return {self.source_of(arguments, ARGUMENT, where=where, expected="plain values and torch.nn's classes")}
        return set()

    def refuse_unused(self, used: Sequence[str], *, where: str) -> None:
        """Raise for a class that was let in and that the agent has no use for."""
        for flag, given in (
            *(("--trust", name) for name in self.trust),
            *((f"--{flag}", copy) for flag, copy in self.copies.items()),
        ):
            if _source(given) not in used:
                found = f"no use for {flag} {shown(_source(given), limit=120, quoted=False)}"
                raise InputError(where, found=found, expected="a custom class that this agent has")

    @property
    def names(self) -> tuple[str, ...]:
        """Every class that is let in, by where it comes from."""
        return (*self.trust, *map(_source, self.copies.values()))

    @property
    def described(self) -> dict[str, Any]:
        """For the metadata: the names, and the SHA-256 of files; empty where nothing custom is in play."""
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
        :param base: what it must be a subclass of; for ``object`` also a function of torch
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
            raise UsageError(f"{source}: found no {shown(name)} there, expected a class")
        return _checked(getattr(found, name), source, base)

    def _file(self, path: Path) -> UserFile:
        """A file is read once, so that the hash that is recorded is that of the code that runs."""
        if path not in self._files:
            self._files[path] = UserFile.read(path, hint="FILE.py:Class names your own copy of the class")
        return self._files[path]


def _beside(given: str | type, name: str) -> str:
    """A class that was pickled together with another stands where the user's own copy of that one does."""
    if isinstance(given, str):
        return f"{file_and_name(given)[0]}:{name}"
    return f"{given.__module__}.{name}"


def is_torch_module(value: object) -> TypeGuard[Name]:
    """Whether a pickled name is one of torch.nn's."""
    return isinstance(value, Name) and (value.module == "torch.nn" or value.module.startswith("torch.nn.modules."))


def is_custom(source: str) -> bool:
    """Whether a class is the user's own; SB3's and torch's are known by their bare names."""
    return "." in source


def _checked(loaded: Any, source: str, base: type) -> Any:
    if base is object and source.startswith("torch.") and callable(loaded):
        return loaded  # a function of torch, such as functional.elu, among the arguments of a class
    if not (isinstance(loaded, type) and issubclass(loaded, base)):
        kind = f"a class that is no {base.__name__}" if isinstance(loaded, type) else f"a {type(loaded).__name__}"
        raise UsageError(f"{source}: found {kind}, expected a subclass of {base.__name__}")
    return loaded


def _source(given: str | type) -> str:
    return given if isinstance(given, str) else f"{given.__module__}.{given.__qualname__}"
