"""From an environment to a sweep: recorded, paired, verified, patched, with contrast in every pair."""

from __future__ import annotations

import json
import shutil
import warnings
from pathlib import Path

import pytest
from gymnasium import spaces

from tests.conftest import ROOT
from tests.in_process import in_process
from tests.made_agents import new_dqn, save_dqn
from tests.made_worlds import DOOR_KEY, EXTRACTOR, decisive, flat_agent, image_agent

HERE = ROOT / "Neuron_Selection" / "ObservationTooling"
SWEEP = ROOT / "Neuron_Selection" / "ExperimentTooling" / "run_experiments.py"
WRAPPED = ["--env", DOOR_KEY, "--wrapper"]


def frozen_lake_agent(folder: Path) -> Path:
    return save_dqn(folder, decisive(new_dqn(spaces.Discrete(16), n_actions=4, net_arch=[8], seed=3)))


def run(script: Path, *words: str, code: int = 0) -> str:
    done = in_process([str(script), *words])
    assert done.returncode == code, done.stderr
    return done.stdout


def swept(folder: Path, recording: list[str], pairing: list[str], *loading: str) -> None:
    agent = ["--agent_path", str(folder), *loading]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of environments
        run(HERE / "record_inputs.py", *agent, *recording)
    made = json.loads(run(HERE / "make_pairs.py", *agent, *pairing, "--json"))["summary"]
    assert 0 < made["pairs"] <= 100
    assert json.loads(run(HERE / "verify_pairs.py", *agent, "--json")) == {"pairs": made["pairs"], "verified": True}
    results = json.loads(run(SWEEP, *agent, "--json"))
    assert results["contrast_pairs"] == made["pairs"]


@pytest.mark.parametrize("method", ["nearest", "features"])
@pytest.mark.parametrize(
    ("name", "vecnormalize"),
    [("CartPole-v1", False), ("ppo-CartPole-v1", False), ("a2c-Acrobot-v1", True)],
)
def test_agents_of_others(name, vecnormalize, method, published_agents, tmp_path):
    folder = shutil.copytree(published_agents / name, tmp_path / name)
    loading = ["--vecnormalize", "vecnormalize.pkl"] if vecnormalize else []
    env = name.removeprefix("ppo-").removeprefix("a2c-")
    swept(folder, ["--env", env, "--episodes", "2", "--max_steps", "150"], ["--method", method], *loading)


def test_frozen_lake(tmp_path):
    folder = frozen_lake_agent(tmp_path / "agent")
    swept(folder, ["--env", "FrozenLake-v1", "--policy", "random", "--episodes", "40"], [])


@pytest.mark.parametrize("pairing", [["--method", "features", "--group", "cells"], ["--method", "environment"]])
def test_a_minigrid_agent_with_an_own_extractor(pairing, tmp_path):
    folder = image_agent(tmp_path / "agent")
    recording = [*WRAPPED, "minigrid.wrappers.ImgObsWrapper", "--policy", "random", "--episodes", "1"]
    swept(folder, recording, [*pairing, "--n_pairs", "8"], "--features_extractor", EXTRACTOR)


def test_a_minigrid_agent_with_flat_observations(tmp_path):
    folder = flat_agent(tmp_path / "agent")
    recording = [*WRAPPED, "minigrid.wrappers.FlatObsWrapper", "--policy", "random", "--episodes", "1"]
    swept(folder, recording, ["--method", "environment", "--n_pairs", "8"])


def test_from_a_folder_of_its_own_the_next_command_names_the_files(tmp_path):
    folder = frozen_lake_agent(tmp_path / "agent")
    run(HERE / "record_inputs.py", "--agent_path", str(folder), "--env", "FrozenLake-v1", "--policy", "random")
    words = ["--agent_path", str(folder), "--output_dir", str(tmp_path / "out"), "--json"]
    following = json.loads(run(HERE / "make_pairs.py", *words))["next"].split()
    assert following[following.index("--clean") + 1] == str(tmp_path / "out" / "clean_inputs.json")
    assert following[following.index("--corrupted") + 1] == str(tmp_path / "out" / "corrupted_inputs.json")


@pytest.mark.parametrize(
    "words",
    [
        ["--n_pairs", "0"],
        ["--method", "magic"],
        ["--env", "FrozenLake-v1"],
        ["--method", "environment"],
        ["--method", "environment", "--env", "MiniGrid-DoorKy-5x5-v0"],
        ["--min_margin", "nan"],
        ["--group", "keys"],
        ["--from_action", "9"],
        ["--inputs", "nowhere.json"],
    ],
)
def test_what_cannot_be_done_ends_with_exit_code_2_and_writes_nothing(words, tmp_path):
    folder = frozen_lake_agent(tmp_path / "agent")
    run(HERE / "make_pairs.py", "--agent_path", str(folder), *words, code=2)
    assert [path.name for path in folder.iterdir()] == ["agent.zip"]


def test_the_script_needs_neither_torch_nor_stable_baselines3_for_an_mlp(tmp_path):
    folder = tmp_path / "agent"
    (folder / "activation_inputs").mkdir(parents=True)
    example = ROOT / "examples" / "lava_crossing" / "agent"
    shutil.copy(example / "agent.zip", folder)
    words = ["--agent_path", str(folder), "--inputs", str(example / "activation_inputs" / "clean_inputs.json")]
    done = in_process([str(HERE / "make_pairs.py"), *words, "--n_pairs", "5"], forbid=["torch", "stable_baselines3"])
    assert done.returncode == 0, done.stderr
