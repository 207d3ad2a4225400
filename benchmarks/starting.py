"""Whole processes with the numpy engine: from the start of python to the file."""

from __future__ import annotations

import json
import shutil
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from measuring import median_ratio
from startup import ENVIRONMENT, ROOT, measured, script


def print_start(rounds: int) -> None:
    """One patch of 20 pairs by both engines, in units of importing numpy and torch."""
    with tempfile.TemporaryDirectory() as temporary:
        agent = Path(temporary) / "agent"
        shutil.copytree(ROOT / "examples" / "lava_crossing" / "agent", agent)
        extraction = script("activation_extraction.py", "--agent_path", agent, "--quiet")
        subprocess.run(extraction, check=True, cwd=ROOT, env=ENVIRONMENT, stdout=subprocess.DEVNULL)
        ids = list(json.loads((agent / "activation_inputs" / "clean_inputs.json").read_text()))[:20]
        for kind in ("clean", "corrupted"):
            path = agent / "activation_inputs" / f"{kind}_inputs.json"
            document = json.loads(path.read_text())
            path.write_text(json.dumps({input_id: document[input_id] for input_id in ids}))
        subprocess.run([*extraction, "--overwrite"], check=True, cwd=ROOT, env=ENVIRONMENT, stdout=subprocess.DEVNULL)
        patching = script(
            "activation_patching.py", "--agent_path", agent, "--target_input", "corrupted_inputs.json",
            "--source_activations", "clean_activations.npz", "--patch_spec", "q_net.0:5,6,7;q_net.2:10,11",
            "--overwrite", "--quiet",
        )  # fmt: skip
        commands = {
            "import numpy": [sys.executable, "-c", "import numpy"],
            "import torch": [sys.executable, "-c", "import torch"],
            "one patch, 20 pairs, numpy": [*patching, "--engine", "numpy"],
            "one patch, 20 pairs, torch": [*patching, "--engine", "torch"],
            "extraction, 20 pairs, numpy": [*extraction, "--overwrite", "--engine", "numpy"],
            "--help": script("activation_patching.py", "--help"),
        }
        times = measured(commands, rounds=rounds)
    numpy, torch = times["import numpy"][0], times["import torch"][0]
    print(f"\nwhole processes\n{'':<28}{'CPU s':>8}{'wall s':>8}{'x import numpy':>16}{'x import torch':>16}")
    for name, (cpu, wall) in times.items():
        seconds = f"{statistics.median(cpu):>8.3f}{statistics.median(wall):>8.3f}"
        print(f"{name:<28}{seconds}{median_ratio(cpu, numpy):>16.2f}{median_ratio(cpu, torch):>16.2f}")


if __name__ == "__main__":
    print_start(7)
