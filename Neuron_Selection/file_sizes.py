"""Limits on the size of a file once it is unpacked or parsed, and the context in which ``--max_size`` raises them.

A small file can unpack to any size. By default the limit follows from the file's own size, so that reading it takes at
most about 20 times that size plus 300 MB of memory; ``--max_size`` sets another limit, for trusted large files.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

_UNITS = {"": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9}
_SIZE = re.compile(r"([0-9]{1,15})\s*([KMG]B)?", re.ASCII | re.IGNORECASE)
_max_size: ContextVar[int | None] = ContextVar("max_size", default=None)


def parse_size(text: str) -> int:
    """Parse a number of bytes: ``4GB``, ``500 MB`` or a plain number.

    :raises ValueError: anything else, or 0
    """
    match = _SIZE.fullmatch(text.strip())
    size = int(match[1]) * _UNITS[(match[2] or "").upper()] if match else 0
    if not size:
        raise ValueError("a size is a number of bytes, or of KB, MB or GB, such as 4GB")
    return size


@contextmanager
def max_size(size: int | None) -> Iterator[None]:
    """Inside the block, files may unpack to ``size`` bytes; None keeps the limit that follows from their own size."""
    token = _max_size.set(size)
    try:
        yield
    finally:
        _max_size.reset(token)


def unpacked_limit(file_size: int) -> int:
    """How many bytes all members of a zip together may unpack to, given the size of the zip.

    Editing an agent holds up to five copies of the unpacked bytes.
    """
    return _max_size.get() or 4 * file_size + (32 << 20)


def document_limit(file_size: int) -> int:
    """How many bytes of JSON inside a zip may be parsed; the Python objects take up to 30 times as much memory."""
    return _max_size.get() or file_size // 2 + (4 << 20)


def members_limit(file_size: int) -> int:
    """How many members a zip may have; the smallest array takes 250 bytes, and 1.5 kB of memory to list."""
    return (_max_size.get() or file_size) // 250 + 100_000
