"""Members of a zip file held in memory: read by name, bounded, checked, never extracted."""

from __future__ import annotations

import io
import struct
import zipfile
import zlib
from collections import Counter

from Neuron_Selection.errors import InputError, shown

MEMBER_LIMIT = 1 << 30
TOTAL_LIMIT = 1 << 32  # of all members that are read; several can lie on the same compressed bytes
_MEMBERS_LIMIT = 2_000_000
_RATIO_LIMIT = 200
_RATIO_FREE = 1 << 24  # members below this size may shrink as they like
_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
DAMAGE = (zipfile.BadZipFile, zlib.error, struct.error, EOFError, ValueError, OverflowError, OSError, RuntimeError)


class ZipMembers:
    """The members of a zip.

    :param data: the bytes of the file
    :param where: its name, for messages
    :raises InputError: no zip, truncated, or one name twice
    """

    def __init__(self, data: bytes, *, where: object) -> None:
        self._where = where
        self._unpacked = 0
        try:
            self._zip = zipfile.ZipFile(io.BytesIO(data))
            self.names = self._zip.namelist()
            self._known = set(self.names)
        except DAMAGE as error:
            raise InputError(where, found=what_it_is(data), expected="a zip file", hint="download it again") from error
        if len(self.names) > _MEMBERS_LIMIT:
            raise InputError(where, found=f"{len(self.names):,} members", expected=f"at most {_MEMBERS_LIMIT:,}")
        if len(self._known) < len(self.names):
            twice = next(name for name, count in Counter(self.names).items() if count > 1)
            raise InputError(where, shown(twice), found="this member twice in one zip", expected="once")

    def __contains__(self, name: str) -> bool:
        return name in self._known

    def read(self, name: str, *, limit: int = MEMBER_LIMIT) -> bytes:
        """The bytes of one member, its checksum verified.

        :param limit: bytes; a larger member is refused before it is unpacked
        :raises InputError: missing, encrypted, too large, damaged
        """
        try:
            info = self._zip.getinfo(name)
        except KeyError as error:
            raise InputError(self._where, shown(name), found="no such member", expected="one") from error
        if info.flag_bits & 1:
            raise InputError(self._where, shown(name), found="an encrypted member", expected="plain members")
        if info.compress_type not in _METHODS:
            raise InputError(self._where, shown(name), found="an unusual compression", expected="deflate, or none")
        self._unpacked += info.file_size
        if self._unpacked > TOTAL_LIMIT:
            raise InputError(
                self._where,
                found=f"members that unpack to {self._unpacked:,} bytes",
                expected=f"at most {TOTAL_LIMIT:,}",
            )
        if info.file_size > limit:
            raise InputError(
                self._where, shown(name), found=f"{info.file_size:,} bytes", expected=f"at most {limit:,} bytes"
            )
        if info.file_size > _RATIO_FREE and info.file_size > _RATIO_LIMIT * max(info.compress_size, 1):
            raise InputError(
                self._where,
                shown(name),
                found=f"a member that unpacks to {info.file_size:,} bytes from {info.compress_size:,}",
                expected=f"at most {_RATIO_LIMIT} times its size",
            )
        try:
            with self._zip.open(info) as member:
                data = member.read(info.file_size + 1)
        except DAMAGE as e:
            raise InputError(
                self._where,
                shown(name),
                found=f"a damaged member ({e})",
                expected="its bytes",
                hint="download it again",
            ) from e
        if len(data) != info.file_size:
            raise InputError(self._where, shown(name), found=f"{len(data):,} bytes", expected=f"{info.file_size:,}")
        return data


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
