"""docs/attribution_guide.md: its commands run as written."""

from __future__ import annotations

import json
from pathlib import Path

from tests.conftest import ROOT
from tests.test_docs import walk

GUIDE = (ROOT / "docs" / "attribution_guide.md").read_text()


def test_the_guide_runs_as_written(tmp_path: Path) -> None:
    checkout = walk(GUIDE, tmp_path)
    for agent, names in (("my_agent", ("attribution", "interactions", "two_layers")), ("my_ppo", ("interactions",))):
        for name in names:
            assert json.loads((checkout / agent / "patching_results" / f"{name}.json").read_text())["denoising"]
