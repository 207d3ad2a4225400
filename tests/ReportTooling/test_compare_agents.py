"""Many agents in one table: its numbers are those of their files, groups, and what agents miss."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from Neuron_Selection.errors import InputError, UsageError
from ReportTooling.reports import compare_agents
from tests.conftest import ROOT
from tests.in_process import in_process
from tests.ReportTooling.conftest import EXAMPLE, table_in, text_of, values_in

PPO = ROOT / "examples" / "lava_crossing" / "ppo"


@pytest.fixture
def folders(with_results: Path, tmp_path: Path) -> list[Path]:
    """An agent with results, and one without."""
    shutil.copytree(with_results, tmp_path / "dqn_1", ignore=shutil.ignore_patterns("report"))
    shutil.copytree(PPO, tmp_path / "ppo_1")
    return [tmp_path / "dqn_1", tmp_path / "ppo_1"]


def rows_of(path: Path) -> dict[str, dict[str, str]]:
    with path.open() as file:
        return {row["agent"]: row for row in csv.DictReader(file)}


def test_the_table_and_the_page_hold_what_the_files_hold(folders: list[Path], tmp_path: Path) -> None:
    compared = compare_agents(folders, output_dir=tmp_path / "out")
    row = rows_of(compared.table)["dqn_1"]
    with (folders[0] / "patching_results" / "results.csv").open() as file:
        results = list(csv.DictReader(file))
    sizes: dict[str, list[float]] = {}
    for one in results:
        sizes.setdefault(one["patch"], []).append(abs(float(one["effect"])))
    importance = {patch: float(np.mean(both)) for patch, both in sizes.items()}
    best = max(importance, key=importance.get)
    sets = json.loads((folders[0] / "patching_results" / "minimal_sets.json").read_text())
    assert row["top_neuron"] == best
    assert float(row["top_effect"]) == importance[best]
    assert float(row["top_share"]) == pytest.approx(importance[best] / sum(importance.values()))
    assert int(row["dead_neurons"]) == len({one["patch"] for one in results if one["flag"]})
    assert int(row["neurons"]) == 256
    assert int(row["parameters"]) == 151 * 128 + 128 + 128 * 128 + 128 + 128 * 3 + 3
    assert float(row["sufficient_neurons"]) == sets["denoising"]["q_net.3"]["summary"]["median_size"]
    assert float(row["necessary_neurons"]) == sets["noising"]["q_net.3"]["summary"]["median_size"]
    shown = next(cells for cells in table_in(compared.page.read_text(), "agents") if text_of(cells[0]) == "dqn_1")
    columns = ("parameters", "neurons", "dead_neurons", "pairs", "contrast_pairs", "sufficient_neurons")
    assert [values_in(cell)[0] for cell in shown[2:8]] == [float(row[name]) for name in columns]


def test_an_agent_that_misses_steps_is_listed_with_its_commands(folders: list[Path], tmp_path: Path) -> None:
    script = str(ROOT / "ReportTooling" / "compare_agents.py")
    run = in_process([script, *map(str, folders), "--output_dir", str(tmp_path / "out"), "--json"])
    assert run.returncode == 0, run.stderr
    document = json.loads(run.stdout)
    assert document["not_run"] == {"ppo_1": ["sweep", "analysis", "minimal_sets", "rollouts"]}
    row = rows_of(Path(document["table"]))["ppo_1"]
    assert (row["algorithm"], row["neurons"], row["not_run"]) == ("PPO", "", "sweep analysis minimal_sets rollouts")
    html = Path(document["page"]).read_text()
    assert f"find_minimal_sets.py --agent_path {folders[1]}" in html
    assert f"run_rollouts.py --agent_path {folders[1]} --from cross_metric_summary.json --frames --env ENV" in html
    again = compare_agents(folders, output_dir=tmp_path / "out")
    assert again.was_up_to_date


@pytest.mark.parametrize("group_by", ["method", r"^([a-z]+)_\d"])
def test_groups_come_from_agent_json_or_from_the_folders_names(
    group_by: str, folders: list[Path], tmp_path: Path
) -> None:
    (folders[0] / "agent.json").write_text('{"method": "dqn"}')
    (folders[1] / "agent.json").write_text('{"method": "ppo"}')
    compared = compare_agents(folders, group_by=group_by, output_dir=tmp_path / "out")
    assert {agent: row["group"] for agent, row in rows_of(compared.table).items()} == {"dqn_1": "dqn", "ppo_1": "ppo"}
    assert [text_of(row[0]) for row in table_in(compared.page.read_text(), "groups")] == ["dqn", "ppo"]


def test_folders_of_the_same_name_are_told_apart_by_their_parents(tmp_path: Path) -> None:
    for run in ("a", "b"):
        (tmp_path / run / "agent").mkdir(parents=True)
        shutil.copy(EXAMPLE / "agent.zip", tmp_path / run / "agent")
    compared = compare_agents([tmp_path / "a" / "agent", tmp_path / "b" / "agent"], output_dir=tmp_path / "out")
    assert list(rows_of(compared.table)) == ["a/agent", "b/agent"]


@pytest.mark.parametrize("group_by", ["method", "(x)(", "(nothing like this)"])
def test_a_group_that_no_agent_has_is_an_error(group_by: str, folders: list[Path], tmp_path: Path) -> None:
    with pytest.raises(UsageError):
        compare_agents(folders, group_by=group_by, output_dir=tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_faults_name_the_file(folders: list[Path], tmp_path: Path) -> None:
    with pytest.raises(InputError) as refused:
        compare_agents([*folders, tmp_path / "nothing"], output_dir=tmp_path / "out")
    assert refused.value.file == str(tmp_path / "nothing")
    with pytest.raises(UsageError):
        compare_agents([folders[0], folders[0]], output_dir=tmp_path / "out")
    table = folders[0] / "patching_results" / "results.csv"
    lines = table.read_text().splitlines()
    cells = lines[1].split(",")
    cells[5] = "nan"
    table.write_text("\n".join([lines[0], ",".join(cells)]))
    with pytest.raises(InputError) as refused:
        compare_agents(folders, output_dir=tmp_path / "out")
    assert (refused.value.file, refused.value.field) == (str(table), "line 2: effect")
    assert not (tmp_path / "out").exists()
