"""``in_process`` returns what a process of its own would show, and leaves nothing behind."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

import activation_patching
from Neuron_Selection.FileFormats.agent_zip import agent_folder
from Neuron_Selection.PatchingTooling.torch_network import sb3_policy
from tests.conftest import ROOT
from tests.faults.script_runs import NO_TORCH, run
from tests.in_process import in_process

SCRIPT = str(ROOT / "activation_patching.py")
FORBIDDEN = NO_TORCH["forbid"]


def ends_with(monkeypatch: pytest.MonkeyPatch, body: str) -> None:
    """The script does this, and imports nothing that is known already."""

    def main(_words: list[str]) -> int:
        exec(body, {"sb3_policy": sb3_policy, "agent_folder": agent_folder})
        return 0

    monkeypatch.setattr(activation_patching, "main", main)


@pytest.mark.parametrize("words", [["--help"], [], ["--agent_path", "nowhere", "--threads", "0"]])
def test_a_process_shows_the_same(words: list[str]) -> None:
    here, there = run([SCRIPT, *words]), run([SCRIPT, *words], process=True)
    assert (here.returncode, here.stdout, here.stderr) == (there.returncode, there.stdout, there.stderr)


@pytest.mark.parametrize(
    "imports",
    [
        "import torch",
        "import torch.nn.functional",
        "from Neuron_Selection.PatchingTooling.torch_network import sb3_policy",
        "from Neuron_Selection.PatchingTooling.torch_network.sb3_policy import build_torch_network",
        "import Neuron_Selection.PatchingTooling.torch_network.network",
    ],
)
def test_an_import_that_is_forbidden_fails_though_it_was_imported_before(
    imports: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    ends_with(monkeypatch, imports)
    assert in_process([SCRIPT]).returncode == 0
    reported = in_process([SCRIPT], forbid=FORBIDDEN)
    assert reported.returncode == 1
    assert "imported where it is not needed" in reported.stderr
    assert sys.modules["Neuron_Selection.PatchingTooling.torch_network.sb3_policy"] is sb3_policy
    assert sys.modules["Neuron_Selection.PatchingTooling.torch_network"].sb3_policy is sb3_policy
    assert in_process([SCRIPT]).returncode == 0


def test_what_needs_no_torch_is_not_imported_again(monkeypatch: pytest.MonkeyPatch) -> None:
    ends_with(
        monkeypatch,
        "from Neuron_Selection.FileFormats.agent_zip import agent_folder as again; assert again is agent_folder",
    )
    assert in_process([SCRIPT], forbid=FORBIDDEN).returncode == 0


def test_nothing_of_a_run_is_left(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    before = Path.cwd(), list(sys.argv), dict(os.environ), sys.stdin, sys.stdout, list(sys.meta_path), set(sys.modules)
    ends_with(monkeypatch, "import os, sys; os.environ['X'] = 'x'; os.chdir('/'); print(sys.argv); sys.exit(3)")
    reported = in_process([SCRIPT, "a"], cwd=tmp_path, forbid=FORBIDDEN)
    assert (reported.returncode, reported.stdout) == (3, f"{[SCRIPT, 'a']}\n")
    after = Path.cwd(), list(sys.argv), dict(os.environ), sys.stdin, sys.stdout, list(sys.meta_path), set(sys.modules)
    assert after == before


def test_a_bug_is_a_traceback_and_exit_1(monkeypatch: pytest.MonkeyPatch) -> None:
    ends_with(monkeypatch, "raise RuntimeError('a bug')")
    reported = in_process([SCRIPT])
    assert (reported.returncode, reported.stdout) == (1, "")
    assert reported.stderr.startswith("Traceback ")
    assert reported.stderr.endswith("RuntimeError: a bug\n")
