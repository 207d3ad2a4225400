"""Members of a zip file held in memory: read by name, bounded, checked, never extracted."""

from __future__ import annotations

import io
import struct
import zipfile
import zlib
from collections import Counter
from copy import copy
from typing import BinaryIO

from Neuron_Selection.errors import InputError, shown
from Neuron_Selection.file_sizes import document_limit, members_limit, unpacked_limit

_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
DAMAGE = (zipfile.BadZipFile, zlib.error, struct.error, EOFError, ValueError, OverflowError, OSError, RuntimeError)


_ENTRY = b"PK\x01\x02"  # starts each entry of the directory at the end of a zip


class Unpacked:
    """How many bytes have been unpacked of a file, with those of the zips inside of it.

    :param file_size: of the file on disk, in bytes
    """

    def __init__(self, file_size: int) -> None:
        self.file_size = file_size
        self.total = 0

    def add(self, size: int, *, where: object, member: str) -> None:
        """Count a member before it is unpacked.

        :raises InputError: with it, more has been unpacked than a file of this size may hold
        """
        limit = unpacked_limit(self.file_size)
        self.total += size
        if self.total > limit:
            found = f"{size:,} bytes to unpack" + (f", {self.total:,} in all" if self.total > size else "")
            expected = f"at most {limit:,} in a file of {self.file_size:,}"
            raise InputError(where, shown(member), found=found, expected=expected, hint="--max_size allows more")


class ZipMembers:
    """The members of a zip.

    :param data: the bytes of the zip
    :param where: its name, for messages
    :param unpacked: of the file that this zip is inside of
    :raises InputError: no zip, truncated, one name twice, or more members than a file of this size may have
    """

    def __init__(self, data: bytes, *, where: object, unpacked: Unpacked | None = None) -> None:
        self.where = where
        self.unpacked = unpacked or Unpacked(len(data))
        check_members(data.count(_ENTRY), file_size=len(data), where=where)
        try:
            self._zip = zipfile.ZipFile(io.BytesIO(data))
            self.names = self._zip.namelist()
            self._known = set(self.names)
        except DAMAGE as error:
            raise InputError(where, found=what_it_is(data), expected="a zip file", hint="download it again") from error
        if len(self._known) < len(self.names):
            twice = next(name for name, count in Counter(self.names).items() if count > 1)
            raise InputError(where, shown(twice), found="this member twice in one zip", expected="once")

    def __contains__(self, name: str) -> bool:
        return name in self._known

    def renamed(self, where: object) -> ZipMembers:
        """The same members under another name in messages."""
        renamed = copy(self)
        renamed.where = where
        return renamed

    def read_document(self, name: str) -> bytes:
        """The bytes of a member that will be parsed as JSON.

        :raises InputError: as ``read``; or more than a file of this size may hold
        """
        return self.read(name, limit=document_limit(self.unpacked.file_size))

    def read(self, name: str, *, limit: int | None = None) -> bytes:
        """The bytes of one member, its checksum verified.

        :param limit: bytes; a larger member is refused before it is unpacked
        :raises InputError: missing, encrypted, too large, damaged
        """
        try:
            info = self._zip.getinfo(name)
        except KeyError as error:
            raise InputError(self.where, shown(name), found="no such member", expected="one") from error
        if info.flag_bits & 1:
            raise InputError(self.where, shown(name), found="an encrypted member", expected="plain members")
        if info.compress_type not in _METHODS:
            raise InputError(self.where, shown(name), found="an unusual compression", expected="deflate, or none")
        if limit is not None and info.file_size > limit:
            found, expected = f"{info.file_size:,} bytes", f"at most {limit:,} in a file of {self.unpacked.file_size:,}"
            raise InputError(self.where, shown(name), found=found, expected=expected, hint="--max_size allows more")
        self.unpacked.add(info.file_size, where=self.where, member=name)
        try:
            with self._zip.open(info) as member:
                data = member.read(info.file_size + 1)
        except DAMAGE as e:
            raise InputError(
                self.where,
                shown(name),
                found=f"a damaged member ({e})",
                expected="its bytes",
                hint="download it again",
            ) from e
        if len(data) != info.file_size:
            raise InputError(self.where, shown(name), found=f"{len(data):,} bytes", expected=f"{info.file_size:,}")
        return data


def check_members(count: int, *, file_size: int, where: object) -> None:
    """Raise where a zip has more members than a file of its size may have, before they are listed."""
    limit = members_limit(file_size)
    if count > limit:
        expected = f"at most {limit:,} in a file of {file_size:,} bytes"
        raise InputError(where, found=f"{count:,} members", expected=expected, hint="--max_size allows more")


def check_members_of(file: BinaryIO, where: object) -> None:
    """``check_members`` for a zip that is not held in memory; the file is at its start afterwards."""
    count, end = 0, b""
    file.seek(0)
    while piece := file.read(1 << 20):
        count += (end + piece).count(_ENTRY)
        end = piece[1 - len(_ENTRY) :]
    check_members(count, file_size=file.tell(), where=where)
    file.seek(0)


def what_it_is(data: bytes) -> str:
    """In words, what a file that should be a zip seems to be."""
    head = data[:512].lstrip().lower()
    if not data:
        return "an empty file"
    if head.startswith(b"version ") and b"git-lfs" in head:
        return "a git-lfs pointer, not the file it stands for"
    if head.startswith((b"<!doctype", b"<html", b"<?xml")):
        return "a web page"
    if data.startswith(b"PK"):
        return "a truncated or damaged zip"
    if data.startswith((b"{", b"[")):
        return "JSON"
    if data.startswith(b"\x80") and data[1:2] in (b"\x02", b"\x03", b"\x04", b"\x05"):
        return "a bare pickle"
    return "no zip"
