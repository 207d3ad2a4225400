"""Members of a zip file: read by name, with limits and checks, never extracted."""

from __future__ import annotations

import io
import struct
import zipfile
import zlib
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from copy import copy
from typing import IO, BinaryIO

from Neuron_Selection.errors import InputError, shown
from Neuron_Selection.file_sizes import document_limit, members_limit, unpacked_limit

_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
DAMAGE = (zipfile.BadZipFile, zlib.error, struct.error, EOFError, ValueError, OverflowError, OSError, RuntimeError)
_AGAIN = "download it again"
_ENTRY = b"PK\x01\x02"  # starts each entry of the directory at the end of a zip


class Unpacked:
    """How many bytes have been unpacked from a file, including those of zips nested in it.

    :param file_size: of the file on disk, in bytes
    """

    def __init__(self, file_size: int) -> None:
        self.file_size = file_size
        self.total = 0

    def add(self, size: int, *, where: object, member: str) -> None:
        """Count a member before it is unpacked.

        :raises InputError: the total exceeds the limit for a file of this size
        """
        limit = unpacked_limit(self.file_size)
        self.total += size
        if self.total > limit:
            found = f"{size:,} bytes to unpack" + (f", {self.total:,} in all" if self.total > size else "")
            expected = f"at most {limit:,} in a file of {self.file_size:,}"
            raise InputError(where, shown(member), found=found, expected=expected, hint="--max_size raises the limit")


class ZipMembers:
    """The members of a zip.

    :param data: the bytes of the zip, or a file that is open for reading
    :param where: its name, for messages
    :param unpacked: the count of the file that contains this zip
    :param expected: what the zip should be, for messages
    :param hint: what to do about a missing member or a damaged file
    :raises InputError: not a zip, truncated, a name given twice, or more members than a file of this size may have
    """

    def __init__(
        self,
        data: bytes | BinaryIO,
        *,
        where: object,
        unpacked: Unpacked | None = None,
        expected: str = "a zip file",
        hint: str = "",
    ) -> None:
        self.where = where
        self._hint = hint
        entries, size = (data.count(_ENTRY), len(data)) if isinstance(data, bytes) else _entries_and_size(data)
        self.unpacked = unpacked or Unpacked(size)
        limit = members_limit(size)
        if entries > limit:
            at_most = f"at most {limit:,} in a file of {size:,} bytes"
            raise InputError(where, found=f"{entries:,} members", expected=at_most, hint="--max_size raises the limit")
        try:
            self._zip = zipfile.ZipFile(io.BytesIO(data) if isinstance(data, bytes) else data)
            self.names = self._zip.namelist()
            self._known = set(self.names)
        except DAMAGE as error:
            raise InputError(where, found=what_it_is(_head_of(data)), expected=expected, hint=hint or _AGAIN) from error
        if len(self._known) < len(self.names):
            twice = next(name for name, count in Counter(self.names).items() if count > 1)
            raise InputError(where, shown(twice), "is stored twice in the zip")

    def __contains__(self, name: str) -> bool:
        return name in self._known

    def renamed(self, where: object) -> ZipMembers:
        """The same members with another name for messages."""
        renamed = copy(self)
        renamed.where = where
        return renamed

    def read_document(self, name: str) -> bytes:
        """The bytes of a member that will be parsed as JSON.

        :raises InputError: as ``read``, or larger than the limit for a file of this size
        """
        return self.read(name, limit=document_limit(self.unpacked.file_size))

    def read(self, name: str, *, limit: int | None = None) -> bytes:
        """The bytes of one member, its checksum verified.

        :param limit: bytes; a larger member is refused before it is unpacked
        :raises InputError: missing, encrypted, too large, damaged
        """
        info = self._info(name)
        if info.compress_type not in _METHODS:
            raise InputError(self.where, shown(name), found="another compression", expected="deflate or none")
        if limit is not None and info.file_size > limit:
            found, expected = f"{info.file_size:,} bytes", f"at most {limit:,} in a file of {self.unpacked.file_size:,}"
            raise InputError(
                self.where, shown(name), found=found, expected=expected, hint="--max_size raises the limit"
            )
        self.unpacked.add(info.file_size, where=self.where, member=name)
        with self._damage_named(name), self._zip.open(info) as member:
            data = member.read(info.file_size + 1)
        if len(data) != info.file_size:
            raise InputError(self.where, shown(name), found=f"{len(data):,} bytes", expected=f"{info.file_size:,}")
        return data

    @contextmanager
    def opened(self, name: str) -> Iterator[IO[bytes]]:
        """An uncompressed member, open for reading piece by piece; its checksum is verified at its end.

        :raises InputError: missing, encrypted, compressed, or, inside the block as well, damaged
        """
        info = self._info(name)
        if info.compress_type != zipfile.ZIP_STORED:
            raise InputError(self.where, shown(name), found="a compressed member", expected="an uncompressed one")
        with self._damage_named(name), self._zip.open(info) as member:
            yield member

    def _info(self, name: str) -> zipfile.ZipInfo:
        try:
            info = self._zip.getinfo(name)
        except KeyError as error:
            raise InputError(self.where, shown(name), "no such member", hint=self._hint) from error
        if info.flag_bits & 1:
            raise InputError(self.where, shown(name), found="an encrypted member", expected="an unencrypted one")
        return info

    @contextmanager
    def _damage_named(self, name: str) -> Iterator[None]:
        try:
            yield
        except DAMAGE as error:
            raise InputError(
                self.where, shown(name), f"the member is damaged ({error})", hint=self._hint or _AGAIN
            ) from error


def _entries_and_size(file: BinaryIO) -> tuple[int, int]:
    """The number of directory entries in a zip that is not held in memory, and its size in bytes."""
    count, end = 0, b""
    file.seek(0)
    while piece := file.read(1 << 20):
        count += (end + piece).count(_ENTRY)
        end = piece[1 - len(_ENTRY) :]
    return count, file.tell()


def _head_of(data: bytes | BinaryIO) -> bytes:
    if isinstance(data, bytes):
        return data[:512]
    data.seek(0)
    return data.read(512)


def what_it_is(data: bytes) -> str:
    """A description of what a file that should be a zip seems to be."""
    head = data[:512].lstrip().lower()
    if not data:
        return "an empty file"
    if head.startswith(b"version ") and b"git-lfs" in head:
        return "a git-lfs pointer instead of the file"
    if head.startswith((b"<!doctype", b"<html", b"<?xml")):
        return "a web page"
    if data.startswith(b"PK"):
        return "a truncated or damaged zip"
    if data.startswith((b"{", b"[")):
        return "JSON"
    if data.startswith(b"\x80") and data[1:2] in (b"\x02", b"\x03", b"\x04", b"\x05"):
        return "a bare pickle"
    return "something other than a zip"
