"""docs/circuits_guide.md: every command and its Python run as written, and what it says was found is what comes out."""

from __future__ import annotations

import csv
import json
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import ROOT
from tests.test_docs import walk

GUIDE = (ROOT / "docs" / "circuits_guide.md").read_text()


@pytest.fixture(scope="module")
def walked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return walk(GUIDE, tmp_path_factory.mktemp("circuits"))


def table(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def found(folder: Path) -> dict[str, Any]:
    """What the five sentences state, for one agent."""
    document = json.loads((folder / "edges.json").read_text())
    rows = [row for row in table(folder / "edges.csv") if row["direction"] == "denoising" and row["from_name"]]
    sizes: Counter[str] = Counter()
    for row in rows:
        sizes[row["from_name"]] += abs(float(row["effect"]))
    curve = {
        (row["ranking"], int(row["edges"])): float(row["faithfulness"]) for row in table(folder / "edges_curve.csv")
    }
    return {
        "document": document,
        "shares": {name: size / sizes.total() for name, size in sizes.items()},
        "curve": curve,
    }


def test_what_the_guide_says_was_found_is_what_came_out(walked: Path) -> None:
    folder = walked / "my_agent" / "patching_results"
    dqn, ppo = found(folder), found(walked / "ppo")
    ahead = "row 5, column 3: lava"
    assert [round(one["shares"][ahead], 2) for one in (dqn, ppo)] == [0.55, 0.29]
    path = dqn["document"]["directions"]["denoising"]["paths"][0]
    assert path["path"][1:] == ["q_net.1:80", "q_net.3:91", "scores:2"]
    assert (path["name"], round(path["effect"], 3)) == (ahead, 0.039)
    assert round(ppo["document"]["directions"]["denoising"]["paths"][0]["effect"], 4) == 0.0012
    assert [round(one["document"]["circuit"]["faithfulness"], 2) for one in (dqn, ppo)] == [0.37, 0.04]
    for one, size, faithfulness in ((dqn, 1691, 0.92), (ppo, 2844, 0.96)):
        assert round(one["curve"]["importance", size], 2) == faithfulness
        assert abs(one["curve"]["random", size]) < 0.01
    for checked in (folder, walked / "ppo"):
        assert json.loads((checked / "circuit_check.json").read_text())["tests"]["equivalence"]["p"] == 0.001
    assert round(json.loads((folder / "mean_edges.json").read_text())["circuit"]["faithfulness"], 2) == 0.15


def test_its_python_runs(walked: Path) -> None:
    (snippet,) = re.findall(r"^```python\n(.*?)^```", GUIDE, re.MULTILINE | re.DOTALL)
    run = subprocess.run([sys.executable, "-c", snippet], cwd=walked, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    assert "q_net.3" in run.stdout
