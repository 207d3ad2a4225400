"""Which experiments the flags choose: names, sizes, controls, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from Neuron_Selection.errors import InputError, SuiteError, UsageError
from Neuron_Selection.PatchingTooling import OpenedAgent, open_agent
from Parameter_Selection.RolloutTooling.experiments.chosen import Changes, choose_experiments
from Parameter_Selection.RolloutTooling.experiments.controls import compare_with_controls
from Parameter_Selection.RolloutTooling.experiments.experiment import Experiment
from tests.made_agents import mlp_agent
from tests.raised import raises


@pytest.fixture(scope="module")
def agent(tmp_path_factory: pytest.TempPathFactory) -> OpenedAgent:
    return open_agent(mlp_agent(tmp_path_factory.mktemp("agent"), net_arch=[8, 6]))


def chosen(agent: OpenedAgent, **changes: Any) -> dict[str, Experiment]:
    return {one.name: one for one in choose_experiments(agent, Changes(**changes), seed=0).experiments}


def test_all_neurons_are_numbered_as_in_a_sweep(agent: OpenedAgent) -> None:
    found = chosen(agent, neurons=["all"])
    assert len(found) == 14
    assert found["exp_9_q_net.2"].neurons == {"q_net.2": (0,)}
    assert list(chosen(agent, neurons=["q_net.0:2-3", "q_net.2:5"])) == [
        "exp_1_q_net.0",
        "exp_2_q_net.0",
        "exp_3_q_net.2",
    ]


def test_a_network_without_hidden_layers_has_neurons_where_they_are_named(tmp_path: Path) -> None:
    linear = open_agent(mlp_agent(tmp_path, net_arch=[]))
    problem = "--neurons all: the network has no hidden layer"
    with raises(UsageError, problem=problem, hint="--neurons q_net.0:all ablates the outputs"):
        chosen(linear, neurons=["all"])
    assert len(chosen(linear, neurons=["q_net.0:all"])) == 3
    path = tmp_path / "cross_metric_summary.json"
    path.write_text(json.dumps({"common_neurons": {"exp_2_q_net.0": {"patch": {"q_net.0": [1]}}}}))
    assert chosen(linear, named_by=str(path))["exp_2_q_net.0"].neurons == {"q_net.0": (1,)}


@pytest.mark.parametrize(
    ("name", "script"),
    [
        ("cross_metric_summary.json", "analyze_metrics.py"),
        ("minimal_sets.json", "find_minimal_sets.py"),
        ("circuit.json", "patch_edges.py"),
    ],
)
def test_a_missing_file_of_another_tool_names_the_script_that_makes_it(tmp_path: Path, name: str, script: str) -> None:
    with raises(InputError, file=name, names=["patching_results"], hint=f"{script} makes it"):
        chosen(open_agent(mlp_agent(tmp_path)), named_by=name)


def test_steered_neurons_have_values_of_their_own(agent: OpenedAgent) -> None:
    found = chosen(agent, steer=["q_net.2:1=-2; q_net.0:5,6=+0.5;q_net.0:0=1e-1"], clamp=["q_net.0:all=3"])
    edit = found["steer_1"].edits["q_net.0"]
    assert list(found["steer_1"].edits) == ["q_net.0", "q_net.2"]
    assert (edit.neurons, edit.operation) == ((0, 5, 6), "add")
    assert edit.values[0][0, [0, 5, 6]].tolist() == [0.1, 0.5, 0.5]
    assert found["steer_1"].description == "steer q_net.0:0=+0.1; q_net.0:5,6=+0.5; q_net.2:1=-2"
    assert found["clamp_1"].edits["q_net.0"].operation == "replace"
    assert len(found["clamp_1"].edits["q_net.0"].neurons) == 8


def test_weights_are_changed_alone_together_and_as_edits(agent: OpenedAgent) -> None:
    found = chosen(
        agent, weights="q_net.0.weight[1,2]; q_net.2.weight[0,3]", mode="add", values=(1.0, 2.0),
        edits="q_net.4.weight[0,0]=7; q_net.0.weight[0,0]=1",
    )  # fmt: skip
    assert [len(one.changes) for one in found.values()] == [1, 1, 2, 1, 1, 2, 2]
    before = float(agent.online_weights["q_net.0.weight"][1, 2])
    assert found["weight_1"].changes[0].value == pytest.approx(before + 1.0, rel=1e-6)
    assert found["edits"].changes[0].value == 7.0
    single = chosen(agent, edits="q_net.4.weight[0,0]=7")["edits"]
    assert single.description == "q_net.4.weight[0,0]=7"


def test_important_neurons_are_tried_alone_and_together_beside_random_sets(agent: OpenedAgent) -> None:
    path = agent.folder.folder / "cross_metric_summary.json"
    neurons = {"exp_1_q_net.0": {"q_net.0": [0]}, "exp_3_q_net.0": {"q_net.0": [2]}, "exp_9_q_net.2": {"q_net.2": [0]}}
    path.write_text(json.dumps({"common_neurons": {key: {"patch": patch} for key, patch in neurons.items()}}))
    found = chosen(agent, named_by=str(path), control_sets=4)
    assert list(found)[:4] == [*neurons, "important_together"]
    assert found["important_together"].neurons == {"q_net.0": (0, 2), "q_net.2": (0,)}
    controls = [one for one in found.values() if one.control_of]
    shapes = [[(layer, len(n)) for layer, n in one.neurons.items()] for one in controls]
    assert len(controls) == 12
    assert shapes.count([("q_net.0", 2), ("q_net.2", 1)]) == 4
    named = [one.neurons for one in list(found.values())[:4]]
    assert all(one.neurons not in named for one in controls)
    few = chosen(agent, named_by=str(path), control_sets=50)
    assert sum(one.control_of == ("exp_9_q_net.2",) for one in few.values()) == 5  # the layer has no more


def test_minimal_sets_for_all_pairs_together_are_tried(agent: OpenedAgent) -> None:
    path = agent.folder.folder / "minimal_sets.json"
    together = {"patch": {"q_net.1": [0, 3]}}
    document = {"denoising": {"q_net.1": {"together": together}, "q_net.3": {"together": None}}}
    path.write_text(json.dumps({**document, "noising": {"q_net.1": {"together": together}}}))
    found = chosen(agent, named_by=str(path), control_sets=0)
    assert {name: one.neurons for name, one in found.items()} == {"denoising_q_net.1": {"q_net.1": (0, 3)}}


def test_a_circuit_is_tried_and_what_is_outside_of_it(agent: OpenedAgent) -> None:
    path = agent.folder.folder / "circuit.json"
    edges = [{"from": "q_net.1:2", "to": "q_net.3:0"}, {"from": "q_net.3:0", "to": "scores:1"}]
    document = {"layers": {"q_net.1": 8, "q_net.3": 6, "scores": 3}, "inputs": "", "ablation": "corrupted", "seed": 0}
    path.write_text(json.dumps({**document, "nodes": {"q_net.1": [2], "q_net.3": [0]}, "edges": edges}))
    found = chosen(agent, named_by=str(path), control_sets=2)
    assert found["circuit"].neurons == {"q_net.1": (2,), "q_net.3": (0,)}
    assert found["outside_circuit"].neurons == {"q_net.1": (0, 1, *range(3, 8)), "q_net.3": tuple(range(1, 6))}
    assert sum(bool(one.control_of) for one in found.values()) == 4


def test_a_control_compares_the_sizes_of_differences() -> None:
    experiments = [
        Experiment(name="named", kind="ablated", description=""),
        *(Experiment(name=f"c{n}", kind="ablated", description="", control_of=("named",)) for n in range(3)),
    ]
    rows = [
        {"experiment": one.name, "difference": d} for one, d in zip(experiments, (-2.0, 1.0, -3.0, 0.5), strict=True)
    ]
    compare_with_controls(experiments, rows)
    assert rows[0]["control_sets"] == 3
    assert rows[0]["control_effect"] == pytest.approx(1.5)
    assert rows[0]["control_p"] == 0.5


def test_another_agent_must_have_the_same_spaces(agent: OpenedAgent, tmp_path: Path) -> None:
    other = mlp_agent(tmp_path / "wide", width=5)
    with pytest.raises(InputError) as raised:
        chosen(agent, against=str(other))
    assert raised.value.field == "observation space"
    assert "(4,)" in raised.value.expected
    more = mlp_agent(tmp_path / "actions", n_actions=4)
    with pytest.raises(InputError) as raised:
        chosen(agent, against=str(more))
    assert (raised.value.field, raised.value.found) == ("action space", "4 actions")


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"patch_spec": ["q_net.0:1", "q_net.0:1"]},
        {"neurons": ["q_net.0:1", "q_net.0:0-3"]},
        {"steer": ["q_net.0:1"]},
        {"steer": ["q_net.0:1=inf"]},
        {"steer": ["q_net.0:1=1;q_net.0:1-2=2"]},
        {"clamp": [";"]},
        {"clamp": ["q_net.0:99=1"]},
        {"patch_spec": ["q_net.0:1"], "ablate": "wrong"},
        {"weights": "q_net.0.weight[0,0]", "candidates": "candidate_weights.json"},
        {"edits": "q_net.0.weight[99,0]=1"},
        {"against": "/nowhere/agent.zip"},
        {"named_by": "no_such_summary.json"},
    ],
)
def test_changes_that_cannot_be_made_are_refused(agent: OpenedAgent, changes: dict[str, Any]) -> None:
    with pytest.raises(SuiteError) as raised:
        chosen(agent, **changes)
    assert raised.value.exit_code == 2


def test_a_file_of_another_kind_or_agent_names_no_neurons(agent: OpenedAgent) -> None:
    path = agent.folder.folder / "other.json"
    path.write_text(json.dumps({"results": []}))
    with pytest.raises(InputError) as raised:
        chosen(agent, named_by=str(path))
    assert raised.value.file == str(path)
    assert "minimal_sets.json" in raised.value.hint
    run = {"weights_sha256": "0" * 64}
    path.write_text(json.dumps({"common_neurons": {}, "metadata": {"format": 1, "run": run}}))
    with pytest.raises(InputError) as raised:
        chosen(agent, named_by=str(path))
    assert raised.value.field == "metadata.run.weights_sha256"


def test_no_change_is_a_sentence_that_lists_the_flags(agent: OpenedAgent) -> None:
    flags = "--neurons --patch_spec --steer --clamp --edits --weights --candidates --against --from"
    with raises(UsageError, flags=flags.split()):
        chosen(agent)
