"""The smallest change of a weight that flips an action: exact, verified, and none where there is none."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from gymnasium import spaces

from Neuron_Selection.AnalysisTooling.measures.decisions import action_margins
from Neuron_Selection.errors import InputError, UsageError
from Neuron_Selection.PatchingTooling import OpenedAgent
from Neuron_Selection.PatchingTooling.agent.network import WeightChange
from Neuron_Selection.PatchingTooling.numpy_network.network import NumpyNetwork
from Parameter_Selection.PerturbationTooling import find_smallest_flips as flips_script
from Parameter_Selection.PerturbationTooling.exact_flips import run as flips_run
from Parameter_Selection.PerturbationTooling.exact_flips.smallest_flips import SmallestFlips, compute_smallest_flips
from Parameter_Selection.PerturbationTooling.weights.targets import WeightTarget, all_weights_of
from SaliencyTooling.weight_ranking import weight_matrices
from tests.extractors import MinigridFeaturesExtractor
from tests.made_actors import new_agent, save_agent
from tests.made_agents import mlp_agent, new_dqn, planted_agent, save_dqn
from tests.raised import DIFFERENT_RUN, check_parts, parts, reported_errors, reports


def opened_network(folder: Path) -> tuple[OpenedAgent, NumpyNetwork]:
    opened = OpenedAgent(folder, engine="numpy")
    return opened, opened.numpy_network


def actions_with(network: NumpyNetwork, observation: np.ndarray, target: WeightTarget, value: float) -> int:
    """The definition once more: a network with that weight, run from its input on."""
    edit = WeightChange(parameter=target.parameter, row=target.row, column=target.column, value=value)
    with network.with_weights([edit]) as changed:
        return int(changed.scores(observation[None]).argmax())


@pytest.mark.parametrize("net_arch", [[8, 6], [6], [], [5, 6, 5]])
def test_no_smaller_change_on_a_grid_flips_and_the_found_one_does(tmp_path: Path, net_arch: list[int]) -> None:
    check_with_a_grid(mlp_agent(tmp_path / "agent", net_arch=net_arch, seed=5), width=4, limit=10.0)


@pytest.mark.parametrize("name", ["QR-DQN", "QR-DQN, one quantile", "PPO, ReLU"])
def test_flips_of_other_algorithms_with_relu_are_exact_too(tmp_path: Path, name: str) -> None:
    found = check_with_a_grid(save_agent(tmp_path / "agent", new_agent(name)), width=5, limit=10.0)
    assert found.verified[:-8].any()  # of Linears before the last, whose weights are the last 8


def check_with_a_grid(folder: Path, *, width: int, limit: float) -> SmallestFlips:
    opened, network = opened_network(folder)
    random = np.random.default_rng(2)
    observations = random.normal(size=(100, width)).astype(np.float32)
    observations[:50, 1] = 0.0  # a weight that reads nothing can flip nothing
    margins = action_margins(network.scores(observations))
    observations = observations[np.r_[np.argsort(margins[:50])[:3], 50 + np.argsort(margins[50:])[:3]]]
    matrices = weight_matrices(opened.online_weights)
    targets = []
    for linear in network.stored_linears:
        everything = all_weights_of([linear.name], matrices)
        targets += [
            everything[place] for place in random.choice(len(everything), min(8, len(everything)), replace=False)
        ]
    found = compute_smallest_flips(network, observations, targets, ranges=dict.fromkeys(matrices, limit))
    flips = np.isfinite(found.changes)
    assert flips[-8:].any()
    assert found.verified[flips].all()
    assert found.is_exact.all()
    baseline = network.scores(observations).argmax(axis=1)
    for place, target in enumerate(targets):
        before = float(matrices[target.parameter][target.row, target.column])
        for row in range(len(observations)):
            change = found.changes[place, row]
            reach = abs(change) * (1 - 1e-9) if np.isfinite(change) else limit
            assert reach <= limit
            for step in np.linspace(-reach, reach, 41):
                assert actions_with(network, observations[row], target, before + step) == baseline[row]
            if np.isfinite(change):
                beyond = actions_with(network, observations[row], target, before + change * (1 + 1e-6))
                assert beyond == found.actions[place, row] != baseline[row]
            else:
                assert found.actions[place, row] == -1
    return found


def test_the_flip_of_a_planted_network_is_where_arithmetic_puts_it(tmp_path: Path) -> None:
    # Q = (relu(x0), 3 relu(x1)): at (2, 0.5) that is (2, 1.5), action 0
    folder = planted_agent(tmp_path / "agent", [([[1, 0], [0, 1]], [0, 0]), ([[1, 0], [0, 3]], [0, 0])])
    opened, network = opened_network(folder)
    targets = all_weights_of(["q_net.0", "q_net.2"], opened.online_weights)
    ranges = {"q_net.0.weight": 1.0, "q_net.2.weight": 10.0}
    found = compute_smallest_flips(network, np.array([[2.0, 0.5]], np.float32), targets, ranges=ranges)
    changes = dict(zip(map(str, targets), found.changes[:, 0].tolist(), strict=True))
    expected = {
        "q_net.0.weight[0,0]": -0.25,  # 2 (1 - 0.25) = 1.5
        "q_net.0.weight[0,1]": -1.0,  # 2 - 0.5 = 1.5, the end of the range
        "q_net.0.weight[1,0]": 0.25 / 3,  # 3 (0.5 + 2 t) = 2
        "q_net.0.weight[1,1]": 1 / 3,
        "q_net.2.weight[0,0]": -0.25,
        "q_net.2.weight[0,1]": -1.0,
        "q_net.2.weight[1,0]": 0.25,
        "q_net.2.weight[1,1]": 1.0,
    }
    for name, value in expected.items():
        assert changes[name] == pytest.approx(value, rel=1e-12), name


def test_a_dead_neuron_is_woken_first_and_only_one_sign_of_change_wakes_it(tmp_path: Path) -> None:
    # Q = (1, 2 relu(x0 - 3)): at x0 = 1 the neuron is 2 short of 0 and another 0.5 short of 1
    folder = planted_agent(tmp_path / "agent", [([[1]], [-3]), ([[0], [2]], [1, 0])])
    _, network = opened_network(folder)
    target = WeightTarget(parameter="q_net.0.weight", row=0, column=0)
    observations = np.array([[1.0], [-1.0], [0.0]], np.float32)
    found = compute_smallest_flips(network, observations, [target], ranges={"q_net.0.weight": 100.0})
    assert found.changes[0, :2] == pytest.approx([2.5, -4.5], rel=1e-12)
    assert np.isnan(found.changes[0, 2])
    near = compute_smallest_flips(network, observations, [target], ranges={"q_net.0.weight": 3.0})
    assert np.isfinite(near.changes[0]).tolist() == [True, False, False]


def flips_of(
    folder: Path, observations: list[list[float]], targets: list[WeightTarget], limit: float = 10.0
) -> SmallestFlips:
    _, network = opened_network(folder)
    ranges = {target.parameter: limit for target in targets}
    return compute_smallest_flips(network, np.array(observations, np.float32), targets, ranges=ranges)


def test_on_a_tie_any_change_of_the_stored_sign_flips(tmp_path: Path) -> None:
    # Q = (h, h), h = relu(x0): only one of the two outgoing weights must move, up or down by next to nothing
    folder = planted_agent(tmp_path / "agent", [([[1.0]], [0.0]), ([[1.0], [1.0]], [0.0, 0.0])])
    targets = [WeightTarget(parameter="q_net.2.weight", row=row, column=0) for row in (0, 1)]
    inner = WeightTarget(parameter="q_net.0.weight", row=0, column=0)
    found = flips_of(folder, [[2.0]], [*targets, inner])
    assert found.changes[:2, 0].tolist() == [0.0, 0.0]
    assert np.signbit(found.changes[:2, 0]).tolist() == [True, False]
    assert found.actions[:2, 0].tolist() == [1, 1]
    assert found.verified[:2, 0].all()
    assert np.isnan(found.changes[2, 0])  # both move alike: no change of it flips


@pytest.mark.parametrize("lead", [0.0, 2**-20, 0.5])
def test_the_value_beyond_flips_and_a_near_tie_is_reported(
    lead: float, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    # Q = (h + lead, h), h = relu(x0): on a tie the next number to a weight of 0 would be lost in the sum with any bias
    rows = [[1.0, 0.0], [1.0, 0.0]]
    folder = planted_agent(tmp_path / "agent", [([[1.0], [1.0]], [0.0, 0.0]), (rows, [1 + lead, 1.0])])
    (folder / "activation_inputs").mkdir()
    (folder / "activation_inputs" / "clean_inputs.json").write_text('{"one": {"input": [2.0]}}')
    assert flips_script.main(["--agent_path", str(folder), "--weights", "q_net.2.weight[1,1]"]) == 0
    reported = "(a near tie: float noise alone can decide there)" in capsys.readouterr().out
    summary = json.loads((folder / "perturbation_results" / "smallest_flips.json").read_text())["summary"]
    assert reported is summary["smallest"]["near_tie"] is (lead < 1e-3)
    assert summary["near_tie_ids"] == ["one"] * (lead < 1e-3)
    assert summary["smallest"]["value_beyond"] == pytest.approx(lead / 2, rel=1e-4, abs=1e-9)
    _, network = opened_network(folder)
    target = WeightTarget(parameter="q_net.2.weight", row=1, column=1)
    observation = np.array([2.0], np.float32)
    assert actions_with(network, observation, target, 0.0) == 0
    assert actions_with(network, observation, target, summary["smallest"]["value_beyond"]) == 1


def test_a_rival_that_only_comes_level_flips_nothing_until_it_passes(tmp_path: Path) -> None:
    # h = w x, at w = 0.5; rival(h) = relu(h) - relu(h - 1) + relu(h - 2) reaches 1 at h = 1, stays, and passes at h = 2
    first = ([[0.5, 0.0]], [0.0])
    second = ([[1.0], [1.0], [1.0]], [0.0, -1.0, -2.0])
    target = WeightTarget(parameter="q_net.0.weight", row=0, column=0)
    rows = [[0.0, 0.0, 0.0], [1.0, -1.0, 1.0]]
    higher = planted_agent(tmp_path / "higher", [first, second, (rows, [1.0, 0.0])])
    found = flips_of(higher, [[1.0, 0.0]], [target])
    assert found.changes[0, 0] == pytest.approx(1.5, rel=1e-12)  # w = 2
    assert (found.actions[0, 0], found.verified[0, 0]) == (1, True)
    lower = planted_agent(tmp_path / "lower", [first, second, (rows[::-1], [0.0, 1.0])])
    found = flips_of(lower, [[1.0, 0.0]], [target])
    assert found.changes[0, 0] == pytest.approx(0.5, rel=1e-12)  # a tie is decided for the lower index, from w = 1 on
    assert (found.actions[0, 0], found.verified[0, 0]) == (0, True)
    peak = planted_agent(tmp_path / "peak", [first, second, ([[0, 0, 0], [1.0, -2.0, 0.0]], [1.0, 0.0])])
    assert np.isnan(flips_of(peak, [[1.0, 0.0]], [target]).changes[0, 0])  # touches 1 at h = 1 and falls


def test_what_does_not_hold_on_both_sides_counts_nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    agent = agent_with_inputs(tmp_path / "agent")
    exact = flips_run.compute_smallest_flips

    def with_doubt(*arguments: Any, **more: Any) -> SmallestFlips:
        found = exact(*arguments, **more)
        place = np.unravel_index(np.nanargmin(np.abs(found.changes)), found.changes.shape)
        found.verified[place] = False
        return found

    words = ["--agent_path", str(agent), "--all_weights", "q_net.2", "--quiet", "--overwrite"]
    path = agent / "perturbation_results" / "smallest_flips.json"
    assert flips_script.main(words) == 0
    sure = json.loads(path.read_text())
    monkeypatch.setattr(flips_run, "compute_smallest_flips", with_doubt)
    assert flips_script.main(words) == 0
    doubtful = json.loads(path.read_text())
    one, other = sure["summary"], doubtful["summary"]
    assert (other["pairs_that_flip"], other["not_verified"]) == (one["pairs_that_flip"] - 1, 1)
    assert abs(other["smallest"]["change"]) > abs(one["smallest"]["change"])
    (odd,) = [record for record in doubtful["results"] if record["not_verified"]]
    changes = [abs(change) for change in odd["changes"] if change is not None]
    assert len(changes) == odd["inputs_that_flip"]
    assert odd["smallest"] == (min(changes) if changes else None)
    assert odd["median"] == (pytest.approx(np.median(changes)) if changes else None)


def agent_with_inputs(folder: Path, **more: object) -> Path:
    agent = mlp_agent(folder, **more)  # type: ignore[arg-type]
    (agent / "activation_inputs").mkdir()
    random = np.random.default_rng(0)
    inputs = {f"id-{n}": {"input": random.normal(size=4).tolist()} for n in range(5)}
    (agent / "activation_inputs" / "clean_inputs.json").write_text(json.dumps(inputs))
    return agent


def test_the_script_writes_every_pair_and_leaves_an_up_to_date_file_alone(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    agent = agent_with_inputs(tmp_path / "agent")
    words = ["--agent_path", str(agent), "--all_weights", "q_net.2", "--json"]
    assert flips_script.main(words) == 0
    path = agent / "perturbation_results" / "smallest_flips.json"
    document = json.loads(path.read_text())
    assert json.loads(capsys.readouterr().out)["written"] is True
    assert len(document["results"]) == 48
    assert document["summary"]["verified"] == document["summary"]["pairs_that_flip"] > 0
    assert document["summary"]["input_ids"] == [f"id-{n}" for n in range(5)]
    for record in document["results"]:
        assert record["inputs_that_flip"] == sum(change is not None for change in record["changes"])
        assert [c is None for c in record["changes"]] == [a is None for a in record["actions"]]
    stored = path.read_bytes()
    assert flips_script.main(words) == 0
    assert json.loads(capsys.readouterr().out)["written"] is False
    assert path.read_bytes() == stored
    with reports(InputError, file=path, problem=DIFFERENT_RUN):
        assert flips_script.main([*words, "--largest_change", "1"]) == 2


def test_networks_it_is_not_for_are_refused_as_usage_and_no_flag_is_advised(tmp_path: Path) -> None:
    image = spaces.Box(0, 255, (3, 36, 36), np.uint8)
    custom = new_dqn(image, policy="CnnPolicy", features_extractor_class=MinigridFeaturesExtractor)
    cnn = new_dqn(image, policy="CnnPolicy")
    for name, model, found in (("custom", custom, "MinigridFeaturesExtractor"), ("cnn", cnn, "a convolution")):
        words = ["--agent_path", str(save_dqn(tmp_path / name, model)), "--weights", "q_net.0.weight[0,0]"]
        with reported_errors() as errors:
            assert flips_script.main(words) == 2
        check_parts(errors[0], field="smallest flips", names=["only MLPs", found])
        assert "--" not in str(errors[0])


@pytest.mark.parametrize("largest", ["0", "-1", "nan", "inf", "1_0"])
def test_a_range_that_is_none_is_refused(tmp_path: Path, largest: str) -> None:
    agent = agent_with_inputs(tmp_path / "agent")
    words = ["--agent_path", str(agent), "--weights", "q_net.0.weight[0,0]", f"--largest_change={largest}"]
    error = parts(field="largest change", found=str(float(largest)), expected="a finite number above 0")
    if largest == "1_0":
        error = parts(names=["--largest_change", "'1_0'"])
    with reports(UsageError, **error):
        assert flips_script.main(words) == 2
