"""Run scripts in this process, with the results that a shell would see: words in; exit code, stdout and stderr out.

The time of starting Python is saved. Signals, limits, closed streams and audit hooks need a process of their own.
"""

from __future__ import annotations

import importlib
import io
import os
import re
import shlex
import subprocess
import sys
import traceback
import warnings
from collections.abc import Collection, Iterator, Sequence
from contextlib import ExitStack, contextmanager, redirect_stderr, redirect_stdout
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

from tests.conftest import ROOT

Completed = subprocess.CompletedProcess[str]
OURS = (
    "Neuron_Selection",
    "SaliencyTooling",
    "Parameter_Selection",
    "ReportTooling",
    "activation_extraction",
    "activation_patching",
)


def in_process(words: Sequence[str], *, cwd: Path | None = None, forbid: Collection[str] = ()) -> Completed:
    """Run a script of this project.

    :param words: its path, then what its user types
    :param forbid: libraries whose import is a bug
    """
    module = ".".join(Path(words[0]).resolve().relative_to(ROOT).with_suffix("").parts)
    out, err = _stream("strict"), _stream("backslashreplace")
    with ExitStack() as surroundings:
        surroundings.enter_context(_as_in_a_process(words, cwd))
        surroundings.enter_context(redirect_stdout(out))
        surroundings.enter_context(redirect_stderr(err))
        if forbid:
            surroundings.enter_context(_without(tuple(forbid)))
        try:
            code = importlib.import_module(module).main(list(words[1:]))
        except SystemExit as end:  # --help
            code = end.code
        except BaseException:  # noqa: BLE001 - as Python itself ends
            traceback.print_exc()
            code = 1
    return Completed(list(words), code, _text(out), _text(err))


def typed(command: str, folder: Path, *, process: bool = False) -> Completed:
    """A line as its reader types it in ``folder``, which may be a copy of this project.

    :param process: a shell reads it, and ``python`` starts; else scripts of this project run in this process
    """
    words = shlex.split(command)
    if not process and words[:1] == ["python"] and (folder / words[1]).exists():
        inside = (folder / words[1]).resolve()
        if not inside.is_relative_to(ROOT):
            inside = ROOT / words[1]
        if inside.exists():
            return in_process([str(inside), *words[2:]], cwd=folder)
    line = re.sub(r"^python ", f"{shlex.quote(sys.executable)} ", command)
    return subprocess.run(line, shell=True, cwd=folder, capture_output=True, text=True, check=False)


def _stream(errors: str) -> io.TextIOWrapper:
    return io.TextIOWrapper(io.BytesIO(), encoding="utf-8", errors=errors, write_through=True)


def _text(stream: io.TextIOWrapper) -> str:
    stream.flush()
    content = stream.detach()
    assert isinstance(content, io.BytesIO)
    return content.getvalue().decode("utf-8", "surrogateescape")


@contextmanager
def _as_in_a_process(words: Sequence[str], cwd: Path | None) -> Iterator[None]:
    """Arguments, folder, environment, stdin, warnings and memory of its own; afterwards all is as it was."""
    for memory in [
        value for module in _our_modules() for value in vars(module).values() if hasattr(value, "cache_clear")
    ]:
        memory.cache_clear()
    before = sys.argv, Path.cwd(), dict(os.environ), sys.stdin, list(sys.path)
    try:
        with Path(os.devnull).open() as sys.stdin, warnings.catch_warnings():
            sys.argv = list(words)
            os.chdir(cwd or before[1])
            yield
    finally:
        sys.argv, sys.stdin, sys.path[:] = before[0], before[3], before[4]
        os.chdir(before[1])
        os.environ.clear()
        os.environ.update(before[2])


def _our_modules() -> list[ModuleType]:
    return [module for name, module in sys.modules.items() if name.partition(".")[0] in OURS]


class _Forbidden:
    """Put before all finders: an import of these is a bug."""

    def __init__(self, libraries: Collection[str]) -> None:
        self._libraries = libraries

    def find_spec(self, name: str, _path: Any = None, _target: Any = None) -> None:
        if name.partition(".")[0] in self._libraries:
            raise ImportError(f"{name}: imported where it is not needed")


@contextmanager
def _without(libraries: tuple[str, ...]) -> Iterator[None]:
    """Hide libraries, and our modules that import them, as if none had been imported yet; an import is an error."""
    ours = _importing(libraries)
    with _hidden({name for name in sys.modules if name in ours or name.partition(".")[0] in libraries}, libraries):
        places = [(sys.modules.get(name.rpartition(".")[0]), name.rpartition(".")[2]) for name in ours]
        kept = [(package, name, vars(package).pop(name)) for package, name in places if name in vars(package or object)]
        try:
            yield
        finally:
            for package, name, module in kept:
                setattr(package, name, module)


@contextmanager
def _hidden(names: set[str], libraries: Collection[str]) -> Iterator[None]:
    hidden = {name: sys.modules.pop(name) for name in names}
    finder: Any = _Forbidden(libraries)
    sys.meta_path.insert(0, finder)
    try:
        yield
    finally:
        sys.meta_path.remove(finder)
        sys.modules.update(hidden)


@cache
def _importing(libraries: tuple[str, ...]) -> frozenset[str]:
    """Our modules that cannot be imported without these libraries, found by trying."""
    files = [path for top in OURS for path in (*ROOT.glob(f"{top}.py"), *ROOT.glob(f"{top}/**/*.py"))]
    names = [".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__") for path in files]
    with _hidden({name for name in sys.modules if name.partition(".")[0] in (*OURS, *libraries)}, libraries):
        found = {name for name in names if not _importable(name)}
        for module in _our_modules():
            del sys.modules[module.__name__]
    return frozenset(found)


def _importable(name: str) -> bool:
    try:
        importlib.import_module(name)
    except ImportError:
        return False
    return True
