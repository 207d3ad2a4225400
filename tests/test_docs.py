"""The walk through patching: every command and the Python at its end run as they stand; its claims are true."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT
from tests.test_readme import NOT_CODE

GUIDE = (ROOT / "docs" / "patching_guide.md").read_text()


@pytest.fixture(scope="module")
def walked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkout in which every command of the walk was run in its order."""
    checkout = Path(shutil.copytree(ROOT, tmp_path_factory.mktemp("docs") / "checkout", ignore=NOT_CODE))
    for block in re.findall(r"^```bash\n(.*?)^```", GUIDE, re.MULTILINE | re.DOTALL):
        for command in block.splitlines():
            typed = re.sub(r"^python ", f"{sys.executable} ", command)
            run = subprocess.run(typed, shell=True, cwd=checkout, capture_output=True, text=True, check=False)
            assert run.returncode == 0, f"{command}\n{run.stderr}"
    return checkout


def summary(walked: Path, name: str) -> list[dict[str, int]]:
    return json.loads((walked / "my_agent" / "patching_results" / f"{name}.meta.json").read_text())["summary"]


def test_what_the_walk_says_is_what_came_out(walked: Path) -> None:
    assert summary(walked, "whole_layer")[0]["matches"] == 100
    halves = summary(walked, "halves")
    assert len(halves) == 2
    assert all(0 < half["matches"] < 100 for half in halves)
    assert summary(walked, "one_input")[0]["inputs"] == 1
    assert all(
        (walked / "my_agent" / "patching_results" / f"half_{way}.json").exists() for way in ("denoising", "noising")
    )
    assert len(list((walked / "my_agent" / "patching_results" / "noising").glob("*.json"))) == 100
    checks = json.loads((walked / "my_agent" / "patching_results" / "some.meta.json").read_text())["self_checks"]
    assert set(checks.values()) == {"passed"}


def test_the_python_of_the_walk_runs_as_it_stands(walked: Path) -> None:
    (snippet,) = re.findall(r"^```python\n(.*?)^```", GUIDE, re.MULTILINE | re.DOTALL)
    run = subprocess.run([sys.executable, "-c", snippet], cwd=walked, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    assert len(run.stdout.splitlines()) == 2
