"""List C, action masks: beside inputs of an agent that was trained without masks they are refused by every script."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.faults.script_runs import NO_TORCH, SCRIPTS, refused, words_of


@pytest.mark.parametrize("script", SCRIPTS)
def test_a_mask_for_an_agent_without_masks_is_refused_without_torch(script: str, agent: Path) -> None:
    """C39."""
    path = agent / "activation_inputs" / "clean_inputs.json"
    document = json.loads(path.read_text())
    for entry in document.values():
        entry["action_mask"] = [1, 0, 1]
    path.write_text(json.dumps(document))
    says = ".action_mask: cannot be used with this agent: only MaskablePPO is trained with masks"
    refused(words_of(script, agent), 2, says, agent.parent, orders=NO_TORCH)
