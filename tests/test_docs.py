"""The documents in docs/: every command of the guides, and their Python, runs as written; their claims are checked."""

from __future__ import annotations

import csv
import importlib
import json
import re
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from Neuron_Selection.FileFormats.agent_zip.agent_zip import read_agent_zip
from tests.conftest import ROOT
from tests.in_process import typed
from tests.test_house import TOPS
from tests.test_readme import not_ours

DOCUMENTS = [
    *ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md"), *(ROOT / "examples").rglob("*.md"),
    ROOT / "SaliencyTooling" / "README.md",
]  # fmt: skip
PATCHING, WEIGHTS = ((ROOT / "docs" / name).read_text() for name in ("patching_guide.md", "weights_guide.md"))


def walk(guide: str, folder: Path) -> Path:
    """A checkout in which every command of a guide was run in its order; those of the README start processes."""
    checkout = Path(shutil.copytree(ROOT, folder / "checkout", ignore=not_ours))
    for block in re.findall(r"^```bash\n(.*?)^```", guide, re.MULTILINE | re.DOTALL):
        for command in block.splitlines():
            run = typed(command, checkout)
            assert run.returncode == 0, f"{command}\n{run.stderr}"
    return checkout


@pytest.fixture(scope="module")
def walked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The walk through patching."""
    return walk(PATCHING, tmp_path_factory.mktemp("patching"))


def summary(walked: Path, name: str) -> list[dict[str, int]]:
    return json.loads((walked / "my_agent" / "patching_results" / f"{name}.meta.json").read_text())["summary"]


def test_the_output_in_the_walk_is_the_output_of_its_commands(walked: Path) -> None:
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


def test_the_python_of_the_walk_runs_as_written(walked: Path) -> None:
    (snippet,) = re.findall(r"^```python\n(.*?)^```", PATCHING, re.MULTILINE | re.DOTALL)
    run = subprocess.run([sys.executable, "-c", snippet], cwd=walked, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    assert len(run.stdout.splitlines()) == 2


def test_the_output_in_the_walk_to_the_weights_is_the_output_of_its_commands(tmp_path: Path) -> None:
    checkout = walk(WEIGHTS, tmp_path)
    agent = checkout / "my_agent"
    summary = json.loads((agent / "patching_results" / "cross_metric_summary.json").read_text())
    best = summary["common_neurons"]
    assert next(iter(best)) == "exp_220_q_net.2"
    assert best["exp_72_q_net.0"]["patch"] == {"q_net.0": [71]}
    with (agent / "patching_results" / "results.csv").open() as file:
        rows = list(csv.DictReader(file))
    dead = {row["experiment"] for row in rows if row["flag"] == "dead"}
    assert len(dead) == 32
    sets = json.loads((agent / "patching_results" / "minimal_sets.json").read_text())
    sizes = Counter(pair["size"] for pair in sets["denoising"]["q_net.3"]["pairs"].values())
    assert (sizes[1], sizes[2], sizes.total()) == (47, 29, 100)
    flips = json.loads((agent / "perturbation_results" / "smallest_flips.json").read_text())
    assert flips["summary"]["smallest"]["change"] == pytest.approx(0.18, abs=0.005)
    original, edited, restored = (
        read_agent_zip(path).tensors
        for path in (agent / "agent.zip", checkout / "edited.zip", checkout / "restored.zip")
    )
    changed = {name for name in original if not np.array_equal(original[name], edited[name])}
    assert changed == {"q_net.q_net.2.weight"}
    assert all(np.array_equal(original[name], restored[name]) for name in original)


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_every_link_of_every_document_leads_somewhere(document: Path) -> None:
    text = document.read_text()
    for target in re.findall(r"\]\((?!https://)([^)]+)\)", text):
        path, _, anchor = target.partition("#")
        linked = document.parent / path if path else document
        assert linked.exists(), target
        assert not anchor or anchor in _anchors(linked.read_text()), target


def test_the_index_lists_every_document() -> None:
    index = (ROOT / "docs" / "index.md").read_text()
    for document in (ROOT / "docs").glob("*.md"):
        assert document.name == "index.md" or f"]({document.name})" in index, document.name


def test_the_architecture_describes_every_room() -> None:
    text = (ROOT / "docs" / "architecture.md").read_text()
    for package in TOPS:
        for init in (ROOT / package).rglob("__init__.py"):
            folder = f"`{init.parent.relative_to(ROOT)}/`"
            assert re.search(rf"^\| {folder} \|", text, re.MULTILINE), folder


@pytest.mark.parametrize("document", [ROOT / "docs" / "architecture.md", ROOT / "CONTRIBUTING.md"])
def test_every_module_that_a_document_names_exists(document: Path) -> None:
    names = re.findall(r"`([\w/]+\.py)`", document.read_text())
    assert len(names) > 10
    for name in names:
        assert any(str(path).endswith(f"/{name}") for path in ROOT.rglob(Path(name).name)), name


def test_the_python_api_runs_as_written(tmp_path: Path) -> None:
    text = (ROOT / "docs" / "python_api.md").read_text()
    code = "\n".join(re.findall(r"^```python\n(.*?)^```", text, re.MULTILINE | re.DOTALL))
    shutil.copytree(ROOT / "examples" / "lava_crossing" / "agent", tmp_path / "my_agent")
    shutil.copytree(ROOT / "examples", tmp_path / "examples", ignore=shutil.ignore_patterns("agent", "ppo"))
    run = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    assert "q_net.2:all 100 of 100\n" in run.stdout
    assert (tmp_path / "edited.zip").exists()
    for name, module in re.findall(r"^\| `(\w+)` \| [^|]* \| `([\w.]+)` \|$", text, re.MULTILINE):
        package = importlib.import_module(module)
        assert name in package.__all__
        assert callable(getattr(package, name))


def _anchors(text: str) -> set[str]:
    headings = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading).lower().replace(" ", "-") for heading in headings}
