"""What starting costs: CPU time of whole processes, as ratios to ``import torch`` in the same run.

    python benchmarks/startup.py [--rounds 7]

Every round runs every command once, in turn, so that a drift of the machine's speed hits all alike.
"""

from __future__ import annotations

import argparse
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
LOAD = "import sys, stable_baselines3; stable_baselines3.DQN.load(sys.argv[1], device='cpu')"
# with bytecode caching on, as users have it: compiling our modules anew would be counted in every round
ENVIRONMENT = {key: value for key, value in os.environ.items() if key != "PYTHONDONTWRITEBYTECODE"} | {
    "OMP_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
}


def main() -> None:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7, help="how often every command runs")
    rounds = parser.parse_args().rounds
    with tempfile.TemporaryDirectory() as temporary:
        agent = Path(temporary) / "agent"
        shutil.copytree(ROOT / "examples" / "lava_crossing" / "agent", agent)
        extraction = script("activation_extraction.py", "--agent_path", agent, "--quiet")
        sweep = script("Neuron_Selection/ExperimentTooling/run_experiments.py", "--agent_path", agent)
        analysis = script("Neuron_Selection/AnalysisTooling/analyze_metrics.py", "--agent_path", agent)
        for command in (extraction, sweep, analysis):
            subprocess.run(command, check=True, cwd=ROOT, env=ENVIRONMENT, capture_output=True)
        saliency = script("SaliencyTooling/initial_test.py", "--agent_path", agent, "--format", "npz", "--overwrite")
        patching = script(
            "activation_patching.py", "--agent_path", agent, "--target_input", "corrupted_inputs.json",
            "--source_activations", "clean_activations.npz", "--patch_spec", "q_net.0:5,6,7;q_net.2:10,11",
        )  # fmt: skip
        commands = {
            "import torch": [sys.executable, "-c", "import torch"],
            "import stable_baselines3": [sys.executable, "-c", "import stable_baselines3"],
            "DQN.load": [sys.executable, "-c", LOAD, str(agent / "agent.zip")],
            "activation_patching.py, 100 pairs, torch": [*patching, "--overwrite"],
            "activation_extraction.py, 2 x 100 inputs": [*extraction, "--overwrite"],
            "activation_patching.py, up to date": patching,
            "activation_patching.py, 100 pairs, numpy": [*patching, "--overwrite", "--engine", "numpy"],
            "run_experiments.py, 256 neurons": [*sweep, "--overwrite"],
            "initial_test.py, 100 inputs, npz": saliency,
            "activation_patching.py --help": script("activation_patching.py", "--help"),
            "activation_extraction.py --help": script("activation_extraction.py", "--help"),
        }
        print_table(measured(commands, rounds=rounds))


def script(name: str, *arguments: object) -> list[str]:
    """A script's command line."""
    return [sys.executable, str(ROOT / name), *map(str, arguments)]


def measured(commands: Mapping[str, Sequence[str]], *, rounds: int) -> dict[str, tuple[list[float], list[float]]]:
    """CPU and wall seconds of each command in each round, after one round that does not count."""
    times: dict[str, tuple[list[float], list[float]]] = {name: ([], []) for name in commands}
    for number in range(rounds + 1):
        for name, command in commands.items():
            before = resource.getrusage(resource.RUSAGE_CHILDREN)
            start = time.perf_counter()
            subprocess.run(command, check=True, cwd=ROOT, env=ENVIRONMENT, capture_output=True)
            wall = time.perf_counter() - start
            after = resource.getrusage(resource.RUSAGE_CHILDREN)
            if number:
                times[name][0].append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
                times[name][1].append(wall)
    return times


def print_table(times: dict[str, tuple[list[float], list[float]]]) -> None:
    """Medians; the ratio is the median of the ratios round by round."""
    unit = times["import torch"][0]
    print(f"{'command':<44}{'CPU s':>8}{'wall s':>8}{'x import torch':>16}")
    for name, (cpu, wall) in times.items():
        ratio = statistics.median(one / other for one, other in zip(cpu, unit, strict=True))
        print(f"{name:<44}{statistics.median(cpu):>8.2f}{statistics.median(wall):>8.2f}{ratio:>16.2f}")


if __name__ == "__main__":
    main()
