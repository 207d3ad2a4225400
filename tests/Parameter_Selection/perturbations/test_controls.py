"""Comparison with random weights: the controls, their numbers, and when the result stays open."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from Neuron_Selection.AnalysisTooling.measures.clusters import clusters_of
from Neuron_Selection.FileFormats.weights.perturbation_results import load_perturbation_results
from Neuron_Selection.PatchingTooling import OpenedAgent
from Parameter_Selection.PerturbationTooling import perturb_weights
from Parameter_Selection.PerturbationTooling.perturbations import run as perturbation_run
from Parameter_Selection.PerturbationTooling.perturbations.controls import (
    compare_with_controls,
    enough_sets,
    random_sets,
)
from Parameter_Selection.PerturbationTooling.perturbations.metrics import baseline_of, effects_of, records_of
from Parameter_Selection.PerturbationTooling.perturbations.sweep import Plan, sweep_alone
from Parameter_Selection.PerturbationTooling.weights.targets import parse_weight_targets
from SaliencyTooling.weight_ranking import weight_matrices
from tests.made_agents import mlp_agent, planted_agent

PLANTED = "q_net.0.weight[3,0]; q_net.2.weight[0,3]"


@pytest.fixture
def planted(tmp_path: Path) -> Path:
    """Q = (relu(4 x0), 1), of 12 x 6 and 2 x 12 weights."""
    first, last = np.zeros((12, 6)), np.zeros((2, 12))
    first[3, 0], last[0, 3] = 4.0, 1.0
    return planted_agent(tmp_path / "agent", [(first, np.zeros(12)), (last, [0, 1])])


def with_clusters(agent: Path, clusters: int, *, width: int = 6) -> Path:
    (agent / "activation_inputs").mkdir(exist_ok=True)
    random = np.random.default_rng(0)
    inputs = {f"id-{n}": {"input": random.normal(size=width).tolist(), "cluster": n % clusters} for n in range(60)}
    (agent / "activation_inputs" / "clean_inputs.json").write_text(json.dumps(inputs))
    return agent


def run(agent: Path, *words: str) -> dict[str, Any]:
    assert perturb_weights.main(["--agent_path", str(agent), "--quiet", "--overwrite", *words]) == 0
    return load_perturbation_results(agent / "perturbation_results" / "results.json")


def test_so_many_sets_are_drawn_that_a_single_row_can_beat_chance(planted: Path) -> None:
    assert [enough_sets(n) for n in (1, 2, 9, 500)] == [99, 99, 360, 999]
    document = run(with_clusters(planted, 50), "--weights", PLANTED)
    controls = document["summary"]["controls"]
    assert controls["random_sets"] == 360
    assert controls["remarks"] == []
    rows = controls["comparisons"]
    assert len(rows) == 18
    assert len(rows) / (controls["random_sets"] + 1) <= 0.05
    assert any(row["beats_chance"] for row in rows)


def test_too_few_sets_leave_it_open_and_say_how_many_could_tell(
    planted: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    document = run(with_clusters(planted, 50), "--weights", PLANTED, "--values", "0", "--control_sets", "38")
    assert {row["beats_chance"] for row in document["summary"]["controls"]["comparisons"]} == {None}
    assert "38 are too few sets to show anything in 2 rows: --control_sets 40 could" in capsys.readouterr().out
    document = run(planted, "--weights", PLANTED, "--values", "0", "--control_sets", "40")
    assert {row["beats_chance"] for row in document["summary"]["controls"]["comparisons"]} == {True}
    assert "too few" not in capsys.readouterr().out


@pytest.mark.parametrize(
    ("clusters", "line", "beats"),
    [
        (1, "1 cluster of inputs gives no interval, so beating chance stays open", None),
        (39, "39 clusters: below 40 the intervals cover less than they promise", True),
        (40, None, True),
    ],
)
def test_few_clusters_are_reported(
    clusters: int, line: str | None, beats: Any, planted: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    document = run(with_clusters(planted, clusters), "--weights", PLANTED, "--values", "0")
    assert {row["beats_chance"] for row in document["summary"]["controls"]["comparisons"]} == {beats}
    out = capsys.readouterr().out
    assert (line in out) if line else ("below 40" not in out)


def test_the_real_network_is_compared_at_the_first_two_values_only(tmp_path: Path) -> None:
    agent = with_clusters(mlp_agent(tmp_path / "agent"), 10, width=4)
    document = run(agent, "--weights", "q_net.2.weight[0,0]", "--dtype", "float32", "--values", "0", "-1", "2")
    controls = document["summary"]["controls"]
    assert [row["value"] for row in controls["comparisons"]] == [0, -1, 0, -1]
    assert controls["random_sets"] == 99
    assert [record["value"] for record in document["results"]] == [0, -1, 2] * 2


def test_a_control_counts_in_the_interval_as_often_as_it_was_drawn(planted: Path) -> None:
    opened = OpenedAgent(with_clusters(planted, 50), engine="numpy")
    network, inputs = opened.network, opened.inputs("clean_inputs.json")
    tensors = opened.online_weights
    baseline = baseline_of(network.scores(inputs.observations))
    plan = Plan(network=network, tensors=tensors, inputs=inputs, baseline=baseline, mode="scale", values=[0.0])
    # idle targets: the difference to the controls is minus the mean of all draws, whatever the sets share
    targets = parse_weight_targets("q_net.2.weight[1,7]; q_net.2.weight[1,8]; q_net.2.weight[1,9]")
    matrices = weight_matrices(tensors)
    drawn = random_sets(targets, matrices, sets=40, seed=3)
    each = [sweep_alone(plan, chosen).by_input["margin_change_size"][0] for chosen in drawn]
    mean = np.mean(each, axis=0)
    unique = list(dict.fromkeys(target for chosen in drawn for target in chosen))
    alike = sweep_alone(plan, unique).by_input["margin_change_size"][0]
    assert not np.isclose(mean.mean(), alike.mean(), rtol=0.01)  # or the test could not distinguish them
    comparison = compare_with_controls(
        plan, targets, sweep_alone(plan, targets), matrices=matrices,
        clusters=clusters_of(inputs.ids, {}, "input", where="x"), n_values=1, sets=40, seed=3,
    )  # fmt: skip
    row = comparison["comparisons"][1]
    low, high = row["difference_interval"]
    assert row["random"] == pytest.approx(mean.mean())
    assert (low + high) / 2 == pytest.approx(-mean.mean(), rel=0.1)
    assert abs((low + high) / 2 + alike.mean()) > abs((low + high) / 2 + mean.mean())


def test_a_flip_from_or_onto_a_near_tie_is_counted_as_one() -> None:
    q = np.array([[1.0, 1.0 + 1e-6], [2.0, 0.0], [2.0, 0.0], [1.0, 1.0 + 1e-6]])
    changed = np.array([[[5.0, 0.0], [1.0, 1.0 + 1e-6], [0.0, 3.0], [1.0, 1.0 + 1e-6]]])
    baseline = baseline_of(q)
    effects = effects_of(baseline, changed)
    assert effects.flips.tolist() == [[True, True, True, False]]
    assert effects.near_tie_flips.tolist() == [[True, True, False, False]]
    (record,) = records_of(effects, np.zeros((1, 4)), ("a", "b", "c", "d"))
    assert (record["flips"], record["near_tie_flips"]) == (3, 2)


def test_values_that_differ_by_little_keep_their_own_place(planted: Path) -> None:
    words = ["--weights", PLANTED, "--values", "1.5", "1.50000001", "--control_sets", "0"]
    together = run(with_clusters(planted, 5), *words)["summary"]["together"]
    assert list(together) == ["1.5", "1.50000001"]


@pytest.mark.parametrize("overwrite", [[], ["--overwrite"]])
def test_an_interrupted_run_is_resumed(overwrite: list[str], planted: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Killed between the two files of one result, the same command succeeds, as if nothing had been."""
    words = ["--agent_path", str(with_clusters(planted, 5)), "--weights", PLANTED, "--values", "0", "--quiet"]
    folder = planted / "perturbation_results"
    replace = Path.replace

    def killed(self: Path, target: Path) -> Path:
        if Path(target).suffix == ".csv":
            raise KeyboardInterrupt
        return replace(self, target)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", killed)
        assert perturb_weights.main(words) == 130
    assert [path.name for path in folder.iterdir()] == ["results.json"]
    assert perturb_weights.main([*words, *overwrite]) == 0
    interrupted = {path.name: path.read_bytes() for path in folder.iterdir()}
    assert perturb_weights.main([*words, "--overwrite"]) == 0
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == interrupted
    (folder / "results.json").unlink()
    assert perturb_weights.main(words) == 2  # a table without a document belongs to another run
    assert perturbation_run.stored_perturbation_results(folder / "results.json").complete is None
