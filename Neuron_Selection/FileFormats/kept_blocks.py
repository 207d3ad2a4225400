"""Intermediate results of long runs, kept next to the output so that the same command resumes after a kill."""

from __future__ import annotations

import json
import re
import shutil
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from Neuron_Selection.errors import InputError
from Neuron_Selection.FileFormats.provenance import decisive_of
from Neuron_Selection.FileFormats.storage.atomic_files import read_bytes, refuse_link, sha256_of

AFTER_SECONDS = 60.0
_DIGEST_BYTES = 64
_HELD_BYTES = 16 << 20  # of blocks that are held in memory


class KeptBlocks:
    """Named blocks of a run, in the hidden folder ``.<output>.<hash of the decisive metadata>.blocks``.

    Blocks are written once the run has taken ``AFTER_SECONDS``; earlier ones are held in memory, up to 16 MiB. If the
    disk is full, no blocks are kept and the run continues. Writes are not synced: a digest in each block detects one
    that is truncated or was written by a different run, which counts as missing.
    """

    def __init__(self, output: Path, metadata: Mapping[str, Any]) -> None:
        self._output = output
        self._run = sha256_of(json.dumps(decisive_of(metadata), sort_keys=True).encode())
        self._folder = output.with_name(f".{output.name}.{self._run[:16]}.blocks")
        self._start = time.monotonic()
        self._waiting: dict[str, bytes] = {}
        self._held = 0  # bytes in _waiting

    def read(self, name: str) -> bytes | None:
        """The block of this name, or None if it must be computed.

        :raises UsageError: the folder is a link
        """
        refuse_link(self._folder)
        path = self._path(name)
        if not path.is_file():
            return None
        try:
            stored = read_bytes(path)
        except InputError:
            return None
        data = stored[_DIGEST_BYTES:]
        return data if stored[:_DIGEST_BYTES] == self._digest(name, data) else None

    def keep(self, name: str, data: bytes) -> None:
        """Write a block and those held in memory, or hold it in memory as long as the run is short."""
        if time.monotonic() - self._start < AFTER_SECONDS:
            if self._held + len(data) <= _HELD_BYTES:
                self._waiting[name] = data
                self._held += len(data)
            return
        for waiting, content in {**self._waiting, name: data}.items():
            with suppress(OSError):
                self._write(waiting, content)
        self._waiting = {}

    def remove(self) -> None:
        """Remove all blocks of this output, which has been written."""
        blocks = re.compile(rf"\.{re.escape(self._output.name)}\.[0-9a-f]{{16}}\.blocks")
        for folder in self._output.parent.iterdir():
            if blocks.fullmatch(folder.name) and not folder.is_symlink():
                shutil.rmtree(folder, ignore_errors=True)

    def _write(self, name: str, data: bytes) -> None:
        path = self._path(name)
        self._folder.mkdir(parents=True, exist_ok=True)
        path.unlink(missing_ok=True)  # a truncated block or a link: always write a new file
        with path.open("xb") as file:
            file.write(self._digest(name, data) + data)

    def _path(self, name: str) -> Path:
        return self._folder / sha256_of(name.encode())[:32]

    def _digest(self, name: str, data: bytes) -> bytes:
        return sha256_of(f"{self._run}\n{name}\n".encode() + data).encode()
