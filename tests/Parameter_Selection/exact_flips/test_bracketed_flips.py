"""Brackets of the smallest change that flips an action: both ends verified, certified only where nothing is nearer."""

from __future__ import annotations

import json
from itertools import pairwise, product
from math import atanh
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from torch import nn

from Neuron_Selection.AnalysisTooling.measures.decisions import action_margins
from Neuron_Selection.PatchingTooling import OpenedAgent
from Neuron_Selection.PatchingTooling.agent.network import WeightChange
from Neuron_Selection.PatchingTooling.numpy_network.network import NumpyNetwork
from Parameter_Selection.PerturbationTooling import find_smallest_flips as flips_script
from Parameter_Selection.PerturbationTooling.exact_flips import bracketed_flips
from Parameter_Selection.PerturbationTooling.exact_flips.bracketed_flips import Brackets, nearest_brackets
from Parameter_Selection.PerturbationTooling.exact_flips.smallest_flips import SmallestFlips, compute_smallest_flips
from Parameter_Selection.PerturbationTooling.exact_flips.supported_networks import flips_can_be_found
from Parameter_Selection.PerturbationTooling.weights.targets import WeightTarget, all_weights_of
from SaliencyTooling.weight_ranking import weight_matrices
from tests.made_actors import new_agent, save_agent
from tests.made_agents import planted_agent

FIRST = WeightTarget(parameter="q_net.0.weight", row=0, column=0)


def random_targets(opened: OpenedAgent, count: int) -> list[WeightTarget]:
    """Weights of each Linear that leads to the scores."""
    random, matrices = np.random.default_rng(2), weight_matrices(opened.online_weights)
    targets = []
    for linear in opened.numpy_network.unfolded.stored_linears:
        everything = all_weights_of([linear.name], matrices)
        places = random.choice(len(everything), min(count, len(everything)), replace=False)
        targets += [everything[place] for place in places]
    return targets


def close_decisions(network: NumpyNetwork, count: int, among: np.ndarray | None = None) -> np.ndarray:
    """The observations of smallest margin, which single weights can flip."""
    observations = np.random.default_rng(4).normal(size=(200, 5)).astype(np.float32) if among is None else among
    chosen: np.ndarray = observations[np.argsort(action_margins(network.scores(observations)))[:count]]
    return chosen


def actions_on_a_grid(
    opened: OpenedAgent, observations: np.ndarray, target: WeightTarget, changes: np.ndarray
) -> np.ndarray:
    """The definition: the actions with each value of the weight, (n_changes, n)."""
    before = float(opened.online_weights[target.parameter][target.row, target.column])
    network: NumpyNetwork = opened.numpy_network
    found = []
    for change in changes:
        edit = WeightChange(
            parameter=target.parameter, row=target.row, column=target.column, value=before + float(change)
        )
        with network.with_weights([edit]) as changed:
            found.append(changed.scores(observations).argmax(axis=1))
    return np.stack(found)


def dqn(folder: Path, activation_fn: Any, net_arch: tuple[int, ...] = (8, 6)) -> Path:
    """Of random weights that are large enough for decisions to depend on the input."""
    random = np.random.default_rng(5)
    sides = pairwise((5, *net_arch, 3))
    layers = [(2 * random.normal(size=(after, before)), random.normal(size=after) / 4) for before, after in sides]
    return planted_agent(folder, layers, activation_fn=activation_fn)


AGENTS: dict[str, tuple[Any, bool]] = {
    "PPO": (lambda folder: save_agent(folder, new_agent("PPO")), True),
    "A2C": (lambda folder: save_agent(folder, new_agent("A2C, another critic")), True),
    "TRPO": (lambda folder: save_agent(folder, new_agent("TRPO")), True),
    "Tanh, three hidden layers": (lambda folder: dqn(folder, nn.Tanh, (5, 6, 5)), True),
    "Sigmoid": (lambda folder: dqn(folder, nn.Sigmoid), True),
    "LeakyReLU": (lambda folder: dqn(folder, nn.LeakyReLU), True),
    "GELU": (lambda folder: dqn(folder, nn.GELU), False),
    "PReLU": (lambda folder: save_agent(folder, new_agent("PPO, PReLU")), False),
}


@pytest.mark.parametrize("name", AGENTS)
def test_no_change_on_a_dense_grid_flips_before_the_bracket(name: str, tmp_path: Path) -> None:
    made, certifiable = AGENTS[name]
    opened, limit = OpenedAgent(made(tmp_path / "agent"), engine="numpy"), 30.0
    observations = close_decisions(opened.numpy_network, 4)
    targets = random_targets(opened, 8)
    ranges = {target.parameter: limit for target in targets}
    found = compute_smallest_flips(opened.numpy_network, observations, targets, ranges=ranges)
    flips, brackets = np.isfinite(found.changes), ~found.is_exact
    assert found.is_exact.tolist() == [target.parameter == targets[-1].parameter for target in targets]
    assert flips[brackets].any()
    assert (found.verified == flips).all()
    if certifiable:
        assert found.certified.all()
        widths = (np.abs(found.changes) - np.abs(found.inner_ends))[flips & brackets[:, None]]
        assert (widths >= 0).all()
    baseline = opened.numpy_network.scores(observations).argmax(axis=1)
    for place, target in enumerate(targets):
        exact = found.is_exact[place]
        near = np.abs(found.changes[place]) * (1 - 1e-9) if exact else np.abs(found.inner_ends[place])
        reach = np.where(flips[place], near, limit)
        changes = np.concatenate([np.linspace(-limit, limit, 301), reach, -reach])
        actions = actions_on_a_grid(opened, observations, target, changes)
        assert ((actions == baseline) | (np.abs(changes)[:, None] > reach)).all()
        for row in np.flatnonzero(flips[place]):
            outer = found.changes[place, row] * (1 + 1e-6 * exact)
            (beyond,) = actions_on_a_grid(opened, observations[row : row + 1], target, np.array([outer]))
            assert beyond == found.actions[place, row] != baseline[row]


@pytest.mark.parametrize("activation_fn", [nn.Tanh, nn.Sigmoid, nn.ELU, nn.Softsign])
def test_brackets_of_certifiable_functions_are_within_the_tolerance(activation_fn: Any, tmp_path: Path) -> None:
    opened, limit = OpenedAgent(dqn(tmp_path / "agent", activation_fn), engine="numpy"), 30.0
    corners = np.array(list(product([1.0, -1.0], repeat=5)), np.float32)  # all weights of a row have the same range
    observations = close_decisions(opened.numpy_network, 3, corners)
    targets = random_targets(opened, 20)[:40]
    ranges = {target.parameter: limit for target in targets}
    found = compute_smallest_flips(opened.numpy_network, observations, targets, ranges=ranges)
    first = [place for place, target in enumerate(targets) if target.parameter == "q_net.0.weight"]
    widths = np.abs(found.changes - found.inner_ends)[first]
    assert np.isfinite(widths).any()
    assert np.nanmax(widths) <= bracketed_flips.TOLERANCE * limit


def planted(folder: Path, activation_fn: Any, *, height: float, outgoing: float = 1.0) -> NumpyNetwork:
    """Q = (height, outgoing f(0.2 x))."""
    layers = [([[0.2]], [0.0]), ([[0.0], [outgoing]], [height, 0.0])]
    return OpenedAgent(planted_agent(folder, layers, activation_fn=activation_fn), engine="numpy").numpy_network


def flips_of(network: NumpyNetwork, values: list[float], limit: float) -> SmallestFlips:
    observations = np.array(values, np.float32)[:, None]
    return compute_smallest_flips(network, observations, [FIRST], ranges={"q_net.0.weight": limit})


def test_the_bracket_of_a_planted_neuron_contains_the_inverse_of_tanh(tmp_path: Path) -> None:
    network = planted(tmp_path / "agent", nn.Tanh, height=0.5)
    before, values = float(np.float32(0.2)), [1.0, 2.0, -1.0, 0.0]
    found = flips_of(network, values, 5.0)
    for row, value in enumerate(values[:3]):
        flip = atanh(0.5) / value - before
        inner, outer = abs(found.inner_ends[0, row]), abs(found.changes[0, row])
        assert inner <= abs(flip) <= outer <= inner + 2e-6 * 5.0
        assert np.sign(found.changes[0, row]) == np.sign(flip)
    assert np.isnan(found.changes[0, 3])  # the weight reads 0
    assert found.certified.all()
    assert found.actions[0].tolist() == [1, 1, 1, -1]
    assert np.isnan(flips_of(network, [1.0], 0.3).changes[0, 0])  # atanh(0.5) - 0.2 = 0.349


def test_that_no_change_flips_is_certified_where_the_function_ends_below_the_rival(tmp_path: Path) -> None:
    found = flips_of(planted(tmp_path / "tanh", nn.Tanh, height=1.001), [1.0, -3.0], 1e4)
    assert np.isnan(found.changes).all()
    assert found.certified.all()
    searched = flips_of(planted(tmp_path / "gelu", nn.GELU, height=0.18, outgoing=-1.0), [1.0, -3.0], 1e4)
    assert np.isnan(searched.changes).all()  # GELU is nowhere below -0.17
    assert not searched.certified.any()


def test_a_flip_in_a_dip_of_a_function_that_is_not_monotone_is_found_by_search(tmp_path: Path) -> None:
    found = flips_of(planted(tmp_path / "agent", nn.GELU, height=0.1695, outgoing=-1.0), [1.0], 50.0)
    assert found.verified.all()
    assert not found.certified.any()
    assert -0.7518 < 0.2 + found.changes[0, 0] < -0.7  # the minimum of GELU is -0.16997 at -0.7518
    assert abs(found.changes[0, 0]) - abs(found.inner_ends[0, 0]) < 1e-6


def test_a_flip_is_certified_only_if_the_other_direction_is_clear_up_to_it() -> None:
    up = Brackets(sign=1.0, clear=np.full(3, 2.0), inner=np.full(3, 2.0), outer=np.full(3, 2.1))
    none = np.full(3, np.inf)
    down = Brackets(sign=-1.0, clear=np.array([1.9, 2.5, 2.5]), inner=none, outer=none)
    reads = np.array([[-1.0, -1.0, -1.0], [0.5, 0.5, 0.0]])
    changes, inner_ends, certified = nearest_brackets([up, down], reads, 2.1)
    assert changes[0].tolist() == [-2.1, -2.1, -2.1]
    assert inner_ends[0].tolist() == [-2.0, -2.0, -2.0]
    assert certified[0].tolist() == [False, True, True]
    assert np.isnan(changes[1]).all()  # 4.2 is out of the range, whose end moves the neuron by 1.05
    assert certified[1].all()
    beyond = nearest_brackets([up, down], reads[:1], 2.05)
    assert np.isnan(beyond[0]).all()
    assert not beyond[2].any()  # the end of the range is within the bracket


def test_a_tie_is_bracketed_from_zero(tmp_path: Path) -> None:
    layers = [([[0.2]], [0.0]), ([[1.0], [1.0]], [0.0, 0.0]), ([[1.0, 0.0], [0.0, 1.0]], [0.0, 0.0])]
    folder = planted_agent(tmp_path / "agent", layers, activation_fn=nn.Tanh)
    network = OpenedAgent(folder, engine="numpy").numpy_network
    tied, both = WeightTarget(parameter="q_net.2.weight", row=1, column=0), FIRST
    ranges = dict.fromkeys(("q_net.0.weight", "q_net.2.weight"), 5.0)
    found = compute_smallest_flips(network, np.ones((1, 1), np.float32), [tied, both], ranges=ranges)
    assert found.inner_ends[0, 0] == 0
    assert 0 < found.changes[0, 0] <= 5e-6
    assert found.certified.tolist() == [[True], [False]]  # both scores move alike: searched, as bounds exclude no tie
    assert np.isnan(found.changes[1, 0])


def agent_with_inputs(folder: Path, activation_fn: Any) -> Path:
    agent = dqn(folder, activation_fn)
    (agent / "activation_inputs").mkdir()
    rows = np.random.default_rng(0).normal(size=(5, 5)).tolist()
    inputs = {f"id-{number}": {"input": row} for number, row in enumerate(rows)}
    (agent / "activation_inputs" / "clean_inputs.json").write_text(json.dumps(inputs))
    return agent


def found_by_script(agent: Path) -> dict[str, Any]:
    words = ["--agent_path", str(agent), "--all_weights", "q_net.0", "q_net.2", "q_net.4", "--largest_change", "20"]
    assert flips_script.main(words) == 0
    document: dict[str, Any] = json.loads((agent / "perturbation_results" / "smallest_flips.json").read_text())
    return document


def test_the_file_names_the_method_and_what_is_certified(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    agent = agent_with_inputs(tmp_path / "agent", nn.Tanh)
    document = found_by_script(agent)
    printed = capsys.readouterr()
    assert "none found" not in printed.out
    records, brackets = document["results"], document["summary"]["brackets"]
    methods = {record["layer_name"]: record["method"] for record in records}
    assert methods == {"q_net.0.weight": "bracket", "q_net.2.weight": "bracket", "q_net.4.weight": "exact"}
    bracketed = [record for record in records if record["method"] == "bracket"]
    flips = sum(record["inputs_that_flip"] for record in bracketed)
    assert brackets["pairs"] == 5 * len(bracketed)
    assert brackets["flips_certified"] == flips > 0
    assert brackets["no_flip_certified"] == brackets["pairs"] - flips
    for record in records:
        assert ("inner_ends" in record) == ("certified" in record) == (record["method"] == "bracket")
    for record in bracketed:
        for inner, outer in zip(record["inner_ends"], record["changes"], strict=True):
            assert (inner is None) == (outer is None)
            assert inner is None or abs(inner) < abs(outer)
    smallest = document["summary"]["smallest"]
    network = OpenedAgent(agent, engine="numpy").network
    target = next(record for record in records if record["target"] == smallest["target"])
    edit = WeightChange(
        parameter=target["layer_name"],
        row=target["neuron_index"],
        column=target["weight_index"],
        value=smallest["value_beyond"],
    )
    observation = OpenedAgent(agent).inputs("clean_inputs.json").selected([smallest["input_id"]]).observations
    with network.with_weights([edit]) as changed:
        assert changed.scores(observation).argmax() != network.scores(observation).argmax()
    assert flips_script.main(["--agent_path", str(agent), "--all_weights", "q_net.0", "q_net.2", "q_net.4",
                              "--largest_change", "20"]) == 0  # fmt: skip
    assert "up to date" in capsys.readouterr().err


def test_what_was_only_searched_is_reported_as_such(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    brackets = found_by_script(agent_with_inputs(tmp_path / "agent", nn.SiLU))["summary"]["brackets"]
    assert brackets["flips_certified"] + brackets["flips_searched"] > 0
    assert brackets["no_flip_searched"] > 0
    printed = capsys.readouterr().out
    assert f"{brackets['no_flip_searched']:,} none found at this resolution" in printed
    assert "resolution of the search: steps of at most 2% of the change" in printed


def test_files_of_relu_agents_have_no_keys_of_brackets(tmp_path: Path) -> None:
    document = found_by_script(agent_with_inputs(tmp_path / "agent", nn.ReLU))
    assert "brackets" not in document["summary"]
    assert "brackets" not in document["metadata"]["run"]
    assert not {"method", "inner_ends", "certified"} & set(document["results"][0])


def test_perturb_weights_leads_to_the_search_for_every_activation_function(tmp_path: Path) -> None:
    assert flips_can_be_found(OpenedAgent(dqn(tmp_path / "agent", nn.Tanh)))
    assert flips_can_be_found(OpenedAgent(save_agent(tmp_path / "quantiles", new_agent("QR-DQN"))))


def test_a_bracket_that_does_not_hold_counts_as_not_verified_and_not_as_certified(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    agent = agent_with_inputs(tmp_path / "agent", nn.Tanh)
    search = bracketed_flips._search

    def without_the_outer_end(*arguments: Any) -> Any:
        inner, outer = search(*arguments)
        return inner, np.where(np.isfinite(outer), inner, outer)

    monkeypatch.setattr(bracketed_flips, "_search", without_the_outer_end)
    document = found_by_script(agent)
    brackets = document["summary"]["brackets"]
    assert document["summary"]["not_verified"] > 0
    assert brackets["flips_certified"] == brackets["flips_searched"] == brackets["no_flip_searched"] == 0
    for record in document["results"]:
        if record["method"] == "bracket":
            assert sum(not certain for certain in record["certified"]) == record["not_verified"]
