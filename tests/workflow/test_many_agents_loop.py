"""The plain loop over many agents: a network that the search for flips does not apply to goes on with the next step."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

from gymnasium import spaces

from tests.conftest import ROOT
from tests.made_agents import new_dqn, save_dqn, vector_space


def test_an_agent_without_smallest_flips_goes_on_with_the_next_step(tmp_path: Path) -> None:
    space = spaces.Dict({"a": vector_space(2), "b": vector_space(3)})
    folder = save_dqn(tmp_path / "my agent", new_dqn(space, policy="MultiInputPolicy", net_arch=[4]))
    (folder / "activation_inputs").mkdir()
    for kind in ("clean", "corrupted"):
        document = {"one": {"input": {"a": [0.5, 1.0], "b": [1.0, 2.0, 3.0]}}}
        (folder / "activation_inputs" / f"{kind}_inputs.json").write_text(json.dumps(document))
    loop = ["bash", str(ROOT / "examples" / "bash" / "many_agents.sh"), str(folder)]
    environment = {**os.environ, "PYTHON": sys.executable, "STEPS": "flips extraction"}
    done = subprocess.run(loop, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout == f"done: {folder}\n"
    assert done.stderr.startswith(f"left out: {folder}: flips: error: smallest flips: ")
    assert (folder / "activation_logging" / "clean_activations.npz").exists()
