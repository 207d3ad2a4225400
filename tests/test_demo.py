"""``make demo``, and docs/tutorial.md, which continues where it ends: commands, figures and the page."""

from __future__ import annotations

import csv
import json
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.conftest import ROOT
from tests.in_process import typed
from tests.test_readme import README, is_same_line, not_ours

TUTORIAL = (ROOT / "docs" / "tutorial.md").read_text()
FIGURES, OWN = TUTORIAL.split("## 5. Your own agent")


def blocks(text: str, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", text, re.MULTILINE | re.DOTALL)


@dataclass(frozen=True, kw_only=True)
class Demo:
    checkout: Path
    printed: str

    @property
    def agent(self) -> Path:
        return self.checkout / "demo_output" / "agent"


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Demo:
    """A checkout in which the demo was run, from another folder."""
    folder = tmp_path_factory.mktemp("demo")
    checkout = Path(shutil.copytree(ROOT, folder / "checkout", ignore=not_ours))
    words = [sys.executable, str(checkout / "examples" / "demo.py")]
    run = subprocess.run(words, cwd=folder, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    return Demo(checkout=checkout, printed=run.stdout)


def run_all(commands: list[str], folder: Path) -> str:
    printed = ""
    for command in "".join(commands).splitlines():
        run = typed(command, folder)
        assert run.returncode == 0, f"{command}\n{run.stderr}"
        printed += run.stdout
    return printed


def test_the_demo_ends_with_the_five_findings_and_the_path_of_the_page(demo: Demo) -> None:
    report = demo.agent / "report" / "report.html"
    findings = json.loads((report.parent / "report.meta.json").read_text())["findings"]
    assert len(findings) == 5
    ending = demo.printed.partition("What was found:")[2]
    numbered = " ".join(f"{place}. {finding}" for place, finding in enumerate(findings, start=1))
    assert " ".join(ending.split()).startswith(f"{numbered} The page: {report}")
    assert all(len(line) <= 100 for line in ending.partition("The page:")[0].splitlines())


def test_every_step_is_shown_as_a_command_with_its_seconds(demo: Demo) -> None:
    _, *steps = (line for line in demo.printed.splitlines() if line.startswith("$ "))
    commands = [re.fullmatch(r"\$ (python .*)  # \d+\.\d s", step) for step in steps]
    assert len(commands) >= 14
    assert all(commands)
    report = commands[-1]
    assert report is not None
    again = typed(report[1], demo.checkout)
    assert again.returncode == 0
    assert "up to date, left as it is" in again.stderr
    log = (demo.checkout / "demo_output" / "output.txt").read_text()
    assert [line for line in log.splitlines() if line.startswith("$ ")] == [
        f"$ {command[1]}" for command in commands if command
    ]


def test_a_step_that_fails_ends_the_demo_with_its_exit_code_and_error(demo: Demo, tmp_path: Path) -> None:
    checkout = Path(shutil.copytree(demo.checkout, tmp_path / "checkout"))
    (checkout / "examples" / "lava_crossing" / "agent" / "activation_inputs" / "clean_inputs.json").write_text("{}")
    run = typed("python examples/demo.py", checkout, process=True)
    assert run.returncode == 2
    assert run.stderr.startswith("error: ")
    assert "What was found" not in run.stdout
    assert not (checkout / "demo_output" / "agent" / "report").exists()  # of the run before


def test_the_readme_shows_lines_that_the_demo_prints(demo: Demo) -> None:
    (shown, *_) = blocks(README, "text")
    printed = demo.printed.splitlines()
    for line in filter(None, shown.splitlines()):
        assert any(is_same_line(line, other) for other in printed), line


def test_the_tutorial_on_the_example_agent_prints_what_it_shows(demo: Demo) -> None:
    printed = run_all(blocks(FIGURES, "bash"), demo.checkout).splitlines()
    for line in "".join(blocks(FIGURES, "text")).splitlines():
        assert any(is_same_line(line, other) for other in printed), line
    (snippet,) = blocks(FIGURES, "python")
    run = subprocess.run(
        [sys.executable, "-c", snippet], cwd=demo.checkout, capture_output=True, text=True, check=False
    )
    choices = [set(choice) for choice in json.loads(run.stdout.replace("(", "[").replace(")", "]"))]
    assert choices == [{0, 2}] * 8
    with (demo.agent / "patching_results" / "results.csv").open() as file:
        rows = [row for row in csv.DictReader(file) if row["direction"] == "denoising"]
    assert max(int(row["matches"]) for row in rows) == 9
    pair = json.loads((demo.agent / "activation_inputs" / "pairs.json").read_text())[
        "MiniGrid-LavaCrossingS9N1-v0-81165-1,5,1-0073"
    ]
    assert (pair["edit"], pair["clean_action"], pair["corrupted_action"]) == ("lava_removed", 0, 2)
    assert (demo.agent / "pair_drawings" / "MiniGrid-LavaCrossingS9N1-v0-81165-1,5,1-0073.png").exists()


def test_the_tutorial_on_an_own_agent_ends_at_the_page(demo: Demo) -> None:
    ((name, content),) = re.findall(r"^```python\n# (\w+\.py)\n(.*?)^```", OWN, re.MULTILINE | re.DOTALL)
    (demo.checkout / name).write_text(content.replace("10_000", "2_048"))
    printed = run_all(blocks(OWN, "bash"), demo.checkout)
    assert printed.splitlines()[-1] == "my_cartpole/report/report.html"
    assert (demo.checkout / "my_cartpole" / "report" / "report.html").exists()
    findings = re.findall(r"^\d\. ", printed, re.MULTILINE)
    assert len(findings) >= 4
