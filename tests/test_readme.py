"""README.md: its commands run as written, its links resolve, `make demo` and a picture are on the first screen.

What it shows of the output of ``make demo`` is compared in test_demo.py.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT
from tests.in_process import typed

README = (ROOT / "README.md").read_text()
OURS = {
    "Neuron_Selection", "SaliencyTooling", "Parameter_Selection", "ReportTooling", "examples", "docs", "benchmarks",
    "activation_extraction.py", "activation_patching.py", "requirements.txt", "pyproject.toml", "README.md",
}  # fmt: skip


def not_ours(folder: str, names: list[str]) -> set[str]:
    """What a copy of the checkout leaves out: files that are not part of the project, and caches."""
    strangers = {name for name in names if name not in OURS} if Path(folder) == ROOT else set()
    return strangers | {name for name in names if "cache" in name or name == ".venv"}


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", README, re.MULTILINE | re.DOTALL)


def is_same_line(shown: str, printed: str) -> bool:
    """The same words, and numbers within a tenth, since intervals depend on the version of scipy."""
    number = re.compile(r"-?\d+\.\d+")
    pairs = list(zip(number.findall(shown), number.findall(printed), strict=False))
    same_words = " ".join(number.sub("#", shown).split()) == " ".join(number.sub("#", printed).split())
    return same_words and all(float(one) == pytest.approx(float(other), rel=0.1, abs=1e-3) for one, other in pairs)


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return Path(shutil.copytree(ROOT, tmp_path_factory.mktemp("readme") / "checkout", ignore=not_ours))


def test_the_commands_and_the_snippet_run_as_written(checkout: Path) -> None:
    (snippet,) = blocks("python")
    for command in "".join(blocks("bash")).splitlines():
        run = typed(command, checkout, process=True)
        assert run.returncode == 0, f"{command}\n{run.stderr}"
    written = {str(path.relative_to(checkout / "my_dqn")) for path in (checkout / "my_dqn").rglob("*.*")}
    assert {
        "activation_inputs/pairs.json", "patching_results/sweep.npz", "patching_results/cross_metric_summary.json",
        "report/report.html", "patching_results/experiment1.json", "patching_results/experiment1.meta.json",
    } <= written  # fmt: skip
    run = subprocess.run([sys.executable, "-c", snippet], cwd=checkout, capture_output=True, text=True, check=False)
    assert len(run.stdout.splitlines()) == 100, run.stderr


def test_the_two_commands_and_the_page_are_on_the_first_screen() -> None:
    assert len(README.splitlines()) <= 150
    first_screen = README.splitlines()[:20]
    makefile = (ROOT / "Makefile").read_text()
    for target in ("demo", "test"):
        assert any(line.strip().startswith(f"make {target}") for line in first_screen)
        assert re.search(rf"^{target}: ", makefile, re.MULTILINE)
    (picture,) = re.findall(r"!\[[^\]]+\]\((\S+)\)", "\n".join(first_screen))
    assert (ROOT / picture).stat().st_size < 300_000


def test_every_link_and_every_script_named_is_there() -> None:
    for target in re.findall(r"\]\(([^)]+)\)", README):
        assert (ROOT / target).exists(), target
    for script in re.findall(r"`([\w/.]*\w+\.py)`", README):
        found = (ROOT / script).exists() or list(ROOT.glob(f"*/**/{script.removeprefix('.../')}"))
        assert found, script


def test_every_script_is_in_the_table_of_steps() -> None:
    from tests.test_house import SCRIPTS

    for path in SCRIPTS:
        assert re.search(rf"^\|.*{path.name}.*\|", README, re.MULTILINE), path.name
