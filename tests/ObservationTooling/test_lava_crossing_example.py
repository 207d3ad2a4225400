from __future__ import annotations

import importlib.util
import json
import re
import sys
import warnings
import zipfile
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from Neuron_Selection.ObservationTooling.egocentric_view import EgocentricView
from Neuron_Selection.ObservationTooling.grid_worlds.environments import make_environment
from Neuron_Selection.ObservationTooling.grid_worlds.layouts import distances_to_goal
from Neuron_Selection.ObservationTooling.lava_crossing.edits import apply_edit
from Neuron_Selection.ObservationTooling.lava_crossing.pair_files import load_pairs
from Neuron_Selection.ObservationTooling.lava_crossing.rebuilding import layout_of, rebuild_input, verify_pairs
from Neuron_Selection.ObservationTooling.state_tables import follow_policy, tabulate_states
from Neuron_Selection.PatchingTooling import PatchingExperiment

EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "lava_crossing"
PAIRS = load_pairs(EXAMPLE / "agent")


@pytest.fixture(scope="module")
def agent():
    return PatchingExperiment(agent_path=EXAMPLE / "agent")


@pytest.fixture(scope="module")
def train():
    spec = importlib.util.spec_from_file_location("lava_crossing_train", EXAMPLE / "train.py")
    module = importlib.util.module_from_spec(spec)
    path, sys.modules[spec.name] = list(sys.path), module
    spec.loader.exec_module(module)
    sys.path[:] = path
    yield module
    del sys.modules[spec.name]


@pytest.mark.parametrize("pair", PAIRS, ids=lambda pair: pair.input_id)
def test_every_clean_input_is_rebuilt_bit_for_bit_from_its_id(pair):
    assert rebuild_input(pair.place).tobytes() == pair.clean.tobytes()


def test_there_are_a_hundred_pairs_one_edit_apart_in_forty_two_independent_clusters():
    verify_pairs(PAIRS, where=EXAMPLE)
    assert len({pair.clean.tobytes() for pair in PAIRS}) == len({pair.input_id for pair in PAIRS}) == 100
    assert len({pair.place.seed for pair in PAIRS}) == len({layout_of(pair.place) for pair in PAIRS}) == 42
    assert set(Counter(pair.edit.kind for pair in PAIRS).values()) <= {24, 25, 26}
    for pair in PAIRS:
        layout = layout_of(pair.place)
        edited = apply_edit(layout, pair.edit)
        before, after = "".join(layout.rows), "".join(edited.rows)
        assert sum(a != b for a, b in zip(before, after, strict=True)) == len(pair.edit.cells) <= 2
        assert pair.place.cell in distances_to_goal(edited)


def test_every_pairs_greedy_actions_differ_clearly_and_are_those_on_file(agent):
    clean, corrupted = (
        agent.q_values(np.stack([getattr(pair, name) for pair in PAIRS])) for name in ("clean", "corrupted")
    )
    for q_values in (clean, corrupted):
        ranked = np.sort(q_values, axis=1)
        assert (ranked[:, -1] - ranked[:, -2]).min() >= 0.02
    assert (clean.argmax(axis=1) != corrupted.argmax(axis=1)).all()
    assert [pair.actions for pair in PAIRS] == list(zip(clean.argmax(axis=1), corrupted.argmax(axis=1), strict=True))
    stored = json.loads((EXAMPLE / "agent" / "activation_inputs" / "pairs.json").read_text())
    for row, record in enumerate(stored.values()):
        assert record["clean_q_values"] == pytest.approx(clean[row].tolist(), abs=2e-5)
        assert record["corrupted_q_values"] == pytest.approx(corrupted[row].tolist(), abs=2e-5)
        assert [record["clean_action"], record["corrupted_action"]] == list(PAIRS[row].actions)


def test_the_agent_reaches_the_goal_as_often_as_its_readme_reports(agent, table):
    ends = Counter(follow_policy(table, agent.q_values(table.observations).argmax(axis=1)).tolist())
    readme = (EXAMPLE / "README.md").read_text()
    row = re.search(r"\| all ([\d,]+) states.*\| ([\d,]+) \(([\d.]+) %\) \| (\d+) \| (\d+) \(", readme)
    states, goal, percent, lava, loop = (float(number.replace(",", "")) for number in row.groups())
    assert (states, goal, lava, loop) == (len(table.states), ends["goal"], ends["lava"], ends["loop"])
    assert percent == round(100 * goal / states, 1)


def test_the_agent_plays_unseen_episodes_to_the_goal(agent):
    env = EgocentricView(make_environment("MiniGrid-LavaCrossingS9N1-v0"))
    for seed in range(1_000_000, 1_000_020):
        observation, _ = env.reset(seed=seed)
        ended = False
        while not ended:
            observation, reward, terminated, truncated, _ = env.step(int(agent.q_values(observation[None]).argmax()))
            ended = terminated or truncated
        assert reward > 0


@pytest.mark.skipif(np.__version__ < "2", reason="numpy 1 cannot unpickle what numpy 2 has pickled, as SB3 does")
def test_the_zip_is_small_loads_quietly_and_holds_no_path_of_the_machine_that_made_it():
    from stable_baselines3 import DQN

    path = EXAMPLE / "agent" / "agent.zip"
    assert path.stat().st_size < 1_000_000
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert DQN.load(path, device="cpu").q_net is not None
    with zipfile.ZipFile(path) as archive:
        assert not any(b"site-packages" in archive.read(name) for name in archive.namelist())


def test_shaping_adds_nothing_to_a_whole_episode_but_a_constant_of_its_start(train):
    env = train.TrainingEpisodes("MiniGrid-LavaCrossingS9N1-v0")
    random = np.random.default_rng(0)
    endings = set()
    for seed in range(60):
        env.reset(seed=seed)
        first = env.potential
        assert first == -0.05 * distances_to_goal(env.layout)[tuple(map(int, env.world.agent_pos))]
        shaped = plain = 0.0
        discount, ended = 1.0, False
        while not ended:
            _, reward, terminated, truncated, _ = env.step(int(random.integers(3)))
            ended = terminated or truncated
            content = env.layout.content(tuple(map(int, env.world.agent_pos)))
            endings.add(content)
            shaped += discount * reward
            plain += discount * ({"G": 1.0, "~": -1.0}.get(content, 0.0) - 0.01)
            discount *= 0.97
        assert env.world.step_count <= 100
        assert shaped == pytest.approx(plain + discount * env.potential - first)
    assert endings == {".", "~", "G"}


def test_training_episodes_start_anywhere_four_times_of_five(train):
    env = train.TrainingEpisodes("MiniGrid-LavaCrossingS9N1-v0")
    starts = []
    for seed in range(300):
        observation, _ = env.reset(seed=seed)
        assert env.observation_space.contains(observation)
        starts.append((*map(int, env.world.agent_pos), int(env.world.agent_dir)))
    assert 0.12 < starts.count((1, 1, 0)) / 300 < 0.28
    assert len(set(starts)) > 100


def test_a_saved_agent_acts_as_the_trained_weights_do(train, tmp_path):
    from stable_baselines3 import DQN

    env_id = "MiniGrid-LavaGapS5-v0"
    table = tabulate_states(make_environment(env_id), [])
    weights = train.train(env_id, seed=0, steps=200, table=table)
    agent = train.save_agent(tmp_path / "agent.zip", weights, env_id=env_id)
    loaded = PatchingExperiment(agent_path=tmp_path)
    inputs = np.eye(151, dtype=np.float32)
    assert loaded.q_values(inputs).argmax(axis=1).tolist() == train.greedy_actions(agent, inputs).tolist()
    state = DQN.load(tmp_path / "agent.zip", device="cpu").policy.state_dict()
    assert all((state[name] == weights[name]).all() for name in weights)
    assert train.play(agent, env_id, seed=0)[0] in {"goal", "lava", "time"}
