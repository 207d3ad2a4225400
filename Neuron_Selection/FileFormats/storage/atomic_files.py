"""The door to the disk: whole files in, whole files out, nothing half-written."""

from __future__ import annotations

import errno
import hashlib
import os
import platform
import re
import stat
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import BinaryIO

from Neuron_Selection.errors import InputError, MachineError, UsageError, shown

GIB = 1 << 30


def read_bytes(path: Path, *, limit: int = 2 * GIB, hint: str = "") -> bytes:
    """All bytes of a regular file.

    :param limit: bytes; a larger file is refused before it is read
    :param hint: what the user might do where there is no such file
    :raises InputError: no such file, not a regular file, or too large
    """
    with opened_to_read(path, hint=hint) as file:
        size = os.fstat(file.fileno()).st_size
        if size > limit:
            raise InputError(path, found=f"{size:,} bytes", expected=f"at most {limit:,}")
        try:
            data = file.read(size + 1)  # read() takes memory for all that it is asked for
        except MemoryError as error:
            raise MachineError(f"{path}: found {size:,} bytes, expected as much free memory") from error
    if len(data) > size:
        raise InputError(path, found="a file that grows while it is read", expected="a finished one")
    return data


def is_there(path: Path) -> bool:
    """Whether there is such a file or folder; False also for a text that is too long to be the name of one.

    :raises OSError: the machine will not say
    """
    try:
        return path.exists()
    except OSError as error:
        if error.errno == errno.ENAMETOOLONG:
            return False
        raise


@contextmanager
def opened_to_read(path: Path, *, hint: str = "") -> Iterator[BinaryIO]:
    """A regular file, open for reading: for what is too large to be read at once.

    :raises InputError: no such file, or not a regular one
    """
    try:
        file = open(path, "rb", opener=_open_without_waiting)  # noqa: SIM115 - the with block follows
    except (FileNotFoundError, NotADirectoryError) as error:
        raise InputError(path, found="no such file", hint=hint) from error
    except IsADirectoryError as error:
        raise InputError(path, found="a directory", expected="a file") from error
    except (OSError, ValueError) as error:
        if isinstance(error, ValueError) or error.errno in {errno.ELOOP, errno.ENAMETOOLONG, errno.ENXIO}:
            raise InputError(path, found="a path that leads to no file", expected="a file") from error
        raise
    with file:
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            raise InputError(path, found="a pipe, socket or device", expected="a file")
        yield file


def sha256_of_file(path: Path, *, hint: str = "") -> str:
    """Hexadecimal SHA-256 of a file of any size, a piece at a time.

    :raises InputError: no such file, or not a regular one
    """
    digest = hashlib.sha256()
    with opened_to_read(path, hint=hint) as file:
        while piece := file.read(1 << 20):
            digest.update(piece)
    return digest.hexdigest()


def _open_without_waiting(path: str, flags: int) -> int:
    """Open at once, where a named pipe would wait for a writer for ever."""
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))


@contextmanager
def written_atomically(path: Path) -> Iterator[BinaryIO]:
    """A file to write to, which takes the place of ``path`` when the block ends well and vanishes when not.

    :raises UsageError: ``path`` is a link
    """
    target = _target(path)
    with _temporary(target) as temporary, _told_of(target, temporary):
        with temporary.open("xb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(target)
    _sync_folder(target.parent)


def write_atomically(path: Path, data: bytes) -> None:
    """Replace ``path`` by a file that holds ``data``, or leave everything as it was."""
    write_together({path: data})


def write_together(contents: Mapping[Path, bytes]) -> None:
    """Replace files that belong together; all are whole on the disk before the first takes its place.

    They take their places from the last to the first. With the metadata named last, whoever is interrupted in between
    finds no file, or the old one, and not one that seems to be somebody else's.
    """
    targets = [_target(path) for path in contents]
    with ExitStack() as undo:
        temporaries = [undo.enter_context(_temporary(target)) for target in targets]
        for target, temporary, data in zip(targets, temporaries, contents.values(), strict=True):
            with _told_of(target, temporary), temporary.open("xb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
        for temporary, target in reversed([*zip(temporaries, targets, strict=True)]):
            with _told_of(target, temporary):
                temporary.replace(target)
    for folder in dict.fromkeys(target.parent for target in targets):
        _sync_folder(folder)


def refuse_link(path: Path) -> None:
    """Raise for a link where output is to be written.

    An agent's folder may be a stranger's: a link in it would have files made or replaced elsewhere.

    :raises UsageError: naming where the link points
    """
    if path.is_symlink():
        points = shown(os.readlink(path), limit=120, quoted=False)  # noqa: PTH115 - a Path would normalise it
        raise UsageError(f"{path}: is a link to {points}; outputs are not written through links")


def _target(path: Path) -> Path:
    """The file that a path names, in a folder that is there."""
    refuse_link(path)
    target = Path(os.path.realpath(path.parent)) / path.name
    if target.parent.exists() and not target.parent.is_dir():
        raise MachineError(f"{target.parent}: found a file, expected a folder to write {target.name} into")
    if target.exists() and not target.is_file():
        raise MachineError(f"{path}: found a directory, pipe or device, expected a file to write")
    target.parent.mkdir(parents=True, exist_ok=True)
    return target


@contextmanager
def _temporary(target: Path) -> Iterator[Path]:
    """A name beside ``target`` for a file that is gone at the end, unless it was given the target's name.

    What a process that was killed left under such a name is removed first.
    """
    _remove_what_the_dead_left(target.parent)
    temporary = target.with_name(f".{_HOST}-{os.getpid()}-{os.urandom(4).hex()}.tmp")
    try:
        yield temporary
    finally:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)


_HOST = re.sub(r"[^0-9A-Za-z]", "_", platform.node())[:64]  # several machines may share a folder
_TEMPORARY = re.compile(rf"\.{_HOST}-(\d+)-[0-9a-f]{{8}}\.tmp")


@cache  # once a process: a run may write ten thousand files into one folder
def _remove_what_the_dead_left(folder: Path) -> None:
    """Remove temporary files of processes of this machine that have ended.

    Where another process has been given the number of a dead one since, its files stay for now.
    """
    for entry in os.scandir(folder):
        name = _TEMPORARY.fullmatch(entry.name)
        if name and not _is_alive(int(name[1])):
            with suppress(OSError):
                Path(entry.path).unlink()


def _is_alive(process: int) -> bool:
    if os.name == "nt":
        return True  # no signal asks there: 0 would end the process
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except (OSError, OverflowError):
        return True
    return True


@contextmanager
def _told_of(target: Path, temporary: Path) -> Iterator[None]:
    """Errors of the disk name the file that the user knows of."""
    try:
        yield
    except OSError as error:
        if str(error.filename) in ("None", str(temporary)):  # writing names no file at all
            error.filename, error.filename2 = str(target), None
        raise


def sha256_of(data: bytes) -> str:
    """Hexadecimal SHA-256 of ``data``."""
    return hashlib.sha256(data).hexdigest()


def _sync_folder(folder: Path) -> None:
    """Make the new names last; the files are in their places already, and not every file system can promise more."""
    if hasattr(os, "O_DIRECTORY"):
        with suppress(OSError):
            descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
