"""The blocks that pages consist of; ``templates/blocks.html`` has a macro for each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

from markupsafe import Markup

Text: TypeAlias = str | Markup


@dataclass(frozen=True, kw_only=True, slots=True)
class Picture:
    """A picture with its caption.

    :param name: of its file, without the end; letters, digits and hyphens
    :param svg: the file
    :param alternative: what the picture shows, for readers who do not see it
    """

    name: str
    svg: bytes
    title: Text
    caption: Text
    alternative: str
    is_wide: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class Table:
    """A table; a cell is text, or markup of ``numbers``, by whose exact value columns are sorted."""

    name: str
    caption: Text
    columns: Sequence[Text]
    rows: Sequence[Sequence[Text]]
    numeric: Sequence[int] = ()
    """Columns of numbers, which are aligned to the right."""
    note: Text = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Paragraph:
    """A paragraph; ``kind`` is lead, text or caveat."""

    text: Text
    kind: str = "text"


@dataclass(frozen=True, kw_only=True, slots=True)
class Facts:
    """Pairs of a term and its value."""

    facts: Sequence[tuple[str, Text]]
    is_large: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class Gallery:
    """Pictures side by side."""

    pictures: Sequence[Picture]


@dataclass(frozen=True, kw_only=True, slots=True)
class Choice:
    """Views of which one is shown at a time, the first unless the reader chooses another."""

    name: str
    legend: str
    views: Sequence[tuple[str, Sequence[Block]]]


@dataclass(frozen=True, kw_only=True, slots=True)
class Folded:
    """Blocks that are shown on request."""

    summary: Text
    blocks: Sequence[Block]


@dataclass(frozen=True, kw_only=True, slots=True)
class Part:
    """A part of a section, with a heading of its own."""

    name: str
    title: Text
    blocks: Sequence[Block]


@dataclass(frozen=True, kw_only=True, slots=True)
class Finding:
    """A sentence, what limits it, and its picture; ``section`` is where the details are."""

    sentence: Markup
    caveat: Markup
    section: str
    picture: Picture | None


@dataclass(frozen=True, kw_only=True, slots=True)
class Findings:
    """The findings of a page, in their order."""

    findings: Sequence[Finding]


@dataclass(frozen=True, kw_only=True, slots=True)
class Commands:
    """Commands, each with what it is for."""

    commands: Sequence[tuple[Text, str]]


Block: TypeAlias = Picture | Table | Paragraph | Facts | Gallery | Choice | Folded | Part | Findings | Commands


@dataclass(frozen=True, kw_only=True, slots=True)
class Section:
    """A section of a page; ``name`` is its anchor."""

    name: str
    title: str
    blocks: Sequence[Block]


@dataclass(frozen=True, kw_only=True, slots=True)
class Page:
    """A whole page."""

    title: Text
    subtitle: Text
    sections: Sequence[Section]
    footer: Text = field(default="")


def pictures_of(blocks: Sequence[Block]) -> list[Picture]:
    """Every picture in blocks, in the order of the page."""
    found: list[Picture] = []
    for block in blocks:
        match block:
            case Picture():
                found.append(block)
            case Gallery():
                found += block.pictures
            case Choice():
                found += [picture for _, view in block.views for picture in pictures_of(view)]
            case Folded() | Part():
                found += pictures_of(block.blocks)
            case Findings():
                found += [finding.picture for finding in block.findings if finding.picture is not None]
            case _:
                pass
    return found
