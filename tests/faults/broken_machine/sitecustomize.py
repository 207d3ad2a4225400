"""A machine that breaks on demand: Python itself imports this at start-up where PYTHONPATH names this folder.

The environment variable BROKEN_MACHINE holds JSON; ``install`` takes the same in a process that runs already:

- ``forbid``: modules whose import is a bug (ImportError); ``absent``: modules that are not installed
- ``call``: ``write`` (to a file that is being made), ``fsync``, ``replace``, ``make`` (opening a new file) or
  ``read`` (opening a file whose name ends in ``name``); ``number``: at which of these calls, from 1
- what then happens: ``errno`` is raised, ``signal`` is sent to this process, the folder ``remove`` goes, or the second
  path of ``swap`` is replaced by the first
- ``clock``: the time it seems to be, in seconds since 1970
"""

from __future__ import annotations

import io
import json
import os
import pathlib
import sys
import time

ORDERS = {}
_io_open, _os_fsync, _replace, _time, _localtime = io.open, os.fsync, os.replace, time.time, time.localtime
_calls = 0


def reached(call: str) -> None:
    """Count a call; break at the one that was ordered."""
    global _calls  # noqa: PLW0603 - one process, one counter
    if call != ORDERS.get("call"):
        return
    _calls += 1
    if _calls != ORDERS["number"]:
        return
    if "errno" in ORDERS:
        raise OSError(ORDERS["errno"], os.strerror(ORDERS["errno"]))
    if "signal" in ORDERS:
        os.kill(os.getpid(), ORDERS["signal"])
    if "remove" in ORDERS:
        import shutil

        shutil.rmtree(ORDERS["remove"])
    if "swap" in ORDERS:
        _replace(*ORDERS["swap"])


class _Finder:
    def find_spec(self, name, path=None, target=None):
        top = name.partition(".")[0]
        if top in ORDERS.get("forbid", ()):
            raise ImportError(f"{name}: imported where it is not needed")
        if top in ORDERS.get("absent", ()):
            raise ModuleNotFoundError(f"No module named {top!r}", name=top)


class _File(io.FileIO):
    def write(self, data):
        reached("write")
        return super().write(data)


def _open(file, mode="r", *arguments, **more):
    if "x" not in mode:
        return _io_open(file, mode, *arguments, **more)
    reached("make")
    return io.BufferedWriter(_File(os.fspath(file), mode.replace("b", "")))


def _fsync(descriptor):
    reached("fsync")
    return _os_fsync(descriptor)


def _os_replace(source, target):
    reached("replace")
    return _replace(source, target)


def _watch(event, arguments):
    if event == "open" and str(arguments[0]).endswith(ORDERS["name"]):
        reached("read")


def _put(opens, fsyncs, replaces):
    io.open, os.fsync, os.replace = opens, fsyncs, replaces
    if hasattr(pathlib, "_NormalAccessor"):  # Python 3.10 keeps its own references
        pathlib._NormalAccessor.open, pathlib._NormalAccessor.replace = map(staticmethod, (opens, replaces))


def install(orders):
    """Let the machine break; a process can be broken once by ``read``, ``forbid`` and ``absent``, which stay."""
    global _calls, ORDERS
    _calls, ORDERS = 0, orders
    if orders.get("forbid") or orders.get("absent"):
        sys.meta_path.insert(0, _Finder())
    if "call" in orders:
        _put(_open, _fsync, _os_replace)
        if orders["call"] == "read":
            sys.addaudithook(_watch)
    if "clock" in orders:
        time.time = lambda: float(orders["clock"])
        time.localtime = lambda seconds=None: _localtime(orders["clock"] if seconds is None else seconds)


def restore():
    """Take back what can be taken back."""
    global ORDERS  # noqa: PLW0603 - one process, one machine
    ORDERS = {}
    _put(_io_open, _os_fsync, _replace)
    time.time, time.localtime = _time, _localtime


if "BROKEN_MACHINE" in os.environ:
    install(json.loads(os.environ["BROKEN_MACHINE"]))
