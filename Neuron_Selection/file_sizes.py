"""How much a file may hold once it is unpacked or parsed, and the flag that raises it.

A small file can unpack to any size. By default what is unpacked of a file is bounded by the file's own size, so that it
costs at most about 20 times that size and 300 MB of memory; ``--max_size`` names another bound, for honest giants.
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
    """Bytes, from ``4GB``, ``500 MB`` or a plain number.

    :raises ValueError: anything else, and 0
    """
    match = _SIZE.fullmatch(text.strip())
    size = int(match[1]) * _UNITS[(match[2] or "").upper()] if match else 0
    if not size:
        raise ValueError("a size is a number of bytes, or of KB, MB or GB, such as 4GB")
    return size


@contextmanager
def max_size(size: int | None) -> Iterator[None]:
    """Inside the block, files may unpack to ``size`` bytes; None leaves the bound that follows from their own size."""
    token = _max_size.set(size)
    try:
        yield
    finally:
        _max_size.reset(token)


def unpacked_limit(file_size: int) -> int:
    """How many bytes may be unpacked of all members of a zip together, given the size of the zip.

    Editing an agent holds up to five copies of what was unpacked.
    """
    return _max_size.get() or 4 * file_size + (32 << 20)


def document_limit(file_size: int) -> int:
    """How many bytes of JSON inside a zip may be parsed; Python's objects take up to 30 times as much."""
    return _max_size.get() or file_size // 2 + (4 << 20)


def members_limit(file_size: int) -> int:
    """How many members a zip may have: the smallest array takes 250 bytes, and 1.5 kB of memory to list."""
    return (_max_size.get() or file_size) // 250 + 100_000
