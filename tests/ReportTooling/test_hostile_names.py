"""Names and ids from files cannot become markup, and cannot reorder the text around them."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import pytest

from Neuron_Selection.DrawingTooling.canvas import svg_bytes
from Neuron_Selection.DrawingTooling.inline_svg import inline_svg
from Neuron_Selection.DrawingTooling.points import draw_counts
from Neuron_Selection.PatchingTooling import open_agent
from ReportTooling.page.blocks import Page, Paragraph, Section, Table
from ReportTooling.page.numbers import name, sentence
from ReportTooling.page.rendering import html_of
from ReportTooling.reports import compare_agents, make_report
from tests.ReportTooling.conftest import EXAMPLE, table_in, text_of

MARKUP = "</code><script>alert(1)</script><img src=x onerror=alert(1)>\"'&amp;$x^2$"
BIDI = "left\u202egnp.exe\u2066\u200f\x1b[2J"
ESCAPED = "&lt;/code&gt;&lt;script&gt;alert(1)&lt;/script&gt;"


def bad(html: str) -> list[str]:
    """What must not be on a page: scripts and images that are not ours, and characters that cannot be seen."""
    scripts = re.findall(r"<script>(.*?)</script>", html, re.DOTALL)
    invisible = re.findall("[\u200e\u200f\u202a-\u202e\u2066-\u2069\x1b]", html)
    return [*(one for one in scripts if "use strict" not in one), *re.findall(r"<img[^>]*>", html), *invisible]


def test_every_name_of_an_agent_is_escaped(tmp_path: Path) -> None:
    folder = Path(shutil.copytree(EXAMPLE, tmp_path / "an <script>agent<&script>"))
    encoding = json.loads((folder / "encoding.json").read_text())
    encoding["actions"] = [MARKUP, "\u0627\u0644\u064a\u0633\u0627\u0631", "\u6f22\u5b57"]
    encoding["channels"][0] = MARKUP
    (folder / "encoding.json").write_text(json.dumps(encoding))
    inputs = {}
    for file in ("clean_inputs.json", "corrupted_inputs.json", "pairs.json"):
        path = folder / "activation_inputs" / file
        document = dict(list(json.loads(path.read_text()).items())[:3])
        hostile = {f"{MARKUP}-v0-{place}": entry for place, entry in enumerate(document.values())}
        if file == "pairs.json":
            for entry in hostile.values():
                entry["edit"] = f"{MARKUP}{BIDI}"
        path.write_text(json.dumps(hostile))
        inputs[file] = hostile
    html = make_report(open_agent(folder)).path.read_text(encoding="utf-8")
    assert bad(html) == []
    assert ESCAPED in html
    ids = [text_of(row[0]) for row in table_in(html, "all-pairs")]
    assert len(ids) == 3
    assert all("onerror" in one for one in ids)


@pytest.mark.parametrize("hostile", [MARKUP, BIDI])
def test_blocks_escape_what_they_are_given(hostile: str) -> None:
    blocks = [
        Paragraph(text=sentence("{} and {}", hostile, name(hostile))),
        Paragraph(text=hostile),
        Table(name="t", caption=hostile, columns=[hostile], rows=[[hostile], [name(hostile)]]),
    ]
    page = Page(title=hostile, subtitle=hostile, sections=[Section(name="s", title=hostile, blocks=blocks)])
    assert bad(html_of(page).decode()) == []


@pytest.mark.parametrize("hostile", [MARKUP, "$\\frac{1}{$", "\u6f22\u5b57 \u0627\u0644"])
def test_pictures_escape_names_and_do_not_typeset_them(hostile: str) -> None:
    svg = svg_bytes(draw_counts([(hostile, [1, 2])], labels=[hostile, "b"], x_label=hostile, y_label="y"))
    inline = inline_svg(svg, name="p", title=hostile)
    assert bad(inline) == []
    assert "use " not in inline  # typeset formulas are drawn as glyphs


def test_two_pictures_with_the_same_content_share_no_id() -> None:
    svg = svg_bytes(draw_counts([("a", [1])], labels=["b"], x_label="x", y_label="y"))
    ids = [set(re.findall(r' id="([^"]+)"', inline_svg(svg, name=name, title="t"))) for name in ("one", "two")]
    assert not ids[0] & ids[1]
    assert svg == svg_bytes(draw_counts([("a", [1])], labels=["b"], x_label="x", y_label="y"))


def test_folders_in_a_comparison_are_escaped(tmp_path: Path) -> None:
    folders = [tmp_path / "<script>alert(1)<&script>", tmp_path / "\u202eb"]
    for folder in folders:
        folder.mkdir()
        shutil.copy(EXAMPLE / "agent.zip", folder)
    compared = compare_agents(folders, output_dir=tmp_path / "out")
    assert bad(compared.page.read_text(encoding="utf-8")) == []
