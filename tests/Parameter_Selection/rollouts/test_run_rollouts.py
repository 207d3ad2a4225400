"""The script: files, exit codes, up-to-date results, pictures, the next command."""

from __future__ import annotations

import csv
import io
import json
import shlex
import shutil
import zipfile
from pathlib import Path

import numpy as np
import pytest

from Neuron_Selection.FileFormats.results.rollouts_file import load_rollouts
from tests.conftest import ROOT
from tests.in_process import in_process
from tests.made_behaviour import GAMMA, grid_agent

SCRIPT = str(ROOT / "Parameter_Selection" / "RolloutTooling" / "run_rollouts.py")


@pytest.fixture
def agent(tmp_path: Path) -> Path:
    return grid_agent(tmp_path / "agent")


def run(agent: Path, *words: str) -> object:
    base = [SCRIPT, "--agent_path", str(agent), "--env", f"{agent / 'grid.py'}:make_env"]
    return in_process([*base, *words], cwd=agent.parent)


def test_a_run_writes_a_document_and_a_table_and_is_left_as_it_is(agent: Path) -> None:
    words = ("--patch_spec", "q_net.0:4", "q_net.0:7", "--episodes", "3", "--max_steps", "40", "--trajectories")
    first = run(agent, *words)
    assert first.returncode == 0, first.stderr
    folder = agent / "rollout_results"
    with (folder / "rollouts.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["experiment"] for row in rows] == ["baseline", "exp_1_q_net.0", "exp_2_q_net.0"]
    assert [row["return"] for row in rows] == ["1.0", "0.0", "1.0"]
    document = load_rollouts(folder / "rollouts.json")
    assert document["experiments"][0]["length"] == 40.0
    assert [row["class"] for row in document["experiments"]] == ["decisions only", "no effect"]  # 3 seeds show nothing
    assert json.loads((folder / "rollouts.meta.json").read_text())["run"]["episodes"] == 3
    before = {path: path.read_bytes() for path in folder.iterdir()}
    again = run(agent, *words)
    assert "up to date" in again.stderr
    assert before == {path: path.read_bytes() for path in folder.iterdir()}
    other = run(agent, *words, "--seed", "1")
    assert other.returncode == 2
    assert before == {path: path.read_bytes() for path in folder.iterdir()}


def test_exact_results_have_a_row_and_arrays_for_every_state(agent: Path) -> None:
    found = run(agent, "--exact", "--neurons", "all", "--gamma", str(GAMMA), "--json")
    assert found.returncode == 0, found.stderr
    summary = json.loads(found.stdout)
    assert summary["classes"]["behaviour"] == 4
    folder = agent / "rollout_results"
    with (folder / "rollouts_exact_states.csv").open() as file:
        states = list(csv.DictReader(file))
    assert len(states) == 24
    assert {row["class"] for row in states} == {"goal"}
    with np.load(folder / "rollouts_exact_states.npz") as arrays:
        assert arrays["values"].shape == (26, 24)
        assert arrays["values"][0, 0] == pytest.approx(GAMMA**7, abs=1e-12)
        place = arrays["experiments"].tolist().index("exp_5_q_net.0")
        assert arrays["classes"][place, 0] == 2  # a loop in front of the wall


def test_the_next_command_can_be_pasted(agent: Path) -> None:
    found = run(agent, "--exact", "--neurons", "all", "--gamma", str(GAMMA))
    following = shlex.split(found.stderr.splitlines()[-1].removeprefix("next: "))
    assert following[0] == "python"
    assert following[-1] == "shown"
    again = in_process([following[1], *following[2:]], cwd=agent.parent)
    assert again.returncode == 0, again.stderr
    assert load_rollouts(agent / "rollout_results" / "shown.json")["experiments"][0]["return"] == 0.0


def test_the_next_command_repeats_the_flags_of_the_episodes_and_ends_with_a_page(agent: Path) -> None:
    words = ["--patch_spec", "q_net.0:4", "--episodes", "2", "--max_steps", "9", "--to_step", "5", "--json"]
    following = shlex.split(json.loads(run(agent, *words).stdout)["next"])
    assert following[following.index("--max_steps") + 1] == "9"
    assert following[following.index("--to_step") + 1] == "5"
    nothing = run(agent, "--neurons", "q_net.0:2", "--ablate", "constant=0", "--json", "--output_prefix", "none")
    assert json.loads(nothing.stdout)["next"] is None


def test_an_episode_is_shown_with_the_step_at_which_the_agents_part(tmp_path: Path) -> None:
    image = pytest.importorskip("PIL.Image")
    shutil.copytree(ROOT / "examples" / "lava_crossing" / "agent", tmp_path / "lava")
    env = f"{ROOT / 'examples' / 'lava_crossing' / 'environment.py'}:make_env"
    found = in_process(
        [SCRIPT, "--agent_path", str(tmp_path / "lava"), "--env", env, "--patch_spec", "q_net.2:1", "--episodes", "5",
         "--max_steps", "20", "--gif", "--frames"], cwd=tmp_path
    )  # fmt: skip
    assert found.returncode == 0, found.stderr
    assert "make_report.py" in found.stderr.splitlines()[-1]
    folder = tmp_path / "lava" / "rollout_results"
    document = load_rollouts(folder / "rollouts.json")
    row = document["experiments"][0]
    assert document["shown"]["experiment"] == row["experiment"]
    assert 0 < document["shown"]["parting"] < 20
    with zipfile.ZipFile(folder / "rollouts_frames.zip") as archive:
        names = archive.namelist()
        last = image.open(io.BytesIO(archive.read(names[-1])))
        colours = [np.asarray(image.open(io.BytesIO(archive.read(name))))[100, 294].tolist() for name in names]
    assert len(names) == 21
    marked = [colour == [214, 39, 40] for colour in colours]
    parting = document["shown"]["parting"]
    assert marked == [0 <= parting <= step for step in range(21)]
    with image.open(folder / "rollouts.gif") as animation:
        assert animation.n_frames > 1
        assert animation.size == last.size


@pytest.mark.parametrize(
    ("words", "code"),
    [
        ([], 2),
        (["--patch_spec", "q_net.0:99"], 2),
        (["--patch_spec", "q_net.0:1", "--ablate", "zero", "--reference_inputs", "clean_inputs.json"], 2),
        (["--patch_spec", "q_net.0:1", "--policy", "sampled"], 2),
        (["--patch_spec", "q_net.0:1", "--gamma", "1", "--exact"], 2),
        (["--patch_spec", "q_net.0:1", "--exact", "--episodes", "3"], 2),
        (["--patch_spec", "q_net.0:1", "--exact", "--ablate", "noise"], 2),
        (["--patch_spec", "q_net.0:1", "--show", "exp_1_q_net.0"], 2),
        (["--patch_spec", "q_net.0:1", "--gif", "--show", "nobody", "--episodes", "1"], 2),
        (["--patch_spec", "q_net.0:1", "--when", "nowhere.py:f"], 2),
        (["--patch_spec", "q_net.0:1", "--success", "anything"], 2),
        (["--patch_spec", "q_net.0:1", "--success", "info[nothing]", "--episodes", "1"], 2),
        (["--patch_spec", "q_net.0:1", "--env", "CartPole-v1"], 2),
        (["--patch_spec", "q_net.0:1", "--episodes", "0"], 2),
    ],
)
def test_what_cannot_be_run_ends_in_one_line_and_leaves_nothing(agent: Path, words: list[str], code: int) -> None:
    base = [SCRIPT, "--agent_path", str(agent)]
    base += [] if "--env" in words else ["--env", f"{agent / 'grid.py'}:make_env"]
    found = in_process([*base, *words], cwd=agent.parent)
    assert found.returncode == code, found.stderr
    assert found.stderr.startswith("error: ")
    assert "Traceback" not in found.stderr
    assert not (agent / "rollout_results").exists()


def test_one_step_importances_of_an_analysis_are_compared_with_behaviour(tmp_path: Path) -> None:
    folder = Path(shutil.copytree(ROOT / "examples" / "lava_crossing" / "agent", tmp_path / "lava"))
    for script in ("ExperimentTooling/run_experiments.py", "AnalysisTooling/analyze_metrics.py"):
        done = in_process([str(ROOT / "Neuron_Selection" / script), "--agent_path", str(folder)], cwd=tmp_path)
        assert done.returncode == 0, done.stderr
    env = f"{ROOT / 'examples' / 'lava_crossing' / 'environment.py'}:make_env"
    base = [SCRIPT, "--agent_path", str(folder), "--env", env, "--episodes", "6"]
    found = in_process([*base, "--neurons", "q_net.2:0-9"], cwd=tmp_path)
    assert found.returncode == 0, found.stderr
    link = load_rollouts(folder / "rollout_results" / "rollouts.json")["link"]["q_net.2"]
    assert set(link) == {"flips_baseline_states", "importance"}
    assert link["importance"]["n"] == 10
    named = [*base, "--from", "cross_metric_summary.json", "--control_sets", "2", "--output_prefix", "named"]
    found = in_process(named, cwd=tmp_path)
    assert found.returncode == 0, found.stderr
    rows = load_rollouts(folder / "rollout_results" / "named.json")["experiments"]
    assert {"important_together", "control_1"} <= {row["experiment"] for row in rows}
    assert all(row["q"] is None for row in rows if row["control_of"])
    assert all(row["control_p"] is not None for row in rows if not row["control_of"])
