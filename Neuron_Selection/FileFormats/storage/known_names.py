"""Names that are asked for, held against those that are there."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence

from Neuron_Selection.errors import InputError, UsageError, shown

_COMPARED = 10_000  # names among which the nearest are looked for


def refuse_unknown(asked: Iterable[str], known: Sequence[str], *, what: str, where: object) -> None:
    """Raise for the first name that is asked for twice or is not among ``known``, naming those nearest to it."""
    seen: set[str] = set()
    there = set(known)
    for name in asked:
        if name in seen:
            raise UsageError(f"{what} {shown(name)}: found twice, expected once")
        seen.add(name)
        if name not in there:
            near = difflib.get_close_matches(name, known[:_COMPARED], n=3, cutoff=0.3) or list(known[:3])
            raise InputError(
                where,
                f"{what} {shown(name)}",
                found="no such one",
                expected=f"one of {len(known):,}",
                hint="nearest: " + ", ".join(shown(other) for other in near),
            )
