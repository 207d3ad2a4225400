"""analyze_metrics.py: from runs to results.csv and cross_metric_summary.json, and all that can be wrong before."""

from __future__ import annotations

import csv
import json
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import activation_patching
from Neuron_Selection.AnalysisTooling import analyze_metrics
from Neuron_Selection.AnalysisTooling.measures import clusters, metrics
from Neuron_Selection.errors import InputError, UsageError
from Neuron_Selection.ExperimentTooling import generate_definitions, run_experiments
from Neuron_Selection.FileFormats.results.cross_metric_summary import load_cross_metric_summary
from tests.made_agents import mlp_agent, planted_agent
from tests.raised import DIFFERENT_RUN, NO_SUCH_FILE, Parts, parts, reports

N_PAIRS = 24
QUICK = ["--resamples", "299"]  # of 8 clusters all 256 flips are taken


def put_inputs(folder: Path, clean: np.ndarray, corrupted: np.ndarray, *, clusters: int | None = None) -> None:
    (folder / "activation_inputs").mkdir(exist_ok=True)
    for name, inputs in (("clean", clean), ("corrupted", corrupted)):
        document = {}
        for number, values in enumerate(inputs.tolist()):
            document[f"env-v0-{81000 + number // 2}-1,{number},0-{number:04d}"] = {
                "input": values, **({"cluster": number % clusters} if clusters else {})
            }  # fmt: skip
        (folder / "activation_inputs" / f"{name}_inputs.json").write_text(json.dumps(document))


@pytest.fixture(scope="module")
def swept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Input 0 decides through neuron 0 (0.7) and neuron 1 (0.3); 2 sees only input 1, 3 is dead, 4 constant."""
    hidden = ([[1, 0], [1, 0], [0, 1], [0, -1], [0, 0]], [0, 0, 0, -50, 1])
    output = ([[0.7, 0.3, 0.0, 1, 1], [0, 0, 0.001, 0, 1]], [0.0, 0.5])
    folder = planted_agent(tmp_path_factory.mktemp("swept") / "agent", [hidden, output])
    random = np.random.default_rng(0)
    clean, corrupted = np.ones((N_PAIRS, 2)), np.zeros((N_PAIRS, 2))
    clean[:, 1], corrupted[:, 1] = random.uniform(0.1, 1, (2, N_PAIRS))
    put_inputs(folder, clean, corrupted, clusters=8)
    assert run_experiments.main(["--agent_path", str(folder), "--by_input", "--quiet"]) == 0
    return folder


@pytest.fixture
def agent(swept: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(swept, tmp_path / "agent"))


def analyse(agent: Path, *words: str) -> int:
    return analyze_metrics.main(["--agent_path", str(agent), *QUICK, *words])


def results_table(path: Path) -> list[dict[str, Any]]:
    """The rows of ``results.csv``: text where the column holds text, else numbers, None for empty cells."""
    text = {"experiment", "direction", "patch", "source", "target", "flag"}
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    return [
        {name: cell if name in text else float(cell) if cell else None for name, cell in row.items()} for row in rows
    ]


def outputs(agent: Path) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    folder = agent / "patching_results"
    return results_table(folder / "results.csv"), json.loads((folder / "cross_metric_summary.json").read_text())


def test_planted_neurons_come_out_in_their_order_with_their_effects(
    agent: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert analyse(agent) == 0
    out, _ = capsys.readouterr()
    table, summary = outputs(agent)
    assert len(table) == 2 * 5
    for direction in ("denoising", "noising"):
        rows = [row for row in table if row["direction"] == direction]
        assert [row["experiment"] for row in rows] == [f"exp_{n}_q_net.0" for n in range(1, 6)]
        assert [row["effect"] for row in rows[:2]] == pytest.approx([0.7, 0.3], abs=1e-3)
        assert [row["effect"] for row in rows[3:]] == [0.0, 0.0]
        assert [row["flag"] for row in rows] == ["", "", "", "dead", "constant"]
        assert [row["flips"] for row in rows] == [N_PAIRS, 0, 0, 0, 0]
        assert [row["matches"] for row in rows] == [N_PAIRS, 0, 0, 0, 0]
        assert {(row["n"], row["contrast_pairs"], row["clusters"]) for row in rows} == {(N_PAIRS, N_PAIRS, 8)}
        assert rows[0]["interval_low"] <= rows[0]["effect"] <= rows[0]["interval_high"]
        assert rows[0]["p"] <= 2 / 2**7
        assert rows[0]["q"] == pytest.approx(5 * rows[0]["p"] / 2)
        assert rows[3]["p"] == rows[3]["q"] == 1.0
        assert rows[0]["control_p"] == pytest.approx(1 / 5)
    assert list(summary["common_neurons"]) == ["exp_1_q_net.0", "exp_2_q_net.0", "exp_3_q_net.0"]
    first = summary["common_neurons"]["exp_1_q_net.0"]
    assert first["patch"] == {"q_net.0": [0]}
    assert first["final_average_importance"] == pytest.approx(0.7, abs=1e-3)
    assert first["margin_recovery"].keys() == {"denoising"}
    assert first["margin_damage"]["noising"]["rank"] == 1
    assert first["action_flip"] == {way: {"value": 1.0, "rank": 1} for way in ("denoising", "noising")}
    assert summary["common_count"] == 3
    assert summary["metrics_info"]["action_flip"]["common_count"] == 1
    assert summary["summary_statistics"]["cannot_matter"] == {"constant": 1, "dead": 1}
    loaded = load_cross_metric_summary(agent / "patching_results" / "cross_metric_summary.json")
    assert [neuron.position for neuron in loaded.neurons] == [1, 2, 3]
    lines = out.splitlines()
    assert next(line for line in lines if line.startswith("   1  ")).split()[1:3] == ["q_net.0:0", "0.6999"]
    assert "denoising: source clean_inputs.json, target corrupted_inputs.json" in lines
    assert "cannot matter: 1 constant, 1 dead" in lines
    assert any(line.startswith("8 clusters with contrast: below 40") for line in lines)


def added(baseline: np.ndarray, patched: np.ndarray, source: np.ndarray | None = None) -> np.ndarray:
    return np.full(len(patched), 0.25)


@pytest.mark.parametrize("table", ["OF_ITSELF", "OF_THE_PAIR"])
def test_an_added_metric_is_in_the_summary_and_has_its_column(
    table: str, agent: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(getattr(metrics, table), "added_metric", added)
    assert analyse(agent, "--overwrite") == 0
    rows, summary = outputs(agent)
    assert {row["added_metric"] for row in rows} == {0.25}
    assert "added_metric" in summary["metrics_info"]
    assert summary["common_neurons"]["exp_1_q_net.0"]["added_metric"]["noising"]["value"] == 0.25


def test_results_by_input_say_the_same_as_the_sweep(agent: Path, tmp_path: Path) -> None:
    assert analyse(agent) == 0
    table, summary = outputs(agent)
    assert analyse(agent, "--by_input", "--overwrite") == 0
    same_table, same_summary = outputs(agent)
    for one, other in zip(table, same_table, strict=True):
        assert {**one, "flag": bool(one["flag"])} == {**other, "flag": bool(other["flag"])}
    assert summary["common_neurons"] == same_summary["common_neurons"]
    of_others(agent)
    for file in (agent / "patching_results").glob("*oising/*.json"):
        stored = json.loads(file.read_text())
        for number, name in enumerate(list(stored)):
            experiment = stored.pop(name)
            del experiment["input_id"], experiment["results"]["source_output"]
            experiment["results"]["action_changed"] = str(experiment["results"]["action_changed"])
            stored[f"q_net.0_neuron_{number}"] = experiment
        file.write_text(json.dumps(stored))
    (agent / "agent.zip").unlink()
    assert analyse(agent, "--by_input", "--overwrite") == 0
    published_table, published_summary = outputs(agent)
    assert [row["effect"] for row in published_table] == [row["effect"] for row in table]
    assert list(published_summary["common_neurons"]) == list(summary["common_neurons"])
    assert published_table[0]["clusters"] == 8
    assert analyse(agent, "--by_input", "--cluster_by", "id_seed", "--overwrite") == 0
    assert outputs(agent)[0][0]["clusters"] == N_PAIRS // 2


def test_a_published_file_is_analysed_without_its_agent(
    published_files: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "patching_results" / "denoising"
    folder.mkdir(parents=True)
    shutil.copy(published_files / "agent159_denoising_81102_1_1_1_0006.json", folder)
    assert analyze_metrics.main(["--agent_path", str(tmp_path), "--by_input", "--cluster_by", "id_seed"]) == 0
    out, _ = capsys.readouterr()
    assert "the other run of each pair is unknown, so recovery and damage are undefined" in out
    table, summary = outputs(tmp_path)
    assert [row["patch"] for row in table] == [
        "features_extractor.mlp.0:0", "q_net.0:10", "q_net.0:12", "q_net.0:13"
    ]  # fmt: skip
    assert table[0]["effect"] is None
    assert table[0]["contrast_pairs"] is None
    assert table[0]["flag"] == "unmoved"
    assert summary["methodology"]["ranked_by"] == "advantage_shift"
    assert "exp_3_q_net.0" in summary["common_neurons"]


def test_without_contrast_the_files_are_valid_and_the_reason_is_printed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    agent = mlp_agent(tmp_path / "agent", width=2, net_arch=[3])
    clean = np.random.default_rng(0).uniform(-1, 1, (5, 2))
    put_inputs(agent, clean, clean * 1.0001)
    assert run_experiments.main(["--agent_path", str(agent)]) == 0
    assert "no contrast pair: clean and corrupted runs choose the same action everywhere" in capsys.readouterr().out
    assert analyse(agent) == 0
    out, _ = capsys.readouterr()
    assert "no contrast pair: clean and corrupted runs act alike in all 5 pairs" in out
    assert "record_inputs.py and make_pairs.py" in out
    assert "neurons are ranked by advantage_shift instead" in out
    table, summary = outputs(agent)
    assert all(row["effect"] is None and row["q"] is None for row in table)
    assert summary["methodology"]["ranked_by"] == "advantage_shift"
    assert summary["common_neurons"]
    assert analyse(agent, "--q_threshold", "0.1", "--overwrite") == 0
    assert "no important neuron: without contrast there is no q to compare with" in capsys.readouterr().out
    empty = load_cross_metric_summary(agent / "patching_results" / "cross_metric_summary.json")
    assert empty.neurons == ()
    put_inputs(agent, clean, clean)
    for main in (run_experiments.main, analyze_metrics.main):
        assert main(["--agent_path", str(agent), "--overwrite"]) == 0
    assert "no important neuron: no patch changed anything" in capsys.readouterr().out
    assert outputs(agent)[1]["common_neurons"] == {}


def test_the_threshold_keeps_only_neurons_of_small_q(agent: Path) -> None:
    assert analyse(agent, "--q_threshold", "0.05") == 0
    _, summary = outputs(agent)
    assert list(summary["common_neurons"]) == ["exp_1_q_net.0", "exp_2_q_net.0"]
    assert all(neuron["q"] <= 0.05 for neuron in summary["common_neurons"].values())
    assert analyse(agent, "--max_neurons", "1", "--overwrite") == 0
    assert outputs(agent)[1]["common_count"] == 1


def test_published_metrics_are_offered_and_rank_only_where_the_margin_is_left_out(agent: Path) -> None:
    from Neuron_Selection.AnalysisTooling.measures.published_metrics import kl_divergence

    assert analyse(agent, "--metrics", "margin_recovery", "kl_divergence") == 0
    table, summary = outputs(agent)
    neuron = summary["common_neurons"]["exp_1_q_net.0"]
    assert set(neuron) == {"patch", "rank", "final_average_importance", "q", "margin_recovery", "kl_divergence"}
    assert summary["methodology"]["ranked_by"] == "margin"
    with np.load(agent / "patching_results" / "sweep.npz") as sweep:
        expected = kl_divergence(sweep["corrupted_q_values"], sweep["denoising_q_net.0"][:, 0]).mean()
    assert neuron["kl_divergence"]["denoising"]["value"] == pytest.approx(expected)
    assert float(table[0]["kl_divergence"]) == pytest.approx(expected)
    assert analyse(agent, "--metrics", "kl_divergence", "top_logit_delta_magnitude", "--overwrite") == 0
    _, summary = outputs(agent)
    assert summary["methodology"]["ranked_by"] == "metrics"
    top = summary["common_neurons"]["exp_1_q_net.0"]  # first by KL both ways, by the top Q-value in noising only
    assert top["final_average_importance"] == pytest.approx((1 + 0.5) / 2)


def test_the_same_analysis_again_is_left_alone_and_another_is_refused(
    agent: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert analyse(agent) == 0
    folder = agent / "patching_results"
    before = {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in folder.glob("*.*")}
    capsys.readouterr()
    assert analyse(agent) == 0
    assert "up to date, left as they are" in capsys.readouterr().err
    with reports(InputError, file="results.csv", problem=DIFFERENT_RUN):
        assert analyse(agent, "--seed", "1") == 2
    assert before == {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in folder.glob("*.*")}
    assert analyse(agent, "--overwrite") == 0
    assert {path: data for path, (data, _) in before.items()} == {p: p.read_bytes() for p in folder.glob("*.*")}


def test_a_summary_of_others_is_not_written_over(agent: Path) -> None:
    theirs = agent / "patching_results" / "cross_metric_summary.json"
    theirs.write_text('{"common_neurons": {}}')
    with reports(InputError, file=theirs, problem=DIFFERENT_RUN):
        assert analyse(agent) == 2
    assert theirs.read_text() == '{"common_neurons": {}}'
    assert not (agent / "patching_results" / "results.csv").exists()


def test_experiments_of_several_neurons_are_in_the_table_only(agent: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (agent / "sets.json").write_text('[{"q_net.0": [0, 1]}, {"q_net.0": [1, 2]}, {"q_net.0": "all"}]')
    words = ["--definitions", "sets.json", "--output_prefix", "sets", "--direction", "denoising"]
    assert run_experiments.main(["--agent_path", str(agent), *words]) == 0
    assert analyse(agent, "--sweep", "sets.npz") == 0
    out, _ = capsys.readouterr()
    assert "3 experiments of several neurons are in results.csv only" in out
    assert "no important neuron: no experiment patches a single one" in out
    table, summary = outputs(agent)
    assert [row["effect"] for row in table] == pytest.approx([1.0, 0.3, 1.0], abs=2e-3)
    assert [row["control_sets"] for row in table] == [1, 1, 0]
    assert summary["common_neurons"] == {}


def test_sets_of_different_sizes_have_no_control_which_is_reported(
    agent: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (agent / "sets.json").write_text('[{"q_net.0": [0, 1]}, {"q_net.0": [1, 2, 3]}, {"q_net.0": "all"}]')
    assert run_experiments.main(["--agent_path", str(agent), "--definitions", "sets.json", "--overwrite"]) == 0
    assert analyse(agent) == 0
    reported = "3 of 3 experiments have no control: no other patches as many neurons of the same layers"
    hint = "(generate_definitions.py --random_sets adds such sets; of a whole layer there is one only)"
    assert f"{reported} {hint}" in capsys.readouterr().out
    specs = ["--type", "custom", "--patch_spec", "q_net.0:0,1", "q_net.0:1,2,3", "--random_sets", "2"]
    output = str(agent / "with_control.json")
    assert generate_definitions.main(["--agent_path", str(agent), *specs, "--output", output]) == 0
    assert "with_control.meta.json lists the random sets" in capsys.readouterr().err
    assert run_experiments.main(["--agent_path", str(agent), "--definitions", output, "--overwrite"]) == 0
    assert analyse(agent, "--overwrite") == 0
    out, _ = capsys.readouterr()
    assert "no control" not in out
    assert "4 random sets are control only: without q, not ranked" in out


@pytest.mark.parametrize("read", [[], ["--by_input"]])
def test_random_sets_have_no_q_and_are_not_ranked(read: list[str], agent: Path) -> None:
    words = ["--type", "custom", "--patch_spec", "q_net.0:1", "q_net.0:2", "--random_sets", "3", "--seed", "1"]
    output = str(agent / "drawn.json")
    assert generate_definitions.main(["--agent_path", str(agent), *words, "--output", output]) == 0
    swept = ["--agent_path", str(agent), "--definitions", output, "--overwrite", "--by_input"]
    assert run_experiments.main(swept) == 0
    assert analyse(agent, *read) == 0
    table, summary = outputs(agent)
    assert {row["patch"] for row in table[4:]} == {"q_net.0:0", "q_net.0:3", "q_net.0:4"}
    assert [row["q"] is None for row in table] == [False] * 4 + [True] * 6
    assert all(row["p"] is not None for row in table)
    assert table[0]["q"] == pytest.approx(min(1.0, 2 * table[0]["p"]))
    assert [row["control_sets"] for row in table] == [3] * 4 + [2] * 6
    assert table[0]["control_p"] == pytest.approx(2 / 4)  # neuron 0 alone does more
    assert list(summary["common_neurons"]) == ["exp_1_q_net.0", "exp_2_q_net.0"]
    assert summary["common_neurons"]["exp_1_q_net.0"]["margin_recovery"]["denoising"]["rank"] == 1
    assert summary["metrics_info"]["margin_recovery"]["total_count"] == 2
    assert summary["summary_statistics"]["total_neurons"] == 2
    assert summary["summary_statistics"]["cannot_matter"] == {}
    assert summary["summary_statistics"]["max_importance_score"] == pytest.approx(0.3, abs=1e-3)
    assert summary["methodology"]["random_sets"] == ["exp_3_q_net.0", "exp_4_q_net.0", "exp_5_q_net.0"]
    assert summary["methodology"]["q"].startswith("Benjamini-Hochberg over all experiments but the random sets")


def test_random_sets_of_activation_patching_are_known_too(agent: Path) -> None:
    words = ["--type", "custom", "--patch_spec", "q_net.0:1", "--random_sets", "2"]
    output = str(agent / "drawn.json")
    assert generate_definitions.main(["--agent_path", str(agent), *words, "--output", output]) == 0
    patched = ["--direction", "both", "--patches_file", output, "--by_input", "--overwrite", "--engine", "fast"]
    assert activation_patching.main(["--agent_path", str(agent), *patched]) == 0
    assert analyse(agent, "--by_input") == 0
    assert [row["q"] is None for row in outputs(agent)[0]] == [False] * 2 + [True] * 4


def test_a_metric_that_is_alike_everywhere_ranks_nothing_and_does_not_claim_that_nothing_changed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    agent = mlp_agent(tmp_path / "agent", width=2, net_arch=[3])
    clean = np.random.default_rng(0).uniform(-1, 1, (5, 2))
    put_inputs(agent, clean, clean * 1.0001)
    assert run_experiments.main(["--agent_path", str(agent)]) == 0
    capsys.readouterr()
    assert analyse(agent, "--metrics", "matches_source") == 0
    out, err = capsys.readouterr()
    assert "no important neuron: by matches_source no experiment differs from the others" in out
    assert "no patch changed anything" not in out
    assert "initial_test.py" not in err
    assert "no important neuron, so there are no weights to choose" in err


def test_merged_clusters_are_reported(
    agent: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(clusters, "MOST_CLUSTERS", 4)
    assert analyse(agent) == 0
    assert "8 clusters were merged into 4" in capsys.readouterr().out
    assert outputs(agent)[0][0]["clusters"] == 4


def test_clean_inputs_that_were_asked_for_are_found_in_the_working_directory(
    agent: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    working = tmp_path / "working"
    working.mkdir()
    monkeypatch.chdir(working)
    document = json.loads((agent / "activation_inputs" / "clean_inputs.json").read_text())
    (working / "grouped.json").write_text(json.dumps({key: {**one, "cluster": 1} for key, one in document.items()}))
    assert analyse(agent, "--by_input", "--clean", "grouped.json") == 0
    assert outputs(agent)[0][0]["clusters"] == 1
    (agent / "activation_inputs" / "clean_inputs.json").unlink()
    assert analyse(agent, "--by_input", "--overwrite") == 0
    assert "each input alone" in capsys.readouterr().out


def several_baselines(agent: Path) -> None:
    path = min((agent / "patching_results" / "denoising").glob("*.json"))
    stored = json.loads(path.read_text())
    stored["exp_2_q_net.0"]["results"]["baseline_output"][0][0] += 1
    path.write_text(json.dumps(stored))
    (agent / "patching_results" / "denoising.meta.json").unlink()  # as results of others, which have none


def truncate(agent: Path) -> None:
    path = agent / "patching_results" / "sweep.npz"
    path.write_bytes(path.read_bytes()[:2000])


def other_agent(agent: Path) -> None:
    mlp_agent(agent, width=2, net_arch=[5])


def of_others(agent: Path) -> None:
    """Results by input without the metadata that hold their hashes."""
    for path in (agent / "patching_results").glob("*oising.meta.json"):
        path.unlink()


def edited(agent: Path) -> None:
    path = min((agent / "patching_results" / "noising").glob("*.json"))
    path.write_text(path.read_text().replace('"patched_action": 0', '"patched_action": 1', 1))


def other_ids(agent: Path) -> None:
    of_others(agent)
    next((agent / "patching_results" / "noising").glob("*.json")).unlink()


def other_patches(agent: Path) -> None:
    of_others(agent)
    path = sorted((agent / "patching_results" / "noising").glob("*.json"))[3]
    stored = json.loads(path.read_text())
    stored.pop("exp_2_q_net.0")
    path.write_text(json.dumps(stored))


def with_source(*source: Any) -> Any:
    def change(agent: Path) -> None:
        of_others(agent)
        path = min((agent / "patching_results" / "noising").glob("*.json"))
        stored = json.loads(path.read_text())
        stored["exp_2_q_net.0"]["results"]["source_output"] = [list(source)]
        path.write_text(json.dumps(stored))

    return change


def with_text(agent: Path) -> None:
    of_others(agent)
    path = min((agent / "patching_results" / "noising").glob("*.json"))
    stored = json.loads(path.read_text())
    stored["exp_2_q_net.0"]["results"]["patched_output"] = [["1.0", 2.0]]
    path.write_text(json.dumps(stored))


def with_nan(agent: Path) -> None:
    of_others(agent)
    path = min((agent / "patching_results" / "denoising").glob("*.json"))
    path.write_text(path.read_text().replace('"self_regret": ', '"self_regret": NaN, "x": ', 1))


FAULTS: dict[str, tuple[Any, list[str], Parts]] = {
    "no sweep": (
        lambda agent: (agent / "patching_results" / "sweep.npz").unlink(),
        [],
        parts(file="sweep.npz", problem=NO_SUCH_FILE),
    ),
    "no results": (
        lambda agent: shutil.rmtree(agent / "patching_results"),
        ["--by_input"],
        parts(file="patching_results", problem="contains no *.json in denoising/ or noising/"),
    ),
    "another agent": (
        other_agent,
        [],
        parts(
            file="sweep.npz",
            field="weights_sha256",
            found=re.compile("patched runs of the agent [0-9a-f]{12}"),
            expected=re.compile("runs of this agent, [0-9a-f]{12}"),
        ),
    ),
    "truncated": (truncate, [], parts(file="sweep.npz", found="a truncated or damaged zip", expected="a sweep")),
    "unknown metric": (lambda _: None, ["--metrics", "importance"], parts(names=["'importance'"])),
    "twice": (lambda _: None, ["--metrics", "action_flip", "action_flip"], parts(names=["metric action_flip"])),
    "max_neurons 0": (lambda _: None, ["--max_neurons", "0"], parts(names=["--max_neurons", "'0'"])),
    "q nan": (
        lambda _: None,
        ["--q_threshold", "nan"],
        parts(field="q_threshold", found="nan", expected="a number from 0 to 1"),
    ),
    "q text": (lambda _: None, ["--q_threshold", "x"], parts(names=["--q_threshold", "'x'"])),
    "q 2": (
        lambda _: None,
        ["--q_threshold", "2"],
        parts(field="q_threshold", found="2", expected="a number from 0 to 1"),
    ),
    "confidence": (
        lambda _: None,
        ["--confidence", "1"],
        parts(field="confidence", found="1", expected="a number between 0 and 1"),
    ),
    "cluster_by": (lambda _: None, ["--cluster_by", "seed"], parts(names=["--cluster_by", "'seed'"])),
    "edited": (
        edited,
        ["--by_input"],
        parts(file="env_v0_81000_1_0_0_0000.json", problem="was changed after it was written"),
    ),
    "source text": (
        with_source("a", 1.0),
        ["--by_input"],
        parts(file="env_v0_81000_1_0_0_0000.json", field="source_output", found="'a'", expected="numbers"),
    ),
    "source huge": (
        with_source(10**400, 1.0),
        ["--by_input"],
        parts(
            file="env_v0_81000_1_0_0_0000.json", field="source_output", found="an integer too large", expected="numbers"
        ),
    ),
    "source nested": (
        with_source([1.0], [2.0]),
        ["--by_input"],
        parts(
            file="env_v0_81000_1_0_0_0000.json",
            field="source_output",
            found="lists of unequal lengths",
            expected="a full array",
        ),
    ),
    "other ids": (
        other_ids,
        ["--by_input"],
        parts(file="noising", field="input ids", names=["denoising ('env-v0-81009-1,18,0-0018')"]),
    ),
    "other patches": (
        other_patches,
        ["--by_input"],
        parts(
            file="env_v0_81001_1_3_0_0003.json",
            field="'exp_2_q_net.0'",
            problem="the experiment differs from the first file",
        ),
    ),
    "text": (
        with_text,
        ["--by_input"],
        parts(
            file="env_v0_81000_1_0_0_0000.json",
            field="'exp_2_q_net.0'.patched_output[0][0]",
            found="'1.0'",
            expected="a finite number",
        ),
    ),
    "several baselines": (
        several_baselines,
        ["--by_input"],
        parts(
            file="env_v0_81000_1_0_0_0000.json",
            field="baseline_output",
            problem="differs between experiments on the same input",
        ),
    ),
    "no such clean": (
        lambda _: None,
        ["--by_input", "--clean", "typo.json"],
        parts(file="typo.json", problem=NO_SUCH_FILE),
    ),
    "no such path": (
        lambda _: None,
        ["--by_input", "--clean", "./in/typo.json"],
        parts(file="typo.json", problem="no such file"),
    ),
    "clean of a sweep": (lambda _: None, ["--clean", "clean_inputs.json"], parts(flags=["--clean", "--by_input"])),
    "two sources": (lambda _: None, ["--by_input", "--sweep", "sweep.npz"], parts(flags=["--sweep", "--by_input"])),
    "NaN": (
        with_nan,
        ["--by_input"],
        parts(
            file="env_v0_81000_1_0_0_0000.json",
            field="'exp_1_q_net.0'.patch_analysis.self_regret",
            found="the literal NaN",
            expected="finite numbers",
        ),
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_faults_get_one_line_and_nothing_is_written(
    fault: str, agent: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    spoil, words, error = FAULTS[fault]
    spoil(agent)
    before = {path: path.read_bytes() for path in agent.rglob("*") if path.is_file()}
    capsys.readouterr()
    with reports(InputError if "file" in error else UsageError, **error):
        assert analyse(agent, *words) == 2
    out, err = capsys.readouterr()
    lines = err.splitlines()
    assert out == ""
    assert len(lines) == 1
    assert lines[0].startswith("error: ")
    assert len(lines[0]) <= 410
    assert {path: path.read_bytes() for path in agent.rglob("*") if path.is_file()} == before


@pytest.mark.parametrize("replaced", [1, 2])
def test_an_analysis_interrupted_between_its_files_is_resumed(
    replaced: int, agent: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = Path(shutil.copytree(agent, tmp_path / "whole"))
    assert analyse(whole) == 0
    calls = []
    replace = Path.replace

    def stopped(old: Path, new: Path) -> None:
        if len(calls) == replaced:
            raise KeyboardInterrupt
        calls.append(new)
        replace(old, new)

    with monkeypatch.context() as interrupted:
        interrupted.setattr(Path, "replace", stopped)
        assert analyse(agent) == 130
    assert not (agent / "patching_results" / "results.csv").exists()
    assert analyse(agent) == 0
    for name in ("results.csv", "cross_metric_summary.json"):
        one, other = (folder / "patching_results" / name for folder in (agent, whole))
        assert one.read_text().replace(str(agent), "") == other.read_text().replace(str(whole), "")
