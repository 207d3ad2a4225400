"""``make demo``: the main chain on a copy of the shipped agent; its sentences agree with the numbers."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

from tests.conftest import ROOT
from tests.test_readme import not_ours


def test_the_demo_runs_from_anywhere_and_prints_what_it_found(tmp_path: Path) -> None:
    checkout = shutil.copytree(ROOT, tmp_path / "checkout", ignore=not_ours)
    demo = [sys.executable, str(checkout / "examples" / "demo.py")]
    run = subprocess.run(demo, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    reported = " ".join(run.stdout.split())
    assert "in 100 of 100 pairs the agent acts otherwise" in reported
    enough = re.search(r"in (\d+) of 100 pairs some single neuron is enough", reported)
    assert enough
    assert 0 < int(enough[1]) < 100
    assert (checkout / "demo_output" / "pair.png").read_bytes().startswith(b"\x89PNG")
    assert (checkout / "demo_output" / "agent" / "patching_results" / "whole_layer.json").exists()
