"""docs/circuits_guide.md: its commands and its Python run as written."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

from tests.conftest import ROOT
from tests.test_docs import walk

GUIDE = (ROOT / "docs" / "circuits_guide.md").read_text()


def test_the_guide_runs_as_written(tmp_path: Path) -> None:
    checkout = walk(GUIDE, tmp_path)
    folder = checkout / "my_agent" / "patching_results"
    checked = json.loads((folder / "neurons_check.json").read_text())["circuit"]
    assert checked["nodes"] == {"q_net.1": [71, 80], "q_net.3": [91]}
    (snippet,) = re.findall(r"^```python\n(.*?)^```", GUIDE, re.MULTILINE | re.DOTALL)
    run = subprocess.run([sys.executable, "-c", snippet], cwd=checkout, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    assert "q_net.3" in run.stdout
