"""docs/behaviour_guide.md and the example's section on behaviour: commands run as written, what they say came out."""

from __future__ import annotations

import csv
import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest

from Parameter_Selection.RolloutTooling.episodes.measures import COLUMNS
from Parameter_Selection.RolloutTooling.exact import measures as exact_measures
from tests.conftest import ROOT
from tests.in_process import in_process
from tests.test_docs import walk

GUIDE = (ROOT / "docs" / "behaviour_guide.md").read_text()
EXAMPLE = (ROOT / "examples" / "lava_crossing" / "README.md").read_text()


def document(agent: Path, name: str) -> dict[str, Any]:
    return json.loads((agent / "rollout_results" / f"{name}.json").read_text())


@pytest.fixture(scope="module")
def agent(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return walk(GUIDE, tmp_path_factory.mktemp("behaviour")) / "my_agent"


def test_what_the_guide_says_is_what_came_out(agent: Path) -> None:
    classes = document(agent, "rollouts")["classes"]
    said = re.findall(r"^\| (no effect|decisions only|behaviour) \| .* \| (\d+) \|$", GUIDE, re.MULTILINE)
    assert classes == {name: int(count) for name, count in said}
    exact = document(agent, "rollouts_exact")
    assert exact["states"] == 7056
    assert exact["largest_identity_residual"] < 1e-12
    assert set(document(agent, "named")["link"]["q_net.2"]) == {"flips_baseline_states", "importance"}
    assert (agent / "rollout_results" / "shown.gif").exists()
    for name in ("others", "first_steps"):
        assert document(agent, name)["experiments"]


def test_every_column_is_described(agent: Path) -> None:
    described = set(re.findall(r"`(\w+)`", GUIDE))
    tables = {"rollouts": COLUMNS, "rollouts_exact": exact_measures.COLUMNS,
              "rollouts_exact_states": exact_measures.STATE_COLUMNS}  # fmt: skip
    for name, columns in tables.items():
        with (agent / "rollout_results" / f"{name}.csv").open() as file:
            assert next(csv.reader(file)) == list(columns)
        assert set(columns) <= described, name


def test_what_the_example_says_of_neurons_and_loops_is_what_comes_out(agent: Path) -> None:
    exact = document(agent, "rollouts_exact")
    rows = {row["patch"]: row for row in exact["experiments"]}
    assert sum(row["success"] < 1 for row in rows.values()) == 49
    assert sum(row["states_flipped"] == 0 for row in rows.values()) == 15
    assert sum(row["states_class_changed"] == 0 for row in rows.values()) == 53
    assert not any(row["states_death"] for row in rows.values())
    script = str(ROOT / "Parameter_Selection" / "RolloutTooling" / "run_rollouts.py")
    env = f"{ROOT / 'examples' / 'lava_crossing' / 'environment.py'}:make_env"
    specs = ["q_net.2:all", "q_net.0:all", "q_net.2:19,48", "q_net.0:116;q_net.2:5,19,20,47,48,71,120"]
    words = ["--exact", "--patch_spec", *specs, "--steer", "q_net.0:79=+0.25", "q_net.2:45=+0.25", "q_net.0:39=+2"]
    done = in_process(
        [script, "--agent_path", str(agent), "--env", env, *words, "--output_prefix", "sets"], cwd=agent.parent
    )
    assert done.returncode == 0, done.stderr
    rows |= {row["description"].split(" ", 1)[1]: row for row in document(agent, "sets")["experiments"]}
    table = re.findall(
        r"^\| (?:all of )?`(q_net\S+)` \| ([\d,]+) \| ([\d,]+) \| ([\d,]+) \| ([\d,]+) \|$", EXAMPLE, re.MULTILINE
    )
    assert len(table) == 7
    for spec, *numbers in table:
        row = rows.get(spec) or rows[f"{spec}:all"]
        lost = row["goal_to_loop"] + row["goal_to_death"]
        found = [round(42 * (1 - row["success"])), row["states_loop"], lost, row["states_death"]]
        assert found == [int(number.replace(",", "")) for number in numbers], spec
    table = re.findall(r"^\| (ablate|steer) `(q_net\S+?)`(.*?) \| (\d+) \| (\d+) \| ([\d,]+)", EXAMPLE, re.MULTILINE)
    assert len(table) == 6
    for kind, spec, more, *numbers in table:
        others = "".join(f";{other}" for other in re.findall(r"`(q_net\S+)`", more))
        row = rows[f"{spec}=+0.25" if kind == "steer" else f"{spec}{others}"]
        found = [row["loop_to_goal"], row["goal_to_loop"] + row["goal_to_death"], row["states_goal"]]
        assert found == [int(number.replace(",", "")) for number in numbers], (spec, more)
    assert rows["q_net.0:39=+2"]["states_death"] == 3
    shutil.rmtree(agent / "rollout_results")
