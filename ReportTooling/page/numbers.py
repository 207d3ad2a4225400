"""Numbers, names and sentences on a page: each number carries its exact value, each name is escaped."""

from __future__ import annotations

import math
from typing import Any

from markupsafe import Markup, escape

UNDEFINED = Markup('<span class="undefined">n/a</span>')


def number(value: float | None, *, digits: int = 3) -> Markup:
    """A number rounded to significant digits; its exact value is in the attribute ``value``."""
    return UNDEFINED if value is None else _data(value, rounded(value, digits=digits))


def share(value: float | None, *, digits: int = 3) -> Markup:
    """A share as a percentage; its exact value, as a share, is in the attribute ``value``."""
    return UNDEFINED if value is None else _data(value, f"{rounded(100 * value, digits=digits)} %")


def count(value: int | None) -> Markup:
    """A whole number."""
    return UNDEFINED if value is None else _data(value, f"{value:,}")


def interval(low: float | None, high: float | None, *, as_shares: bool = False) -> Markup:
    """Both ends of an interval in brackets; nothing where there is none."""
    if low is None or high is None:
        return Markup("")
    shown = share if as_shares else number
    return Markup("[{}, {}]").format(shown(low), shown(high))


def rounded(value: float, *, digits: int = 3) -> str:
    """A number with that many significant digits, without trailing zeros, as it is shown."""
    if not math.isfinite(value):
        return str(value)
    text = f"{value + 0.0:.{digits}g}"  # no minus sign before 0
    if "e" in text and 1e-4 <= abs(value) < 1e7:
        text = f"{value:,.0f}"
    return text.replace("e-0", "e-").replace("-", "\N{MINUS SIGN}", 1) if value < 0 else text.replace("e-0", "e-")


def name(text: object) -> Markup:
    """A name from a file, isolated from the direction of the text around it."""
    return Markup("<bdi><code>{}</code></bdi>").format(printable(str(text)))


def printable(text: str) -> str:
    """Text with unprintable characters escaped, such as those that change the direction of writing."""
    return text if text.isprintable() else "".join(c if c.isprintable() or c == "\n" else repr(c)[1:-1] for c in text)


def sentence(text: str, *parts: Any) -> Markup:
    """Format a text of ours with parts, which are escaped unless they are markup."""
    return Markup(text).format(*map(_safe, parts))  # noqa: S704 - the text is ours, its parts are escaped


def joined(parts: list[Markup]) -> Markup:
    """``a, b and c``."""
    if len(parts) < 2:
        return Markup("").join(parts)
    return Markup(", ").join(parts[:-1]) + Markup(" and ") + parts[-1]


def _safe(part: Any) -> Any:
    return escape(printable(part)) if isinstance(part, str) and not isinstance(part, Markup) else part


def _data(value: float, text: str) -> Markup:
    return Markup('<data value="{}">{}</data>').format(repr(value), text)
