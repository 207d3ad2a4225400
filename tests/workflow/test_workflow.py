"""The workflow for many agents: the bytes of a plain loop, failures kept apart, nothing run twice after a kill."""

from __future__ import annotations

import csv
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from gymnasium import spaces

from tests.conftest import ROOT
from tests.made_agents import mlp_agent, new_dqn, save_dqn

pytest.importorskip("snakemake", reason="the extra cluster is not installed (it needs Python 3.11)")

sys.path.insert(0, str(ROOT / "workflow"))
from agent_table import TableError, find_agents, has_smallest_flips

sys.path.pop(0)


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three agents with inputs, and one folder without an agent."""
    runs = tmp_path_factory.mktemp("template") / "runs"
    random = np.random.default_rng(0)
    for number, name in enumerate(("a", "b", "name with 'quotes' $x")):
        folder = mlp_agent(runs / name, seed=number)
        (folder / "activation_inputs").mkdir()
        for kind in ("clean", "corrupted"):
            document = {str(n): {"input": random.uniform(-9, 9, 4).round(3).tolist()} for n in range(12)}
            (folder / "activation_inputs" / f"{kind}_inputs.json").write_text(json.dumps(document))
    (runs / "broken").mkdir()
    return runs


@dataclass(frozen=True, kw_only=True)
class FinishedRun:
    place: Path
    code: int
    stderr: str
    results: dict[str, bytes]
    table: dict[tuple[str, str], tuple[str, str]]


@pytest.fixture(scope="module")
def reference(template: Path, tmp_path_factory: pytest.TempPathFactory) -> FinishedRun:
    """One run of the workflow; the tests below repeat it in the same folder, which the metadata name."""
    place = tmp_path_factory.mktemp("place")
    shutil.copytree(template, place / "runs")
    code, stderr = finished(snakemake(place))
    return FinishedRun(place=place, code=code, stderr=stderr, results=results(place), table=rows(place))


def start_anew(place: Path, template: Path) -> None:
    shutil.rmtree(place / "runs")
    shutil.rmtree(place / ".snakemake", ignore_errors=True)
    shutil.copytree(template, place / "runs")


def snakemake(place: Path, *words: str, agents: str = "runs/*") -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "snakemake", "-s", str(ROOT / "workflow" / "Snakefile"), "--cores", "2", *words]
    command += ["--config", f"agents={agents}", "targets=[flips]"]
    return subprocess.Popen(command, cwd=place, stderr=subprocess.PIPE, text=True, start_new_session=True)


def finished(run: subprocess.Popen[str]) -> tuple[int, str]:
    _, stderr = run.communicate()
    return run.returncode, stderr


def results(place: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(place)): path.read_bytes()
        for path in sorted((place / "runs").rglob("*"))
        if path.is_file() and path.parent.name != "workflow_logs"
    }


def rows(place: Path) -> dict[tuple[str, str], tuple[str, str]]:
    with (place / "workflow_summary.csv").open(newline="") as file:
        return {(row["agent"], row["step"]): (row["status"], row["reason"]) for row in csv.DictReader(file)}


def test_a_broken_agent_stops_no_other_and_is_named_in_the_summary(reference: FinishedRun, template: Path) -> None:
    assert reference.code == 1
    failed = {key: reason for key, (status, reason) in reference.table.items() if status == "failed"}
    assert set(failed) == {("runs/broken", "sweep")}
    assert "runs/broken" in failed["runs/broken", "sweep"]
    assert f"failed: runs/broken: sweep: {failed['runs/broken', 'sweep']}\n" in reference.stderr
    assert reference.table["runs/broken", "flips"] == ("not run", "")
    done = {agent for (agent, step), (status, _) in reference.table.items() if (step, status) == ("flips", "ran")}
    assert done == {f"runs/{folder.name}" for folder in template.iterdir() if folder.name != "broken"}


def test_the_loop_writes_the_same_bytes_as_the_workflow(reference: FinishedRun, template: Path) -> None:
    start_anew(reference.place, template)
    agents = sorted(f"runs/{folder.name}" for folder in template.iterdir())
    loop = ["bash", str(ROOT / "examples" / "bash" / "many_agents.sh"), *agents]
    environment = {**os.environ, "JOBS": "2", "PYTHON": sys.executable, "STEPS": "sweep analysis saliency flips"}
    done = subprocess.run(loop, cwd=reference.place, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.startswith("failed: runs/broken: sweep: ")
    assert sorted(done.stdout.splitlines()) == [f"done: {agent}" for agent in agents if agent != "runs/broken"]
    assert results(reference.place) == reference.results
    assert any(name.endswith("smallest_flips.json") for name in reference.results)
    before = {path: path.stat().st_mtime_ns for path in reference.place.glob("runs/*/*/*.*") if path.suffix != ".log"}
    again = subprocess.run([*loop[:3], agents[-1]], cwd=reference.place, env=environment, check=False)
    assert again.returncode == 0
    assert {path: path.stat().st_mtime_ns for path in before} == before
    for wrong in (loop[:2], [*loop[:2], "runs/a"]):
        steps = {"STEPS": "swep"} if len(wrong) > 2 else {}
        assert subprocess.run(wrong, env=environment | steps, capture_output=True, check=False).returncode == 2


def test_a_killed_run_is_finished_by_the_next_and_what_was_done_is_not_done_again(
    reference: FinishedRun, template: Path
) -> None:
    place = reference.place
    start_anew(place, template)
    run = snakemake(place)
    while not list(place.glob("runs/*/patching_results/results.csv")):
        assert run.poll() is None, finished(run)
        time.sleep(0.05)
    os.killpg(run.pid, signal.SIGKILL)
    run.communicate()
    sweeps = {path: path.stat().st_mtime_ns for path in place.glob("runs/*/patching_results/sweep.npz")}
    assert finished(snakemake(place, "--unlock"))[0] == 0
    assert finished(snakemake(place))[0] == 1
    assert results(place) == reference.results
    analysed = next(path for path in sweeps if (path.parent / "results.csv").stat().st_mtime_ns > sweeps[path])
    assert analysed.stat().st_mtime_ns == sweeps[analysed]
    table = rows(place)
    assert "up to date" in {status for status, _ in table.values()}
    assert {key for key, (status, _) in table.items() if status == "failed"} == {("runs/broken", "sweep")}


@pytest.fixture
def place(template: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    shutil.copytree(template, tmp_path / "runs")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_table_gives_single_agents_their_flags(place: Path) -> None:
    (place / "agents.csv").write_text(
        'folder,env,env_kwargs,wrapper,vecnormalize\nruns/a,CartPole-v1,"\'length=""a b""\'",,\nruns/b,,,,norm.pkl\n'
    )
    found = find_agents("runs/?", "agents.csv")
    assert list(found) == ["runs/a", "runs/b"]
    assert found["runs/a"].environment == "--env CartPole-v1 --env_kwargs 'length=\"a b\"'"
    assert (found["runs/a"].loading, found["runs/b"].loading) == ("", "--vecnormalize norm.pkl")
    assert list(find_agents([], "agents.csv")) == ["runs/a", "runs/b"]


@pytest.mark.parametrize(
    ("pattern", "table", "named"),
    [
        ("nothing/*", None, "nothing/*"),
        ("odd/*", None, "odd/{a}"),
        ("runs/*", "folder\nruns/missing\n", "runs/missing"),
        ("runs/a", "folder\nruns/b\n", "runs/b"),
        ("runs/*", "folder,colour\nruns/a,red\n", "colour"),
        ("runs/*", "env\nCartPole-v1\n", "line 2"),
        ("runs/*", "folder\nruns/a\nruns/a\n", "line 3"),
    ],
)
def test_a_table_or_pattern_that_names_no_agent_is_an_error(
    place: Path, pattern: str, table: str | None, named: str
) -> None:
    (place / "odd" / "{a}").mkdir(parents=True)
    if table is not None:
        (place / "agents.csv").write_text(table)
    with pytest.raises(TableError) as error:
        find_agents(pattern, "agents.csv" if table is not None else None)
    assert named in str(error.value)


def test_a_dry_run_for_slurm_puts_the_steps_of_an_agent_into_one_job(place: Path) -> None:
    pytest.importorskip("snakemake_executor_plugin_slurm")
    profile = str(ROOT / "workflow" / "profiles" / "slurm")
    code, stderr = finished(snakemake(place, "--profile", profile, "--dry-run", agents="runs/a"))
    assert code == 0, stderr


def test_smallest_flips_are_asked_for_only_where_they_apply(place: Path) -> None:
    save_dqn(place / "cnn", new_dqn(spaces.Box(0, 255, (36, 36, 3), np.uint8), policy="CnnPolicy"))
    assert [has_smallest_flips(str(place / name)) for name in ("runs/a", "cnn", "runs/broken")] == [True, False, True]
