from __future__ import annotations

import csv
import importlib
import io
import re
import sys
import warnings
import zipfile
from collections import Counter
from contextlib import redirect_stdout
from pathlib import Path

import numpy as np
import pytest

from Neuron_Selection.ExperimentTooling import find_minimal_sets
from Neuron_Selection.ObservationTooling.egocentric_view import EgocentricView
from Neuron_Selection.ObservationTooling.grid_worlds.environments import make_environment
from Neuron_Selection.ObservationTooling.lava_crossing.pair_files import load_pairs
from Neuron_Selection.ObservationTooling.state_tables import follow_policy, tabulate_states
from Neuron_Selection.PatchingTooling import PatchingExperiment

EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "lava_crossing"
README = (EXAMPLE / "README.md").read_text()
PAIRS = load_pairs(EXAMPLE / "agent")
NUMPY_2 = pytest.mark.skipif(
    np.__version__ < "2", reason="numpy 1 cannot unpickle what numpy 2 has pickled, as SB3 does"
)


@pytest.fixture(scope="module")
def agent():
    return PatchingExperiment(agent_path=EXAMPLE / "ppo")


@pytest.fixture(scope="module", params=["train_ppo", "compare_agents"])
def script(request):
    """A script of the example as a module; what it imports from its folder is removed from ``sys.modules``."""
    path, modules = list(sys.path), set(sys.modules)
    sys.path.insert(0, str(EXAMPLE))
    yield importlib.import_module(request.param)
    sys.path[:] = path
    for name in {"train", request.param} - modules:
        sys.modules.pop(name, None)


only_train = pytest.mark.parametrize("script", ["train_ppo"], indirect=True)
only_compare = pytest.mark.parametrize("script", ["compare_agents"], indirect=True)


def both_runs() -> np.ndarray:
    return np.stack([getattr(pair, name) for name in ("clean", "corrupted") for pair in PAIRS])


def test_the_inputs_and_their_encoding_are_those_of_the_dqn():
    for name in ("encoding.json", "activation_inputs/clean_inputs.json", "activation_inputs/corrupted_inputs.json"):
        assert (EXAMPLE / "ppo" / name).read_bytes() == (EXAMPLE / "agent" / name).read_bytes()


@NUMPY_2
def test_the_zip_is_small_loads_quietly_and_its_greedy_actions_are_those_of_stable_baselines(agent, table):
    from stable_baselines3 import PPO

    path = EXAMPLE / "ppo" / "agent.zip"
    assert path.stat().st_size < 400_000
    with zipfile.ZipFile(path) as archive:
        assert not any(b"site-packages" in archive.read(name) for name in archive.namelist())
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model = PPO.load(path, device="cpu")
    observations = np.concatenate([both_runs(), table.observations])
    expected = model.predict(observations, deterministic=True)[0]
    assert agent.q_values(observations).argmax(axis=1).tolist() == expected.tolist()
    assert set(expected.tolist()) == {0, 1, 2}


def test_it_reaches_the_goal_as_often_as_the_readme_reports(agent, table):
    ends = Counter(follow_policy(table, agent.q_values(table.observations).argmax(axis=1)).tolist())
    row = re.search(r"\| PPO, all ([\d,]+) states \| ([\d,]+) \(([\d.]+) %\) \| (\d+) \| (\d+) \(", README)
    states, goal, percent, lava, loop = (float(number.replace(",", "")) for number in row.groups())
    assert (states, goal, lava, loop) == (len(table.states), ends["goal"], ends["lava"], ends["loop"])
    assert percent == round(100 * goal / states, 2)


def test_it_plays_unseen_episodes_to_the_goal(agent):
    env = EgocentricView(make_environment("MiniGrid-LavaCrossingS9N1-v0"))
    for seed in range(1_000_000, 1_000_020):
        observation, _ = env.reset(seed=seed)
        ended = False
        while not ended:
            observation, reward, terminated, truncated, _ = env.step(int(agent.q_values(observation[None]).argmax()))
            ended = terminated or truncated
        assert reward > 0


def test_its_greedy_action_differs_in_as_many_pairs_as_the_readme_reports(agent):
    clean, corrupted = agent.q_values(both_runs()).argmax(axis=1).reshape(2, -1)
    differing = Counter(pair.edit.kind for pair, differs in zip(PAIRS, clean != corrupted, strict=True) if differs)
    (row,) = re.findall(r"^\| PPO \| (\d+) \| (\d+) \| (\d+) \| (\d+) \| (\d+) \|$", README, re.MULTILINE)
    kinds = ("gap_moved", "goal_moved", "lava_added", "lava_removed")
    assert [int(number) for number in row] == [differing.total(), *(differing[kind] for kind in kinds)]


@only_train
def test_a_saved_agent_acts_as_the_trained_weights_do(script, tmp_path):
    env_id = "MiniGrid-LavaGapS5-v0"
    table = tabulate_states(make_environment(env_id), [])
    weights = script.train(env_id, seed=0, steps=1, table=table)
    agent = script.save_agent(tmp_path / "agent.zip", weights, env_id=env_id)
    inputs = np.eye(151, dtype=np.float32)
    actions = PatchingExperiment(agent_path=tmp_path).q_values(inputs).argmax(axis=1)
    assert actions.tolist() == agent.predict(inputs, deterministic=True)[0].tolist()
    assert all((agent.policy.state_dict()[name] == weights[name]).all() for name in weights)


@only_compare
def test_the_comparison_takes_medians_over_common_pairs(script, tmp_path, monkeypatch):
    first, second, third = (pair.input_id for pair in PAIRS[:3])  # gap moved, lava added, goal moved
    for name, sizes in {"one": {first: 3, second: 6, third: 9}, "two": {first: 5, third: 8}}.items():
        folder = tmp_path / name / "patching_results"
        folder.mkdir(parents=True)
        with (folder / "minimal_sets.csv").open("w", newline="") as file:
            rows = csv.writer(file)
            rows.writerow(["direction", "layer", "input_id", "size"])
            rows.writerows(["denoising", "q_net.1", pair, size] for pair, size in {**sizes, "": 40}.items())
    monkeypatch.setattr(sys, "argv", ["compare_agents.py", str(tmp_path / "one"), str(tmp_path / "two")])
    with redirect_stdout(io.StringIO()) as printed:
        script.main()
    lines = printed.getvalue().splitlines()
    assert "| one | 3 | 1 | 1 | 1 | 0 |" in lines
    assert "| every agent | 2 | 1 | 1 | 0 | 0 |" in lines
    assert [line for line in lines if line.startswith("| one | q_net.1")] == [
        "| one | q_net.1 | denoising | 6 | 3 | 9 | 6 | - |",
        "| one | q_net.1 | denoising | 6 | 3 | 9 | - | - |",
    ]
    assert "| two | q_net.1 | denoising | 6.5 | 5 | 8 | - | - |" in lines


@only_compare
def test_the_readme_has_the_medians_that_its_commands_print(script, tmp_path, monkeypatch):
    for name in ("agent", "ppo"):
        words = ["--agent_path", str(EXAMPLE / name), "--output_dir", str(tmp_path / name / "patching_results")]
        assert find_minimal_sets.main([*words, "--quiet"]) == 0
    monkeypatch.setattr(sys, "argv", ["compare_agents.py", str(tmp_path / "agent"), str(tmp_path / "ppo")])
    with redirect_stdout(io.StringIO()) as printed:
        script.main()
    own, common = printed.getvalue().partition("Median size, common pairs:")[::2]
    names = {"DQN": "agent", "PPO": "ppo"}
    table = re.findall(r"^\| (DQN|PPO) \| (\S+), \d+ neurons \| (.*)$", README, re.MULTILINE)
    assert len(table) == 8
    assert all(f"| {names[name]} | {layer} | {rest}" in common.splitlines() for name, layer, rest in table)
    rows = [f"| agent | {layer} | {way} | " for way in ("denoising", "noising") for layer in ("q_net.1", "q_net.3")]
    medians = [re.search(re.escape(row) + r"(\S+)", own)[1] for row in rows]
    (shown,) = re.findall(
        r"all its 100 pairs the medians are (\d) and (\d) \(denoising\), (\d) and (\d) \(noising\)", README
    )
    assert list(shown) == medians
