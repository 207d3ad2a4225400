"""How a sweep grows with the pairs: CPU time and peak memory of run_experiments.py as a process of its own.

    python benchmarks/memory.py [--width 64] [--pairs 100 1000 10000]

Beside it the peak of a process that only reads the same inputs files, which are JSON: the sweep itself adds little, and
the file that it writes is streamed.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

from startup import ENVIRONMENT, script
from sweeps import MAKE, SWEEP

READ = """
import sys
from Neuron_Selection.PatchingTooling import OpenedAgent

opened = OpenedAgent(sys.argv[1])
kept = [opened.inputs(f"{name}_inputs.json") for name in ("clean", "corrupted")]
"""
WATCHED = """
import resource, subprocess, sys

subprocess.run(sys.argv[1:], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
used = resource.getrusage(resource.RUSAGE_CHILDREN)
print(used.ru_utime + used.ru_stime, used.ru_maxrss / 1024)
"""


def main() -> None:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--width", type=int, default=64, help="of both hidden layers")
    parser.add_argument("--pairs", type=int, nargs="+", default=[100, 1000, 10000], help="numbers of pairs")
    args = parser.parse_args()
    print(f"{2 * args.width} neurons, both directions")
    print(f"{'pairs':>8}{'CPU s':>8}{'ms a pair':>11}{'file MB':>9}{'peak MB':>9}{'reading alone MB':>18}")
    for pairs in args.pairs:
        with tempfile.TemporaryDirectory() as temporary:
            agent = Path(temporary) / "agent"
            (agent / "activation_inputs").mkdir(parents=True)
            watched([sys.executable, "-W", "ignore", "-c", MAKE, str(agent), str(args.width), str(pairs)])
            _, reading = watched([sys.executable, "-c", READ, str(agent)])
            seconds, peak = watched(script(SWEEP, "--agent_path", agent, "--quiet"))
            written = (agent / "patching_results" / "sweep.npz").stat().st_size / 1e6
        each = 1000 * seconds / pairs
        print(f"{pairs:>8}{seconds:>8.2f}{each:>11.2f}{written:>9.1f}{peak:>9.0f}{reading:>18.0f}", flush=True)


def watched(command: list[str]) -> tuple[float, float]:
    """CPU seconds and peak memory, in MB, of a command."""
    watcher = [sys.executable, "-c", WATCHED, *command]
    run = subprocess.run(watcher, check=True, env=ENVIRONMENT, capture_output=True, cwd=Path(__file__).parents[1])
    seconds, peak = map(float, run.stdout.split())
    return seconds, peak


if __name__ == "__main__":
    main()
