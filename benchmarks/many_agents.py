"""Many agents: one by one, a loop with two jobs, the workflow on two cores; the same bytes, also after three kills.

    python benchmarks/many_agents.py [--agents 24] [--steps "sweep analysis minimal_sets saliency flips"] [--seed 0]

Half of the agents are short runs of DQN and PPO on CartPole-v1, the other half copies with edited weights. Wall-clock
seconds, since that is what a user waits for: nothing else should run on the machine.
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
LOOP = ["bash", str(ROOT / "examples" / "bash" / "many_agents.sh")]
MAKE = """
import json, os, sys
import numpy as np
from stable_baselines3 import DQN, PPO

for number in range(int(sys.argv[1])):
    algorithm, more = (DQN, {"learning_starts": 50, "buffer_size": 1000}) if number % 2 else (PPO, {"n_steps": 64})
    model = algorithm("MlpPolicy", "CartPole-v1", seed=number, device="cpu", **more)
    model.learn(256)
    states = [np.concatenate([model.env.reset() for _ in range(40)]) * 8 for _ in range(2)]
    folder = f"runs/agent{number:02}"
    os.makedirs(f"{folder}/activation_inputs")
    model.save(f"{folder}/agent.zip")
    for name, rows in zip(("clean", "corrupted"), states):
        with open(f"{folder}/activation_inputs/{name}_inputs.json", "w") as file:
            json.dump({str(n): {"input": row.tolist()} for n, row in enumerate(rows)}, file)
"""


def make_agents(place: Path, count: int) -> None:
    """``count`` agents in ``place/runs``: trained ones, and an edited copy of each."""
    subprocess.run([sys.executable, "-c", MAKE, str(count // 2)], cwd=place, check=True)
    for folder in sorted((place / "runs").iterdir()):
        copy = folder.with_name(f"{folder.name}_edited")
        shutil.copytree(folder / "activation_inputs", copy / "activation_inputs")
        weight = "q_net.0.weight" if int(folder.name[5:]) % 2 else "mlp_extractor.policy_net.0.weight"
        words = ["--agent_path", str(folder), "--edits", f"{weight}[0,0]=0.5", "--output"]
        script = ROOT / "Parameter_Selection" / "PerturbationTooling" / "write_agent.py"
        subprocess.run(
            [sys.executable, script, *words, str(copy / "agent.zip"), "--quiet"], check=True, stdout=subprocess.DEVNULL
        )


def results(place: Path) -> dict[str, bytes]:
    """Every file that the steps wrote, but for their logs."""
    files = (path for path in (place / "runs").rglob("*") if path.is_file() and "workflow_logs" not in path.parts)
    return {str(path.relative_to(place)): path.read_bytes() for path in sorted(files)}


def start_anew(place: Path) -> None:
    """Only the agents and their inputs are left."""
    for folder in (place / "runs").iterdir():
        for output in folder.iterdir():
            if output.is_dir() and output.name != "activation_inputs":
                shutil.rmtree(output)
    shutil.rmtree(place / ".snakemake", ignore_errors=True)


def workflow(place: Path, steps: str) -> list[str]:
    """The command of the workflow on two cores."""
    targets = f"targets=[{', '.join(steps.split())}]"
    snakefile = str(ROOT / "workflow" / "Snakefile")
    return [sys.executable, "-m", "snakemake", "-s", snakefile, "--cores", "2", "--config", "agents=runs/*", targets]


def seconds_of(command: Sequence[str], place: Path, steps: str, **variables: str) -> tuple[float, int]:
    """Wall-clock seconds and exit code of one run, from scratch."""
    start_anew(place)
    environment = {**os.environ, "PYTHON": sys.executable, "STEPS": steps, **variables}
    start = time.perf_counter()
    run = subprocess.run(command, cwd=place, env=environment, capture_output=True, check=False)
    return time.perf_counter() - start, run.returncode


def with_kills(place: Path, steps: str, moments: Sequence[float]) -> int:
    """Run the workflow, killed after each of these times, then to its end; how often a finished step ran again."""
    start_anew(place)
    again = 0
    for moment in moments:
        run = subprocess.Popen(
            workflow(place, steps),
            cwd=place,
            stderr=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            start_new_session=True,
        )
        time.sleep(moment)
        os.killpg(run.pid, signal.SIGKILL)
        run.wait()
        done = {path: path.stat().st_mtime_ns for path in place.glob("runs/*/patching_results/sweep.npz")}
        done = {path: at for path, at in done.items() if (path.parent / "results.csv").exists()}
        subprocess.run([*workflow(place, steps), "--unlock"], cwd=place, capture_output=True, check=True)
        if moment == moments[-1]:
            subprocess.run(workflow(place, steps), cwd=place, capture_output=True, check=True)
        again += sum(path.stat().st_mtime_ns != at for path, at in done.items())
    return again


def main() -> None:
    """Make agents, run them in every way, compare."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--agents", type=int, default=24)
    parser.add_argument("--steps", default="sweep analysis minimal_sets saliency flips")
    parser.add_argument("--seed", type=int, default=0, help="of the moments of the kills")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        make_agents(place, args.agents)
        agents = sorted(str(path.relative_to(place)) for path in (place / "runs").iterdir())
        ways = {
            "one by one": ([*LOOP, *agents], {"JOBS": "1"}),
            "loop, 2 jobs": ([*LOOP, *agents], {"JOBS": "2"}),
            "workflow, 2 cores": (workflow(place, args.steps), {}),
        }
        taken: dict[str, float] = {}
        expected: dict[str, bytes] = {}
        for name, (command, variables) in ways.items():
            taken[name], code = seconds_of(command, place, args.steps, **variables)
            written = results(place)
            expected = expected or written
            ratio = taken["one by one"] / taken[name]
            print(f"{name:18} {taken[name]:6.1f} s  {ratio:4.2f} x  exit {code}, same bytes: {written == expected}")
        draw = random.Random(args.seed)
        moments = [draw.uniform(0.1, 0.4) * taken["workflow, 2 cores"] for _ in range(3)]
        again = with_kills(place, args.steps, moments)
        print(f"three kills: same bytes: {results(place) == expected}, finished steps that ran again: {again}")
        zip_path = place / agents[0] / "agent.zip"
        zip_path.write_bytes(zip_path.read_bytes()[:1000])
        _, code = seconds_of(workflow(place, args.steps), place, args.steps)
        done = len(list(place.glob("runs/*/perturbation_results/smallest_flips.json")))
        print(f"one broken agent: exit {code}, {done} of {len(agents)} agents finished")


if __name__ == "__main__":
    main()
