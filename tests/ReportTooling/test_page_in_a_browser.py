"""The pages in a real browser: nothing is fetched, nothing fails, nothing overflows, and axe-core finds nothing.

Runs where Chromium, playwright (the Python package) and axe-core are installed; ``.ci/run`` installs all three and sets
SUITE_BROWSER=required, so that a missing one is a failure there.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ReportTooling.reports import compare_agents
from tests.conftest import ROOT

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
AXE = Path("node_modules") / "axe-core" / "axe.min.js"
SCHEMES = ("light", "dark")


def missing(what: str) -> None:
    if os.environ.get("SUITE_BROWSER") == "required":
        pytest.fail(what)
    pytest.skip(what)


def axe_source() -> str:
    """axe-core, from ``.venv/node_modules`` or the folder that SUITE_AXE names."""
    for folder in (os.environ.get("SUITE_AXE"), ROOT / ".venv", ROOT):
        if folder is not None and (Path(folder) / AXE).exists():
            return (Path(folder) / AXE).read_text(encoding="utf-8")
    missing("axe-core is not installed (npm install --prefix .venv axe-core@4)")
    raise AssertionError


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    program = next(filter(None, map(shutil.which, BROWSERS)), None)
    if program is None:
        missing("no Chromium is installed (apt-get install chromium)")
    try:
        from playwright.sync_api import sync_playwright
    except ModuleNotFoundError:
        missing("playwright is not installed (pip install playwright)")
    with sync_playwright() as playwright:
        launched = playwright.chromium.launch(executable_path=program, args=["--no-sandbox", "--disable-gpu"])
        yield launched
        launched.close()


@pytest.fixture(scope="module")
def pages(page: Path, with_results: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The page about one agent, and the one about two."""
    other = tmp_path_factory.mktemp("compared")
    shutil.copy(ROOT / "examples" / "lava_crossing" / "ppo" / "agent.zip", other)
    compared = compare_agents([with_results, other], output_dir=other / "out")
    return {"report": page, "comparison": compared.page}


def opened(
    browser: Any, path: Path, *, width: int = 1280, scheme: str = "light", **options: Any
) -> tuple[Any, list[str]]:
    """A page, and what went wrong on it: messages of its console, and requests of anything but the file itself."""
    context = browser.new_context(
        viewport={"width": width, "height": 900}, color_scheme=scheme, reduced_motion="reduce", **options
    )
    shown, faults = context.new_page(), []
    shown.on("console", lambda message: faults.append(f"console: {message.text}"))
    shown.on("pageerror", lambda error: faults.append(f"error: {error}"))
    shown.on(
        "request", lambda request: faults.append(f"request: {request.url}") if request.url != path.as_uri() else None
    )
    shown.goto(path.as_uri(), wait_until="load")
    return shown, faults


@pytest.mark.parametrize("width", [1280, 400])
@pytest.mark.parametrize("name", ["report", "comparison"])
def test_nothing_is_fetched_nothing_fails_and_nothing_overflows(
    name: str, width: int, browser: Any, pages: dict[str, Path]
) -> None:
    for scheme in SCHEMES:
        shown, faults = opened(browser, pages[name], width=width, scheme=scheme)
        assert [fault for fault in faults if not fault.startswith("request: data:")] == []
        assert shown.evaluate("document.documentElement.scrollWidth") == width
        colour = shown.evaluate("getComputedStyle(document.body).backgroundColor")
        assert (sum(map(int, colour.strip("rgb()").split(","))) > 380) == (scheme == "light")
        shown.context.close()


@pytest.mark.parametrize(
    ("name", "width", "scheme"), [("report", 1280, "light"), ("report", 400, "dark"), ("comparison", 1280, "dark")]
)
def test_axe_finds_no_violation(name: str, width: int, scheme: str, browser: Any, pages: dict[str, Path]) -> None:
    shown, _ = opened(browser, pages[name], width=width, scheme=scheme, bypass_csp=True)
    shown.evaluate(axe_source())
    found = shown.evaluate("axe.run(document, {resultTypes: ['violations']})")
    assert [(one["id"], one["nodes"][0]["html"]) for one in found["violations"]] == []
    shown.context.close()


def test_columns_are_sorted_by_their_exact_values(browser: Any, pages: dict[str, Path]) -> None:
    shown, faults = opened(browser, pages["report"])
    shown.locator("#flips th button", has_text="Smallest change").click()
    cells = (
        "[...document.querySelectorAll('#flips tbody tr')].map(r => r.cells[3].querySelector('data')?.value ?? null)"
    )
    values = [float(value) for value in shown.evaluate(cells) if value is not None]
    assert values == sorted(values, reverse=True)
    assert shown.locator("#flips th[aria-sort=descending]").count() == 1
    shown.locator("label", has_text="in the order of the layer").click()
    assert shown.locator(".choice .view:visible").count() == 1
    assert [fault for fault in faults if not fault.startswith("request: data:")] == []
    shown.context.close()


def test_it_is_readable_without_scripts_and_on_paper(browser: Any, pages: dict[str, Path], tmp_path: Path) -> None:
    shown, _ = opened(browser, pages["report"], java_script_enabled=False)
    assert shown.locator("#neurons table tbody tr").first.is_visible()
    assert shown.locator("th button").count() == 0
    shown.context.close()
    shown, _ = opened(browser, pages["report"], scheme="dark")
    shown.pdf(path=str(tmp_path / "page.pdf"), format="A4")
    assert (tmp_path / "page.pdf").read_bytes().startswith(b"%PDF")
    shown.emulate_media(media="print")
    assert shown.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    shown.context.close()
