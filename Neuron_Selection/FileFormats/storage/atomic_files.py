"""Read whole files, and write files atomically: a file is either complete or unchanged."""

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
    :param hint: what to do if there is no such file
    :raises InputError: no such file, not a regular file, or too large
    """
    with opened_to_read(path, hint=hint) as file:
        size = os.fstat(file.fileno()).st_size
        if size > limit:
            raise InputError(path, found=f"{size:,} bytes", expected=f"at most {limit:,}")
        try:
            data = file.read(size + 1)  # read() allocates as much as requested
        except MemoryError as error:
            raise MachineError(f"out of memory reading {size:,} bytes", file=path) from error
    if len(data) > size:
        raise InputError(path, problem="grows while it is read")
    return data


def is_there(path: Path) -> bool:
    """Whether there is such a file or folder; a name that is too long for a file does not exist.

    :raises OSError: the operating system cannot tell, for example without permission
    """
    try:
        return path.exists()
    except OSError as error:
        if error.errno == errno.ENAMETOOLONG:
            return False
        raise


@contextmanager
def opened_to_read(path: Path, *, hint: str = "") -> Iterator[BinaryIO]:
    """A regular file, open for reading; for files too large to be read at once.

    :raises InputError: no such file, or not a regular file
    """
    try:
        file = open(path, "rb", opener=_open_without_waiting)  # noqa: SIM115 - the with block follows
    except (FileNotFoundError, NotADirectoryError) as error:
        raise InputError(path, problem="no such file", hint=hint) from error
    except IsADirectoryError as error:
        raise InputError(path, found="a directory", expected="a file") from error
    except (OSError, ValueError) as error:
        if isinstance(error, ValueError) or error.errno in {errno.ELOOP, errno.ENAMETOOLONG, errno.ENXIO}:
            raise InputError(path, problem="cannot be opened as a file") from error
        raise
    with file:
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            raise InputError(path, found="a pipe, socket or device", expected="a file")
        yield file


def sha256_of_file(path: Path, *, hint: str = "") -> str:
    """Hexadecimal SHA-256 of a file of any size, read piece by piece.

    :raises InputError: no such file, or not a regular file
    """
    digest = hashlib.sha256()
    with opened_to_read(path, hint=hint) as file:
        while piece := file.read(1 << 20):
            digest.update(piece)
    return digest.hexdigest()


def _open_without_waiting(path: str, flags: int) -> int:
    """Open without blocking; opening a named pipe would otherwise wait for a writer."""
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))


@contextmanager
def written_atomically(path: Path) -> Iterator[BinaryIO]:
    """A file to write to; it replaces ``path`` when the block ends, and is removed if the block raises.

    :raises UsageError: ``path`` is a link
    """
    target = _target(path)
    with _temporary(target) as temporary, _target_named(target, temporary):
        with temporary.open("xb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(target)
    _sync_folder(target.parent)


def write_atomically(path: Path, data: bytes) -> None:
    """Replace ``path`` by a file that holds ``data``, or leave it unchanged on any error."""
    write_together({path: data})


def write_together(contents: Mapping[Path, bytes]) -> None:
    """Replace files that belong together; all are completely written before the first is renamed into place.

    They are renamed from the last to the first. With the metadata named last, an interruption in between leaves no
    data file without its metadata.
    """
    targets = [_target(path) for path in contents]
    with ExitStack() as undo:
        temporaries = [undo.enter_context(_temporary(target)) for target in targets]
        for target, temporary, data in zip(targets, temporaries, contents.values(), strict=True):
            with _target_named(target, temporary), temporary.open("xb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
        for temporary, target in reversed([*zip(temporaries, targets, strict=True)]):
            with _target_named(target, temporary):
                temporary.replace(target)
    for folder in dict.fromkeys(target.parent for target in targets):
        _sync_folder(folder)


def refuse_link(path: Path) -> None:
    """Check that an output path is not a link.

    An agent's folder may be untrusted; a link in it would create or replace files elsewhere.

    :raises UsageError: naming the target of the link
    """
    if path.is_symlink():
        points = shown(os.readlink(path), limit=120, quoted=False)  # noqa: PTH115 - a Path would normalise it
        raise UsageError(f"is a link to {points}; outputs are not written through links", file=path)


def _target(path: Path) -> Path:
    """The file that a path names; its folder is created if needed."""
    refuse_link(path)
    target = Path(os.path.realpath(path.parent)) / path.name
    if target.parent.exists() and not target.parent.is_dir():
        raise MachineError(f"is not a folder; {target.name} cannot be written into it", file=target.parent)
    if target.exists() and not target.is_file():
        raise MachineError("is a directory, pipe or device; cannot be written as a file", file=path)
    target.parent.mkdir(parents=True, exist_ok=True)
    return target


@contextmanager
def _temporary(target: Path) -> Iterator[Path]:
    """A temporary name in the folder of ``target``; the file is removed at the end unless it was renamed.

    Temporary files of processes that were killed are removed first.
    """
    _remove_stale_files(target.parent)
    temporary = target.with_name(f".{_HOST}-{os.getpid()}-{os.urandom(4).hex()}.tmp")
    try:
        yield temporary
    finally:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)


_HOST = re.sub(r"[^0-9A-Za-z]", "_", platform.node())[:64]  # machines may share a folder
_TEMPORARY = re.compile(rf"\.{_HOST}-(\d+)-[0-9a-f]{{8}}\.tmp")


@cache  # once a process: a run may write ten thousand files into one folder
def _remove_stale_files(folder: Path) -> None:
    """Remove temporary files of processes of this machine that have ended.

    If the process id has been reused since, the files are kept for now.
    """
    for entry in os.scandir(folder):
        name = _TEMPORARY.fullmatch(entry.name)
        if name and not _is_alive(int(name[1])):
            with suppress(OSError):
                Path(entry.path).unlink()


def _is_alive(process: int) -> bool:
    if os.name == "nt":
        return True  # on Windows, signal 0 would end the process
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except (OSError, OverflowError):
        return True
    return True


@contextmanager
def _target_named(target: Path, temporary: Path) -> Iterator[None]:
    """Make errors of the operating system name the target instead of the temporary file."""
    try:
        yield
    except OSError as error:
        if str(error.filename) in ("None", str(temporary)):  # errors of write() name no file
            error.filename, error.filename2 = str(target), None
        raise


def sha256_of(data: bytes) -> str:
    """Hexadecimal SHA-256 of ``data``."""
    return hashlib.sha256(data).hexdigest()


def _sync_folder(folder: Path) -> None:
    """Flush the renames to disk, on file systems that support it."""
    if hasattr(os, "O_DIRECTORY"):
        with suppress(OSError):
            descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
