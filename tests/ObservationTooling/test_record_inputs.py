"""record_inputs.py: what an agent visits, as a script and as a function."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium import spaces
from sb3_contrib import MaskablePPO

from Neuron_Selection.errors import InputError, SuiteError, SuiteWarning, UntrustedError, UsageError
from Neuron_Selection.FileFormats.agent_zip.agent_folder import INPUTS
from Neuron_Selection.FileFormats.state_frames import frames_path, load_frames
from Neuron_Selection.FileFormats.visited_inputs import VisitedInputs, load_visited_inputs
from Neuron_Selection.ObservationTooling import Episodes
from Neuron_Selection.ObservationTooling.environments.environment import environment_from
from Neuron_Selection.ObservationTooling.recording import record_inputs
from Neuron_Selection.PatchingTooling import OpenedAgent, open_agent
from tests.conftest import ROOT
from tests.extractors import MinigridFeaturesExtractor
from tests.in_process import Completed, in_process
from tests.made_actors import save_agent
from tests.made_agents import BlankEnv, new_dqn, planted_agent, save_dqn
from tests.raised import Parts, parts, reports
from tests.slow_recording import distinct_visits

SCRIPT = str(ROOT / "Neuron_Selection" / "ObservationTooling" / "record_inputs.py")
FACTORIES = ROOT / "tests" / "ObservationTooling" / "environments" / "factories.py"
EXTRACTOR = f"{ROOT}/tests/extractors.py:MinigridFeaturesExtractor"
LINE = spaces.Box(-1000, 1000, (2,), np.float32)
MINIGRID = "minigrid.wrappers"


def visited(agent: OpenedAgent, name: str = "visited_inputs") -> VisitedInputs:
    path = agent.folder.folder / INPUTS / f"{name}.json"
    return load_visited_inputs(path, agent.agent_zip.observation_space)


def line_agent(folder: Path, *, always: int | None = None) -> Path:
    """An agent for the walk on a line: it walks to one side in each episode, or always to the same."""
    weight, bias = ([[0, 1], [0, -1]], [0, 0]) if always is None else ([[0, 0], [0, 0]], [always == 0, always == 1])
    return planted_agent(folder, [(weight, bias)], width=2)


# name: agent's space and what it is made with, flags of the environment
AGENTS: dict[str, tuple[spaces.Space[Any], dict[str, Any], dict[str, Any]]] = {
    "vector": (gymnasium.make("CartPole-v1").observation_space, {"n_actions": 2}, {"env": "CartPole-v1"}),
    "discrete": (
        spaces.Discrete(16), {"n_actions": 4}, {"env": "FrozenLake-v1", "env_kwargs": {"is_slippery": False}},
    ),
    "flat": (
        spaces.Box(0, 255, (2835,), np.uint8),
        {"n_actions": 7},
        {"env": "MiniGrid-Empty-5x5-v0", "wrapper": [f"{MINIGRID}.FlatObsWrapper"]},
    ),
    "image": (
        spaces.Box(0, 255, (3, 7, 7), np.uint8),
        {"n_actions": 7, "policy": "CnnPolicy", "features_extractor_class": MinigridFeaturesExtractor},
        {"env": "MiniGrid-DoorKey-5x5-v0", "wrapper": [f"{MINIGRID}.ImgObsWrapper"]},
    ),
    "dict": (
        spaces.Dict({"grid": spaces.Box(-1, 1, (2, 4), np.float32), "state": spaces.Discrete(5)}),
        {"n_actions": 2, "policy": "MultiInputPolicy"},
        {"env": f"{FACTORIES}:make_parts"},
    ),
    "stacked frames": (
        spaces.Box(0, 255, (2, 36, 40), np.uint8),
        {"n_actions": 2, "policy": "CnnPolicy"},
        {"env": f"{FACTORIES}:make_images", "frame_stack": 2},
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", AGENTS)
def test_what_is_recorded_is_what_a_slow_run_visits(case: str, tmp_path: Path) -> None:
    space, made_with, world = AGENTS[case]
    folder = save_dqn(tmp_path / "agent", new_dqn(space, net_arch=[8], **made_with))
    extractor = EXTRACTOR if case == "image" else None
    agent = open_agent(folder, features_extractor=extractor)
    settings = {"policy": "epsilon=0.5", "episodes": 3, "seed": 4, "max_steps": 12}
    recorded = record_inputs(agent, **settings, **world)
    found = visited(agent)
    expected = distinct_visits(agent, world, epsilon=0.5, seeds=range(4, 7), max_steps=12)
    assert list(found.visits.ids) == list(expected)
    assert recorded.summary["distinct_states"] == len(expected)
    for row, (observation, cluster, action, reward, total) in enumerate(expected.values()):
        parts = found.visits.observations
        for key, part in observation.items() if isinstance(observation, dict) else [("", observation)]:
            np.testing.assert_array_equal((parts[key] if isinstance(parts, dict) else parts)[row], part)
        assert found.inputs.clusters[found.visits.ids[row]] == cluster
        values = (found.visits.actions[row], found.visits.rewards[row], found.visits.returns[row])
        assert values == pytest.approx((action, reward, total))
    np.testing.assert_allclose(found.visits.scores, agent.q_values(found.inputs), rtol=1e-12)
    assert len(set(found.visits.ids)) == len(found.visits.ids)


def test_greedy_actions_are_those_of_the_policy_itself(tmp_path: Path) -> None:
    model = new_dqn(gymnasium.make("CartPole-v1").observation_space, n_actions=2, net_arch=[8])
    agent = open_agent(save_dqn(tmp_path, model))
    record_inputs(agent, env="CartPole-v1", episodes=2)
    visits = visited(agent).visits
    actions, _ = model.predict(visits.observations, deterministic=True)
    np.testing.assert_array_equal(visits.actions, actions)


@pytest.mark.parametrize("policy", ["greedy", "random", "sampled", "epsilon=0.5"])
def test_masks_are_recorded_and_no_forbidden_action_is_taken(policy: str, tmp_path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = MaskablePPO("MlpPolicy", BlankEnv(LINE, 2), n_steps=8, batch_size=8, seed=0, device="cpu")
    agent = open_agent(save_agent(tmp_path, model))
    record_inputs(agent, env=f"{FACTORIES}:make_masked", episodes=4, max_steps=15, policy=policy)
    stored = visited(agent)
    position = np.asarray(stored.visits.observations)[:, 0]
    masks = stored.visits.masks
    assert masks is not None
    np.testing.assert_array_equal(masks, np.stack([position != 0, position != 3], axis=1))
    assert masks[np.arange(len(masks)), stored.visits.actions].all()
    np.testing.assert_array_equal(agent.inputs("visited_inputs.json").action_masks, masks)
    with pytest.warns(SuiteWarning, match=r"has no action_masks\(\)"):
        Episodes(environment_from(f"{FACTORIES}:make_line"), agent, n=1)
    if policy == "greedy":
        actions, _ = model.predict(stored.visits.observations, deterministic=True, action_masks=masks)
        np.testing.assert_array_equal(stored.visits.actions, actions)


def test_published_agents_reach_their_published_returns(published_agents: Path, tmp_path: Path) -> None:
    for name, env, options, episodes, mean in (
        ("Acrobot-v1", "Acrobot-v1", {}, 10, -75.4),
        ("a2c-Acrobot-v1", "Acrobot-v1", {"vecnormalize": "vecnormalize.pkl"}, 3, -85.333),
        ("ppo-CartPole-v1", "CartPole-v1", {}, 1, 500.0),
    ):
        folder = Path(shutil.copytree(published_agents / name, tmp_path / name))
        agent = open_agent(folder, **options)
        recorded = record_inputs(agent, env=env, episodes=episodes)
        assert recorded.summary["returns"]["mean"] == pytest.approx(mean, abs=1e-3)


def test_recorded_observations_of_vecnormalize_are_not_normalised_again(published_agents: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(published_agents / "a2c-Acrobot-v1", tmp_path / "a2c"))
    agent = open_agent(folder, vecnormalize="vecnormalize.pkl")
    record_inputs(agent, env="Acrobot-v1", episodes=1)
    stored = visited(agent)
    assert stored.inputs.normalised_with == agent.normalizer.sha256
    with pytest.warns(UserWarning, match="trained with VecNormalize"):
        without = open_agent(folder)
    for opened in (agent, without):
        np.testing.assert_array_equal(opened.inputs("visited_inputs.json").observations, stored.inputs.observations)
    path = folder / INPUTS / "visited_inputs.json"
    path.write_text(path.read_text().replace(agent.normalizer.sha256, "0" * 64))
    with pytest.raises(InputError) as raised:
        agent.inputs("visited_inputs.json")
    assert raised.value.field == "normalised_with"


def test_the_same_seed_writes_the_same_bytes_and_a_finished_run_is_left_alone(tmp_path: Path) -> None:
    files = {}
    for name in ("one", "other"):
        agent = open_agent(line_agent(tmp_path / name))
        recorded = record_inputs(agent, env=f"{FACTORIES}:make_line", policy="random", episodes=4, frames=True)
        files[name] = {key: path.read_bytes() for key, path in recorded.files.items()}
    assert files["one"] == files["other"]
    again = record_inputs(agent, env=f"{FACTORIES}:make_line", policy="random", episodes=4, frames=True)
    assert again.was_up_to_date
    assert again.summary == recorded.summary
    with pytest.raises(InputError):
        record_inputs(agent, env=f"{FACTORIES}:make_line", policy="random", episodes=5)
    record_inputs(agent, env=f"{FACTORIES}:make_line", episodes=5, overwrite=True)
    assert not recorded.files["frames"].exists()


def test_recordings_of_one_environment_share_its_file_and_others_are_refused(tmp_path: Path) -> None:
    agent = open_agent(line_agent(tmp_path))
    record_inputs(agent, env=f"{FACTORIES}:make_line", episodes=1)
    record_inputs(agent, env=f"{FACTORIES}:make_line", episodes=1, seed=9, output_prefix="others")
    assert set(visited(agent, "others").visits.seeds) == {9}
    with pytest.raises(InputError) as raised:
        record_inputs(agent, env=f"{FACTORIES}:make_alike", episodes=1, output_prefix="third")
    assert raised.value.file.endswith("environment.json")


def test_frames_are_those_of_the_recorded_visits(tmp_path: Path) -> None:
    agent = open_agent(line_agent(tmp_path))
    recorded = record_inputs(agent, env=f"{FACTORIES}:make_line", policy="random", episodes=3, frames=True)
    visits = visited(agent).visits
    path = frames_path(recorded.files["inputs"])
    frames = load_frames(path, visits.ids)
    for input_id, observation in zip(visits.ids, np.asarray(visits.observations), strict=True):
        assert (frames[input_id] == int(observation[0]) % 256).all()
    with pytest.raises(InputError) as raised:
        load_frames(path, ["unknown"])
    assert raised.value.file == str(path)


def run(folder: Path, *words: str) -> Completed:
    return in_process([SCRIPT, "--agent_path", str(folder), *words])


def test_the_summary_and_the_next_command_are_printed(tmp_path: Path) -> None:
    folder = line_agent(tmp_path)
    done = run(folder, "--env", f"{FACTORIES}:make_line", "--policy", "random", "--episodes", "5")
    assert done.returncode == 0, done.stderr
    assert done.stderr.splitlines()[-1].startswith("next: python ")
    assert "make_pairs.py --agent_path" in done.stderr
    as_json = run(folder, "--env", f"{FACTORIES}:make_line", "--policy", "random", "--episodes", "5", "--json")
    assert "up to date" in as_json.stderr
    summary = json.loads(as_json.stdout)["summary"]
    assert sum(summary["actions_taken"].values()) == summary["steps"]
    assert sum(summary["states_per_greedy_action"].values()) == summary["distinct_states"]
    assert summary["differs_at_step"] is None
    assert f"distinct states: {summary['distinct_states']} in {summary['steps']} steps" in done.stdout


def test_an_agent_that_acts_alike_is_reported_and_another_policy_is_suggested(tmp_path: Path) -> None:
    folder = line_agent(tmp_path, always=1)
    done = run(folder, "--env", f"{FACTORIES}:make_line", "--episodes", "2")
    assert done.returncode == 0
    assert "the greedy action is 1 in all 10 states" in done.stderr
    assert "--policy epsilon=0.3" in done.stderr.splitlines()[-1]


def test_an_agent_that_acts_alike_everywhere_is_not_recorded_in_circles(tmp_path: Path) -> None:
    folder = line_agent(tmp_path, always=1)
    words = ["--env", f"{FACTORIES}:make_line", "--episodes", "2", "--overwrite", "--json"]
    followed = []
    for policy in ("greedy", "epsilon=0.3", "random"):
        following = json.loads(run(folder, *words, "--policy", policy).stdout)["next"]
        followed.append(following and following.split("--policy ")[1].split()[0])
    assert followed == ["epsilon=0.3", "random", None]


def test_episodes_without_an_end_are_stopped_and_reported(tmp_path: Path) -> None:
    done = run(
        line_agent(tmp_path, always=0), "--env", f"{FACTORIES}:make_line", "--episodes", "2", "--max_steps", "30"
    )
    assert done.returncode == 0
    assert "2 of 2 episodes did not end and were stopped by --max_steps 30" in done.stderr


def test_an_environment_that_is_not_deterministic_is_reported(tmp_path: Path) -> None:
    agent = open_agent(line_agent(tmp_path))
    recorded = record_inputs(agent, env=f"{FACTORIES}:make_unseeded", policy="random", episodes=3)
    assert recorded.summary["differs_at_step"] == 0
    ids = visited(agent).visits.ids
    assert len(set(ids)) == len(ids)
    metadata = json.loads((tmp_path / INPUTS / "visited_inputs.meta.json").read_text())
    assert metadata["summary"]["differs_at_step"] == 0
    done = run(tmp_path, "--env", f"{FACTORIES}:make_unseeded", "--policy", "random", "--episodes", "3")
    assert "the environment is not deterministic" in done.stderr


# words: exit code, words of the error
SPACE = parts(file=..., field="observation space", found=..., expected="Box (2,) float32, as the agent's")
RAISED = parts(field=..., problem="cannot be used")
# flags: class of the error, and its parts
REFUSED: dict[tuple[str, ...], tuple[type[SuiteError], Parts]] = {
    (): (UsageError, parts(names=["--env"])),
    ("--env", "CartPole-v9"): (InputError, parts(file=..., problem=re.compile("unknown environment .*"))),
    ("--env", "os:CartPole-v1"): (UntrustedError, parts(file=..., problem=..., hint="--trust os imports it")),
    ("--env", "CartPole-v1"): (InputError, SPACE),
    ("--env", f"{FACTORIES}:make_tuple"): (InputError, SPACE),
    ("--env", f"{FACTORIES}:make_nan"): (
        InputError,
        parts(file=..., field="observation", found="NaN", expected="a finite number"),
    ),
    ("--env", f"{FACTORIES}:make_raising"): (UsageError, {**RAISED, "hint": re.compile(".*no world today")}),
    ("--env", f"{FACTORIES}:make_none"): (
        InputError,
        parts(file=FACTORIES, field="make_none()", found=..., expected="a gymnasium.Env"),
    ),
    ("--env", f"{FACTORIES}:make_line", "--policy", "sampled"): (UsageError, parts(names=["epsilon=0.1"], field=...)),
    ("--env", f"{FACTORIES}:make_line", "--policy", "best"): (
        InputError,
        parts(file="--policy", found="'best'", expected=re.compile("greedy, sampled, random, or .*")),
    ),
    ("--env", f"{FACTORIES}:make_line", "--trust", "tests.made_agents"): (
        InputError,
        parts(file=..., field=..., names=["tests.made_agents"]),
    ),
    ("--env", f"{FACTORIES}:make_line", "--output_prefix", "a/b"): (
        UsageError,
        parts(field="output prefix", found="'a/b'", expected=...),
    ),
    ("--env", f"{FACTORIES}:make_alike", "--frames", "--vecnormalize", "x.pkl"): (
        InputError,
        parts(file=..., names=["x.pkl"]),
    ),
    ("--wrapper", "minigrid.wrappers.ImgObsWrapper"): (UsageError, parts(flags=["--wrapper", "--env"])),
    ("--env", "CartPole-v1", "--wrapper", "os.system"): (InputError, parts(file="--wrapper", found=..., expected=...)),
}


@pytest.mark.parametrize("words", REFUSED, ids=lambda words: " ".join(words).replace(str(FACTORIES), "FILE"))
def test_bad_input_is_refused_in_one_line_and_nothing_is_written(words: tuple[str, ...], tmp_path: Path) -> None:
    folder = line_agent(tmp_path)
    kind, error = REFUSED[words]
    with reports(kind, **error):
        done = run(folder, *words)
    assert done.returncode == kind("").exit_code, done.stderr
    (line,) = [line for line in done.stderr.splitlines() if not line.startswith("warning: ")]
    assert line.startswith("error: ")
    assert done.stdout == ""
    assert {path.name for path in tmp_path.rglob("*")} == {"agent.zip"}


def test_a_visited_inputs_file_is_checked(tmp_path: Path) -> None:
    agent = open_agent(line_agent(tmp_path))
    recorded = record_inputs(agent, env=f"{FACTORIES}:make_line", episodes=2, max_steps=8)
    path = recorded.files["inputs"]
    good = json.loads(path.read_text())
    first = next(iter(good))
    for field, value in (
        ("action", 2), ("action", -1), ("action", "left"), ("scores", []), ("scores", [1.0]), ("scores", [1.0, "x"]),
        ("reward", None), ("return", "much"), ("step", 1.5), ("cluster", "an episode"), ("input", [1.0]),
        ("normalised_with", "0" * 64),
    ):  # fmt: skip
        path.write_text(json.dumps({**good, first: {**good[first], field: value}}))
        with pytest.raises(SuiteError) as raised:
            load_visited_inputs(path, agent.agent_zip.observation_space)
        assert isinstance(raised.value, InputError)
        assert field in raised.value.field
    path.write_text(json.dumps({first: {"input": good[first]["input"], "cluster": "0"}}))
    with pytest.raises(InputError) as raised:
        load_visited_inputs(path, agent.agent_zip.observation_space)
    assert raised.value.problem == "is missing"


def test_pictures_need_no_display(tmp_path: Path) -> None:
    pytest.importorskip("pygame")
    folder = save_dqn(tmp_path / "agent", new_dqn(gymnasium.make("CartPole-v1").observation_space, n_actions=2))
    words = ["--agent_path", str(folder), "--env", "CartPole-v1", "--episodes", "1", "--frames", "--quiet"]
    displays = ("DISPLAY", "WAYLAND_DISPLAY", "XDG_RUNTIME_DIR", "SDL_VIDEODRIVER")
    environment = {name: value for name, value in os.environ.items() if name not in displays}
    command = [sys.executable, SCRIPT, *words]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "error" not in done.stderr  # SDL prints one where it looks for a display
