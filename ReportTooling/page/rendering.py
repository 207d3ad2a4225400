"""Pages as HTML: one file without any other, in which all text is escaped."""

from __future__ import annotations

from typing import Any

from markupsafe import Markup

from Neuron_Selection.DrawingTooling.inline_svg import inline_svg
from Neuron_Selection.errors import MachineError
from ReportTooling.page.blocks import Page, Picture, pictures_of
from ReportTooling.page.numbers import printable


def html_of(page: Page) -> bytes:
    """The page as a file.

    :raises MachineError: jinja2 is not installed
    """
    try:
        import jinja2
    except ModuleNotFoundError as error:
        raise MachineError("jinja2 is not installed (pip install jinja2)") from error
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("ReportTooling.page"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        finalize=_finalized,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    pictures = [picture for section in page.sections for picture in pictures_of(section.blocks)]
    numbers = {picture.name: number for number, picture in enumerate(pictures, start=1)}
    if len(numbers) < len(pictures):
        raise ValueError("two pictures of a page have the same name")
    environment.tests["of"] = lambda block, kind: type(block).__name__ == kind
    template = environment.get_template("page.html")
    text = template.render(page=page, numbers=numbers, svg=_svg)
    return text.encode("utf-8", "backslashreplace")


def _svg(picture: Picture) -> Markup:
    """The picture in the page; its markup is of matplotlib, which escapes text."""
    return Markup(inline_svg(picture.svg, name=picture.name, title=printable(picture.alternative)))  # noqa: S704


def _finalized(value: Any) -> Any:
    """What a template prints: characters that cannot be seen are escaped in text of any origin."""
    return printable(value) if isinstance(value, str) and not isinstance(value, Markup) else value
