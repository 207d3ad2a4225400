"""A run that is killed between two of its files is finished by the same command, with the bytes of an undisturbed run.

The normal run kills every writing script before each file takes its place. The slow run (``pytest -m slow``) kills at
random moments; ``KILLS`` sets how often and ``KILL_SEED`` repeats a run.
"""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import ROOT
from tests.faults.script_runs import (
    NO_TORCH,
    Flag,
    environment,
    fails,
    no_temporary_files,
    run,
    snapshot,
    words_of,
    works,
)
from tests.raised import DIFFERENT_RUN, parts

ANALYSIS = "Neuron_Selection/AnalysisTooling/analyze_metrics.py"
EXPERIMENTS = "Neuron_Selection/ExperimentTooling"
PERTURBATION = "Parameter_Selection/PerturbationTooling"
OUTPUTS = ("activation_logging", "gradient_analysis", "perturbation_results")
WEIGHT = "q_net.0.weight[0,1]"


def command(script: str, agent: Path, **flags: Flag) -> list[str]:
    words = [str(ROOT / script), "--agent_path", str(agent)]
    for name, value in flags.items():
        words += [f"--{name}"] if value is True else [f"--{name}", str(value)]
    return words


def commands(agent: Path) -> dict[str, list[str]]:
    """Each writing script, and each form of output that consists of several files."""
    return {
        "extraction": words_of("E", agent, overwrite=None, fast=True),
        "patching": words_of("P", agent, overwrite=None, fast=True),
        "patching by input": words_of("P", agent, overwrite=None, fast=True, by_input=True),
        "both directions by input": command(
            "activation_patching.py", agent, direction="both", by_input=True, patch_spec="q_net.0:1,2", engine="fast"
        ),
        "definitions": command(
            f"{EXPERIMENTS}/generate_definitions.py", agent, type="custom", patch_spec="q_net.0:1", random_sets=2
        ),
        "sweep": command(f"{EXPERIMENTS}/run_experiments.py", agent),
        "sweep by input": command(f"{EXPERIMENTS}/run_experiments.py", agent, by_input=True),
        "analysis": command(ANALYSIS, agent, output_dir=str(agent / "out")),
        "minimal sets": command(f"{EXPERIMENTS}/find_minimal_sets.py", agent, direction="denoising"),
        "saliency": words_of("G", agent, overwrite=None),
        "gradients as json and npz": words_of("gradients", agent, overwrite=None, format="both"),
        "perturbation": words_of("W", agent, overwrite=None),
        "smallest flips": command(f"{PERTURBATION}/find_smallest_flips.py", agent, weights=WEIGHT),
        "edited agent": command(
            f"{PERTURBATION}/write_agent.py", agent, edits=f"{WEIGHT}=0.5", output=str(agent / "edited.zip")
        ),
    }  # fmt: skip


NAMES = tuple(commands(Path()))
BY_INPUT = [name for name in NAMES if "by input" in name]


def forget(agent: Path) -> dict[str, Any]:
    """Remove the outputs that the template comes with; what is left."""
    for name in OUTPUTS:
        shutil.rmtree(agent / name)
    for path in (agent / "patching_results").iterdir():
        if path.name != "cross_metric_summary.json":
            path.unlink()
    return snapshot(agent)


def undisturbed(name: str, agent: Path) -> dict[str, Any]:
    """What the command writes into a fresh folder, which is emptied again."""
    if name == "analysis":
        works(commands(agent)["sweep"])
    fresh = snapshot(agent)
    works(commands(agent)[name])
    whole = snapshot(agent)
    restore(agent, fresh)
    return whole


def restore(agent: Path, fresh: dict[str, Any]) -> None:
    for path in sorted(agent.rglob("*"), reverse=True):
        if str(path.relative_to(agent)) not in fresh:
            path.rmdir() if path.is_dir() else path.unlink()


def killed_before_each_file(words: list[str], agent: Path, fresh: dict[str, Any]) -> Iterator[int]:
    """Kill before the first file takes its place, in a fresh folder again before the second, and so on."""
    for number in range(1, 100):
        orders = {**NO_TORCH, "call": "replace", "number": number, "signal": int(signal.SIGKILL)}
        reported = run(words, orders=orders)
        if reported.returncode == 0:
            assert number > 1
            return
        assert reported.returncode == -signal.SIGKILL, reported.stderr
        yield number
        restore(agent, fresh)
    pytest.fail("the run never came to its end")


@pytest.mark.parametrize("name", NAMES)
def test_the_same_command_finishes_a_killed_run_with_the_same_bytes(name: str, agent: Path) -> None:
    forget(agent)
    whole = undisturbed(name, agent)
    words, fresh = commands(agent)[name], snapshot(agent)
    for number in killed_before_each_file(words, agent, fresh):
        works(words)
        assert snapshot(agent) == whole, f"killed before file {number}"


@pytest.mark.parametrize("name", NAMES)
def test_an_overwriting_run_that_was_killed_is_finished_by_the_same_command(name: str, agent: Path) -> None:
    forget(agent)
    whole = undisturbed(name, agent)
    other = {"extraction": ["--layers", "q_net.2"], "minimal sets": ["--seed", "7"]}.get(name, [])
    words = [*commands(agent)[name], "--overwrite"]
    works([*words, *other])
    for number in (1, 2):
        orders = {**NO_TORCH, "call": "replace", "number": number, "signal": int(signal.SIGKILL)}
        reported = run(words, orders=orders)
        assert reported.returncode in (-signal.SIGKILL, 0), reported.stderr
        assert number > 1 or reported.returncode
    works(words)
    assert snapshot(agent).keys() == whole.keys()
    assert no_temporary_files(agent)


@pytest.mark.parametrize("name", BY_INPUT)
def test_readers_refuse_part_of_a_set_and_another_command_is_refused(name: str, agent: Path) -> None:
    fresh = forget(agent)
    words = commands(agent)[name]
    reader = command(ANALYSIS, agent, by_input=True, output_dir=str(agent / "out"))
    folders = ("denoising", "noising") if name != "patching by input" else ("by_input",)
    other = ["--input_ids", "a_b;c:d/e"]
    met = 0
    for _ in killed_before_each_file(words, agent, fresh):
        begun = [agent / "patching_results" / f"{folder}.meta.json" for folder in folders]
        part = [meta for meta in begun if meta.exists() and '"unfinished": true' in meta.read_text()]
        if not part:
            continue
        met += 1
        if "by_input" not in folders and any(part[0].with_suffix("").with_suffix("").glob("*.json")):
            fails(reader, 2, parts(file=part[0], problem="belongs to a run that was interrupted"))
        fails([*words, *other], 2, parts(file=..., problem=DIFFERENT_RUN))
    assert met >= len(folders)


def test_files_that_a_dead_process_left_are_removed_and_those_of_a_live_one_are_not(agent: Path) -> None:
    forget(agent)
    words = commands(agent)["perturbation"]
    orders = {**NO_TORCH, "call": "replace", "number": 1, "signal": int(signal.SIGKILL)}
    assert run(words, orders=orders).returncode == -signal.SIGKILL
    left = next(agent.rglob("*.tmp"))
    host, dead, rest = left.name.rsplit("-", 2)
    mine = left.with_name(f"{host}-{os.getpid()}-{rest}")
    elsewhere = left.with_name(f".another_machine-{dead}-{rest}")
    for path in (mine, elsewhere):
        path.write_bytes(b"of another run")
    works(words)
    assert sorted(agent.rglob("*.tmp")) == sorted([mine, elsewhere])


@pytest.mark.slow
def test_random_kills_of_every_script(tmp_path: Path, template: Path) -> None:
    kills = int(os.environ.get("KILLS", "500"))
    seed = int(os.environ.get("KILL_SEED", time.time_ns() % 10**6))
    print(f"KILLS={kills} KILL_SEED={seed}")
    chosen = random.Random(seed)
    share = -(-kills // len(NAMES))
    for name in NAMES:
        agent = Path(shutil.copytree(template, tmp_path / name.replace(" ", "_")))
        forget(agent)
        whole = undisturbed(name, agent)
        words, fresh = commands(agent)[name], snapshot(agent)
        start = time.monotonic()
        assert run(words, process=True).returncode == 0  # as long as the processes that are killed
        length = time.monotonic() - start
        met: dict[str, int] = {}
        for _ in range(share):
            restore(agent, fresh)
            with subprocess.Popen([sys.executable, *words], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                                  env=environment()) as process:  # fmt: skip
                time.sleep(chosen.uniform(0.3, 1.1) * length)
                process.kill()
            state = f"{len(snapshot(agent)) - len(fresh)} new"
            met[state] = met.get(state, 0) + 1
            works(words)
            assert snapshot(agent) == whole, f"{name}, seed {seed}"
        print(f"{name}: {share} kills, all finished with the undisturbed bytes; states met: {met}")


LOOP = """
for agent in agents/*; do
  {python} {root}/activation_extraction.py --agent_path "$agent" --inputs clean_inputs.json --engine fast || exit
  {python} {root}/Neuron_Selection/ExperimentTooling/run_experiments.py --agent_path "$agent" || exit
  {python} {root}/Neuron_Selection/AnalysisTooling/analyze_metrics.py --agent_path "$agent" \\
      --output_dir "$agent/out" || exit
  {python} {root}/activation_patching.py --agent_path "$agent" --direction both --by_input \\
      --patch_spec q_net.0:1,2 --engine fast --output_prefix both || exit
done
"""


@pytest.mark.slow
def test_a_loop_over_ten_agents_that_is_killed_five_times_ends_with_the_undisturbed_bytes(
    tmp_path: Path, template: Path
) -> None:
    seed = int(os.environ.get("KILL_SEED", time.time_ns() % 10**6))
    chosen = random.Random(seed)
    loop = LOOP.format(python=sys.executable, root=ROOT)
    ends, length = {}, 0.0
    for name in ("undisturbed", "killed"):
        place = tmp_path / "run"
        for number in range(10):
            forget(Path(shutil.copytree(template, place / "agents" / f"agent_{number}")))
        for _ in range(5 if name == "killed" else 0):
            with subprocess.Popen(["bash", "-c", loop], cwd=place, env=environment(), start_new_session=True,
                                  stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:  # fmt: skip
                time.sleep(chosen.uniform(0.1, 0.5) * length)
                os.killpg(process.pid, signal.SIGKILL)
        start = time.monotonic()
        subprocess.run(["bash", "-c", loop], cwd=place, env=environment(), check=True, capture_output=True)
        length = time.monotonic() - start
        ends[name] = snapshot(place)
        shutil.rmtree(place)
    print(f"KILL_SEED={seed}: {len(ends['killed'])} files and folders")
    assert ends["killed"] == ends["undisturbed"]
