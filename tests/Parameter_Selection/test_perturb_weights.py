"""perturb_weights.py: candidates as input, every number of a record, controls, errors."""

from __future__ import annotations

import csv
import json
import re
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from gymnasium import spaces

from Neuron_Selection.errors import InputError, UsageError
from Neuron_Selection.FileFormats.weights.perturbation_results import load_perturbation_results
from Neuron_Selection.PatchingTooling import OpenedAgent
from Neuron_Selection.PatchingTooling.agent.network import Network, WeightChange
from Parameter_Selection.PerturbationTooling import perturb_weights
from Parameter_Selection.PerturbationTooling.perturbations.controls import least_gradient, random_sets
from Parameter_Selection.PerturbationTooling.weights.targets import WeightTarget, chosen_values, parse_weight_targets
from SaliencyTooling import initial_test
from tests.conftest import ROOT
from tests.made_agents import mlp_agent, new_dqn, planted_agent, save_dqn
from tests.raised import DIFFERENT_RUN, NO_SUCH_FILE, Parts, parts, raises, reports

TARGETS = ["q_net.0.weight[0,1]", "q_net.2.weight[3,2]", "q_net.4.weight[2,5]"]


def with_inputs(agent: Path, *, width: int = 4, count: int = 30) -> Path:
    (agent / "activation_inputs").mkdir()
    random = np.random.default_rng(0)
    inputs = {f"id-{n}": {"input": random.normal(size=width).tolist(), "cluster": n % 10} for n in range(count)}
    (agent / "activation_inputs" / "clean_inputs.json").write_text(json.dumps(inputs))
    return agent


@pytest.fixture
def agent(tmp_path: Path) -> Path:
    return with_inputs(mlp_agent(tmp_path / "agent", seed=4))


def run(agent: Path, *words: str) -> dict[str, Any]:
    assert perturb_weights.main(["--agent_path", str(agent), "--quiet", *words]) == 0
    return load_perturbation_results(agent / "perturbation_results" / "results.json")


def scores_with(network: Network, changes: list[WeightChange], observations: Any) -> np.ndarray:
    with network.with_weights(changes) as changed:
        return changed.scores(observations)


def test_every_number_of_a_record_follows_its_definition(agent: Path) -> None:
    document = run(
        agent, "--weights", "; ".join(TARGETS), "--mode", "add", "--values", "0.5", "-2", "--control_sets", "0"
    )
    opened = OpenedAgent(agent, engine="numpy")
    network = opened.numpy_network
    inputs = opened.inputs("clean_inputs.json")
    q = network.scores(inputs.observations)
    best = q.argmax(axis=1)
    assert [(r["target"], r["value"]) for r in document["results"]] == [
        *((target, value) for target in TARGETS for value in (0.5, -2.0)),
        ("all together", 0.5),
        ("all together", -2.0),
    ]
    assert any(record["flips"] for record in document["results"])
    for record in document["results"]:
        targets = parse_weight_targets("; ".join(TARGETS) if record["target"] == "all together" else record["target"])
        edits, predicted = [], np.zeros(len(q))
        for t in targets:
            before = opened.online_weights[t.parameter][t.row, t.column]
            after = float(np.float32(float(before) + record["value"]))
            edits.append(WeightChange(parameter=t.parameter, row=t.row, column=t.column, value=after))
            tiny = [WeightChange(parameter=t.parameter, row=t.row, column=t.column, value=float(before) + 1e-7)]
            shifted = scores_with(network, tiny, inputs.observations)
            predicted += (shifted - q)[range(len(q)), best] / 1e-7 * (after - float(before))
        p = scores_with(network, edits, inputs.observations)
        flips = [inputs.ids[row] for row in range(len(q)) if p[row].argmax() != best[row]]
        assert record["flipped_ids"] == flips
        assert (record["flips"], record["flip_share"]) == (len(flips), len(flips) / len(q))
        own, regret, margins = [], [], []
        for row, action in enumerate(best):
            own.append(p[row, action] - q[row, action])
            regret.append(q[row, action] - q[row, p[row].argmax()])
            others = [a for a in range(3) if a != action]
            margins.append((p[row, action] - p[row, others].max()) - (q[row, action] - q[row, others].max()))
        expected = {
            "q_change": np.mean(own),
            "q_change_size": np.mean(np.abs(own)),
            "q_change_max": np.abs(p - q).max(),
            "margin_change": np.mean(margins),
            "margin_change_size": np.mean(np.abs(margins)),
            "self_regret": np.mean(regret),
        }
        for name, value in expected.items():
            assert record[name] == pytest.approx(value, abs=1e-12), name
        assert record["predicted_q_change"] == pytest.approx(np.mean(predicted), abs=1e-5)
        assert record["prediction_error"] == pytest.approx(np.mean(np.abs(own - predicted)), abs=1e-5)


def test_the_table_holds_the_same_records_and_belongs_to_the_document(agent: Path) -> None:
    document = run(agent, "--weights", "; ".join(TARGETS))
    table = agent / "perturbation_results" / "results.csv"
    with table.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == len(document["results"]) == 4 * 9
    for row, record in zip(rows, document["results"], strict=True):
        assert row["target"] == record["target"]
        assert float(row["q_change"]) == record["q_change"]
        assert int(row["flips"]) == record["flips"]
    table.write_text("other")
    with raises(InputError, file="results.csv", problem="was not written with results.json"):
        load_perturbation_results(agent / "perturbation_results" / "results.json")


def test_the_candidates_of_the_saliency_pipeline_are_read_as_they_are(agent: Path) -> None:
    (agent / "patching_results").mkdir()
    neurons = {"exp_1_q_net.0": {"patch": {"q_net.0": [1]}}, "exp_2_q_net.2": {"patch": {"q_net.2": [4]}}}
    (agent / "patching_results" / "cross_metric_summary.json").write_text(json.dumps({"common_neurons": neurons}))
    assert initial_test.main(["--agent_path", str(agent), "--quiet", "--k", "2", "--m", "1"]) == 0
    document = run(agent, "--values", "0", "-1")
    candidates = json.loads((agent / "gradient_analysis" / "candidate_weights.json").read_text())["weight_targets"]
    expected = [(t["layer_name"], t["neuron_index"], t["weight_index"]) for t in candidates for _ in range(2)]
    keys = ("layer_name", "neuron_index", "weight_index")
    assert [tuple(record[key] for key in keys) for record in document["results"][:-2]] == expected
    assert document["summary"]["controls"]["random_sets"] == 99
    least = document["summary"]["controls"]["comparisons"][-1]
    assert least["measure"] == "margin_change_size"
    assert least["least_gradient"] < least["random"]


def test_in_a_planted_agent_only_the_planted_weights_matter_and_they_beat_chance(tmp_path: Path) -> None:
    # of 12 x 6 and 2 x 12 weights only three carry anything: Q = (relu(4 x0), 1)
    first, last = np.zeros((12, 6)), np.zeros((2, 12))
    first[3, 0], last[0, 3] = 4.0, 1.0
    agent = with_inputs(planted_agent(tmp_path / "agent", [(first, np.zeros(12)), (last, [0, 1])]), width=6)
    words = ["--all_weights", "q_net.0", "q_net.2", "--mode", "scale", "--values", "0"]
    everything = run(agent, *words)
    mattering = [record["target"] for record in everything["results"][:-1] if record["q_change_max"] > 0]
    assert mattering == ["q_net.0.weight[3,0]", "q_net.2.weight[0,3]"]
    assert everything["summary"]["controls"]["reason"] == "a layer has too few weights that are no targets"
    planted = run(agent, "--weights", "; ".join(mattering), "--values", "0", "--overwrite")
    for row in planted["summary"]["controls"]["comparisons"]:
        assert row["candidates"] > 0.1
        assert row["random"] == row["least_gradient"] == 0
        assert row["p"] == 0.01
        assert row["difference_interval"][0] > 0
        assert row["beats_chance"]
    idle = run(agent, "--weights", "q_net.0.weight[5,1]; q_net.2.weight[1,7]", "--values", "0", "--overwrite")
    for row in idle["summary"]["controls"]["comparisons"]:
        assert row["candidates"] == 0
        assert row["p"] == 1
        assert not row["beats_chance"]


def test_control_sets_have_as_many_weights_of_each_layer_and_no_targets() -> None:
    matrices = {"a.weight": np.zeros((3, 4)), "b.weight": np.zeros((2, 3))}
    targets = [
        WeightTarget(parameter=n, row=r, column=c)
        for n, r, c in [("a.weight", 0, 1), ("a.weight", 2, 3), ("b.weight", 1, 1)]
    ]
    sets = random_sets(targets, matrices, sets=50, seed=0)
    assert sets == random_sets(targets, matrices, sets=50, seed=0) != random_sets(targets, matrices, sets=50, seed=1)
    for chosen in sets:
        assert [t.parameter for t in chosen] == ["a.weight", "a.weight", "b.weight"]
        assert len(set(chosen)) == 3
        assert not set(chosen) & set(targets)
    assert {t for chosen in sets for t in chosen if t.parameter == "b.weight"} == {
        WeightTarget(parameter="b.weight", row=r, column=c) for r in range(2) for c in range(3) if (r, c) != (1, 1)
    }
    magnitudes = {"a.weight": np.arange(12.0).reshape(3, 4)[::-1], "b.weight": np.ones((2, 3))}
    least = least_gradient(targets, matrices, magnitudes)
    assert [str(t) for t in least] == ["a.weight[2,0]", "a.weight[2,1]", "b.weight[0,0]"]


def test_a_network_that_is_no_mlp_runs_on_the_real_network_and_the_summary_records_it(tmp_path: Path) -> None:
    space = spaces.Dict({"a": spaces.Box(-1, 1, (2,), np.float32), "b": spaces.Box(-1, 1, (3,), np.float32)})
    agent = save_dqn(tmp_path / "agent", new_dqn(space, policy="MultiInputPolicy", net_arch=[4]))
    (agent / "activation_inputs").mkdir()
    random = np.random.default_rng(0)
    inputs = {
        f"id-{n}": {"input": {"a": random.uniform(-1, 1, 2).tolist(), "b": random.uniform(-1, 1, 3).tolist()}}
        for n in range(4)
    }
    (agent / "activation_inputs" / "clean_inputs.json").write_text(json.dumps(inputs))
    document = run(
        agent, "--weights", "q_net.0.weight[1,4]; q_net.2.weight[0,1]", "--values", "0", "--control_sets", "3"
    )
    assert document["summary"]["computed_by"].startswith("weights changed on the real q_net, float64")
    assert document["metadata"]["run"]["engine"] == "torch"
    opened = OpenedAgent(agent, dtype="float64")
    observations = opened.inputs("clean_inputs.json").observations
    before = opened.q_values(observations)
    with torch.no_grad():
        opened.torch_network.module.q_net[0].weight[1, 4] = 0.0
    assert document["results"][0]["q_change_max"] == pytest.approx(np.abs(opened.q_values(observations) - before).max())


def test_float32_is_computed_on_the_real_network(agent: Path) -> None:
    words = ["--weights", TARGETS[0], "--values", "0", "--control_sets", "0"]
    single = run(agent, *words, "--dtype", "float32")
    assert "float32" in single["summary"]["computed_by"]
    double = run(agent, *words, "--overwrite")
    assert double["summary"]["computed_by"] == "engine numpy, float64"
    assert double["results"][0]["q_change"] == pytest.approx(single["results"][0]["q_change"], abs=1e-6)


def test_the_same_run_writes_the_same_bytes_and_another_needs_overwrite(
    agent: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["--agent_path", str(agent), "--weights", TARGETS[0], "--json"]
    assert perturb_weights.main(words) == 0
    folder = agent / "perturbation_results"
    files = {path.name: path.read_bytes() for path in folder.iterdir()}
    assert set(files) == {"results.csv", "results.json"}
    first = json.loads(capsys.readouterr().out)
    assert perturb_weights.main(words) == 0
    again = json.loads(capsys.readouterr().out)
    assert (first.pop("written"), again.pop("written")) == (True, False)
    assert first == again
    for other in (["--values", "3"], ["--input_ids", "id-3"]):
        with reports(InputError, file=folder / "results.json", problem=DIFFERENT_RUN):
            assert perturb_weights.main([*words, *other]) == 2
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == files
    assert perturb_weights.main([*words, "--overwrite"]) == 0
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == files


@pytest.mark.parametrize(
    ("words", "error"),
    [
        (["--weights", "q_net.1.weight[0,0]"], parts(file="weights", names=["'q_net.1.weight'"])),
        (
            ["--weights", "q_net.0.bias[0,0]"],
            parts(
                file="weights",
                field="'q_net.0.bias'",
                found="a tensor of shape (8,)",
                expected="a weight of rows and columns",
            ),
        ),
        (
            ["--weights", "q_net.0.weight[8,0]"],
            parts(
                file="weights",
                field="q_net.0.weight[8,0]",
                problem="index out of range for this agent",
                expected="rows 0..7, columns 0..3",
            ),
        ),
        (
            ["--weights", "q_net.0.weight[0,4]"],
            parts(
                file="weights",
                field="q_net.0.weight[0,4]",
                problem="index out of range for this agent",
                expected="rows 0..7, columns 0..3",
            ),
        ),
        (
            ["--weights", "q_net.0.weight[0,99999999999999999999]"],
            parts(field="weights", found="'q_net.0.weight[0,99999999999999999999]'", expected="PARAMETER[ROW,COLUMN]"),
        ),
        (
            ["--weights", "q_net.0.weight[0,0];q_net.0.weight[0,0]"],
            parts(file="weights", field="q_net.0.weight[0,0]", problem="is given twice"),
        ),
        (["--weights", " ; "], parts(field="weights", found="' ; '", expected="PARAMETER[ROW,COLUMN]; ...")),
        (["--weights", "q_net.0:5"], parts(field="weights", found="'q_net.0:5'", expected="PARAMETER[ROW,COLUMN]")),
        (["--all_weights", "q_net.1"], parts(file="weights", names=["'q_net.1.weight'"])),
        (["--all_weights", "q_net.0", "q_net.0.weight"], parts(names=["'q_net.0.weight'"])),
        (["--weights", TARGETS[0], "--values", "nan"], parts(field="values", found="nan", expected="finite numbers")),
        (["--weights", TARGETS[0], "--values", "inf"], parts(field="values", found="inf", expected="finite numbers")),
        (["--weights", TARGETS[0], "--values", "+-1"], parts(names=["--values", "'+-1'"])),
        (["--weights", TARGETS[0], "--values", "1_0"], parts(names=["--values", "'1_0'"])),
        (["--weights", TARGETS[0], "--values", "1", "1.0"], parts(field="values", problem="1.0 is given twice")),
        (["--weights", TARGETS[0], "--mode", "set"], parts(flags=["--mode", "--values"])),
        (
            ["--weights", TARGETS[0], "--mode", "set", "--values", "1e39"],
            parts(field="q_net.0.weight[0,1]", found="the value 1e+39", expected="a finite float32"),
        ),
        (["--weights", TARGETS[0], "--mode", "swap"], parts(names=["--mode", "'swap'"])),
        (["--weights", TARGETS[0], "--candidates", "c.json"], parts(flags=["--candidates", "--weights"])),
        (["--weights", TARGETS[0], "--input_ids", "nobody"], parts(file="clean_inputs.json", names=["'nobody'"])),
        (
            ["--weights", TARGETS[0], "--output_prefix", "../x"],
            parts(field="output prefix", found="'../x'", expected="a plain file name"),
        ),
        ([], parts(file="candidate_weights.json", problem=NO_SUCH_FILE, hint=re.compile("extract.py .* --weights .*"))),
    ],
)
def test_what_cannot_be_meant_is_refused_in_one_line_and_nothing_is_written(
    agent: Path, words: list[str], error: Parts, capsys: pytest.CaptureFixture[str]
) -> None:
    with reports(InputError if "file" in error else UsageError, **error):
        assert perturb_weights.main(["--agent_path", str(agent), *words]) == 2
    reported = capsys.readouterr().err
    assert reported.startswith("error: ")
    assert len(reported.splitlines()) == 1
    assert reported.count(" makes it") <= 1
    assert not (agent / "perturbation_results").exists()


TARGET = {"layer_name": "q_net.0.weight", "neuron_index": 1, "weight_index": 2, "gradient_magnitude": 0.1}


@pytest.mark.parametrize(
    ("document", "error"),
    [
        (
            {"weight_targets": []},
            parts(field="weight_targets", found="a list of length 0", expected="a list of length at least 1"),
        ),
        (
            {"weight_targets": [TARGET, TARGET]},
            parts(field="weight_targets[1]", problem="q_net.0.weight[1,2] is listed twice"),
        ),
        ({"weight_targets": [TARGET | {"layer_name": "q_net.8.weight"}]}, parts(names=["'q_net.8.weight'"])),
        (
            {"weight_targets": [TARGET | {"layer_name": "q_net.0.bias"}]},
            parts(field="weight_targets[0].layer_name", found="'q_net.0.bias'", expected="the name of a weight"),
        ),
        (
            {"weight_targets": [TARGET | {"neuron_index": 8}]},
            parts(
                field="q_net.0.weight[8,2]",
                problem="index out of range for this agent",
                expected="rows 0..7, columns 0..3",
            ),
        ),
        (
            {"weight_targets": [TARGET | {"weight_index": 4}]},
            parts(
                field="q_net.0.weight[1,4]",
                problem="index out of range for this agent",
                expected="rows 0..7, columns 0..3",
            ),
        ),
        (
            {"weight_targets": [TARGET | {"weight_index": 1.0}]},
            parts(field="weight_targets[0].weight_index", found="1.0", expected="a whole number"),
        ),
        (
            {"weight_targets": [TARGET | {"neuron_index": -1}]},
            parts(field="weight_targets[0].neuron_index", found="-1", expected="a whole number, at least 0"),
        ),
        (
            {"weight_targets": [TARGET], "metadata": {"run": {"weights_sha256": "0" * 64}}},
            parts(field="metadata.run.weights_sha256", names=["another agent (000000000000"]),
        ),
        (
            {
                "weight_targets": [TARGET],
                "neuron_weights": {"exp_1": {"layer_name": "q_net.0.weight", "weights": [0.0] * 5}},
            },
            parts(field="neuron_weights.exp_1.weights", found="5 numbers", expected="4, as in this agent"),
        ),
    ],
)
def test_candidates_that_do_not_fit_this_agent_are_refused(agent: Path, document: object, error: Parts) -> None:
    path = agent / "candidates.json"
    path.write_text(json.dumps(document))
    with reports(InputError, file=path, **error):
        assert perturb_weights.main(["--agent_path", str(agent), "--candidates", str(path)]) == 2
    assert not (agent / "perturbation_results").exists()


def test_candidates_without_a_fingerprint_are_taken_with_a_warning(
    agent: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (agent / "candidates.json").write_text(json.dumps({"weight_targets": [TARGET]}))
    words = ["--agent_path", str(agent), "--candidates", str(agent / "candidates.json"), "--values", "0"]
    with warnings.catch_warnings():
        warnings.simplefilter("default")
        assert perturb_weights.main(words) == 0
    assert "does not say which agent it belongs to" in capsys.readouterr().err


def test_the_default_values_are_zero_a_flipped_sign_and_a_scan() -> None:
    values = chosen_values("scale", None)
    assert values[:2] == [0.0, -1.0]
    assert len(values) == len(set(values)) > 5
    assert 1.0 not in values  # it would change nothing


@pytest.mark.parametrize("name", ["perturb_weights", "write_agent", "find_smallest_flips"])
def test_the_script_starts_from_anywhere_and_its_help_imports_nothing_heavy(name: str, tmp_path: Path) -> None:
    script = ROOT / "Parameter_Selection" / "PerturbationTooling" / f"{name}.py"
    code = (
        f"import runpy, sys\nsys.argv = [{str(script)!r}, '--help']\n"
        "try:\n    runpy.run_path(sys.argv[0], run_name='__main__')\n"
        "except SystemExit as end:\n    assert end.code == 0, end.code\n"
        "assert not {'numpy', 'torch', 'stable_baselines3', 'gymnasium', 'scipy', 'msgspec'} & set(sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "example:\n  python " in done.stdout


def test_the_fast_sweep_needs_no_torch(agent: Path, tmp_path: Path) -> None:
    code = (
        "import sys\nfrom Parameter_Selection.PerturbationTooling import perturb_weights\n"
        f"code = perturb_weights.main(['--agent_path', {str(agent)!r}, '--weights', {TARGETS[0]!r}])\n"
        "assert code == 0 and not {'torch', 'stable_baselines3', 'gymnasium'} & set(sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
