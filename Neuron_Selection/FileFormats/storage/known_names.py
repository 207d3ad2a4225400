"""Names checked against a list of known ones; the error names the closest matches."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence

from Neuron_Selection.errors import InputError, UsageError, shown

_COMPARED = 10_000  # known names that are searched for close matches


def refuse_unknown(names: Iterable[str], known: Sequence[str], *, what: str, where: object) -> None:
    """Check that every name is known and given once.

    :param what: what the names are, such as "input id"
    :raises InputError: an unknown name, with the closest matches if there are any
    :raises UsageError: a name given twice
    """
    seen: set[str] = set()
    allowed = set(known)
    for name in names:
        if name in seen:
            raise UsageError(f"{what} {shown(name)} is given twice")
        seen.add(name)
        if name not in allowed:
            close = difflib.get_close_matches(name, known[:_COMPARED], n=3)
            matches = "; closest matches: " + ", ".join(shown(other) for other in close) if close else ""
            raise InputError(where, problem=f"unknown {what} {shown(name)}{matches}")
