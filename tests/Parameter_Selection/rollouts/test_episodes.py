"""Sampled episodes: against single steps, a change of nothing, planted agents, published agents, processes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest

from Neuron_Selection.errors import InputError
from Neuron_Selection.ObservationTooling.environments.environment import environment_from
from Neuron_Selection.PatchingTooling import open_agent
from Parameter_Selection.RolloutTooling.episodes.statistics import BEHAVIOUR, NO_EFFECT
from Parameter_Selection.RolloutTooling.rollouts import Changes, run_rollouts
from tests import slow_reference, slow_rollouts
from tests.conftest import ROOT
from tests.made_actors import planted_actor
from tests.made_agents import new_dqn, save_dqn
from tests.made_behaviour import cartpole_controller, frozen_lake_agent, grid_agent

LAVA = ROOT / "examples" / "lava_crossing"
LAVA_ENV = f"{LAVA / 'environment.py'}:make_env"


@pytest.fixture(scope="module")
def controller(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return cartpole_controller(tmp_path_factory.mktemp("controller"))


def run(agent_path: Path, folder: Path, changes: Changes, **more: Any) -> Any:
    """Rollouts and their trajectories."""
    agent = open_agent(agent_path, engine=more.pop("engine", "auto"))
    found = run_rollouts(agent, changes, trajectories=True, output_dir=folder, **more)
    with np.load(found.files["trajectories"]) as arrays:
        return found, dict(arrays)


def path_of(arrays: dict[str, np.ndarray], experiment: int, episode: int) -> tuple[list[int], list[float], list[int]]:
    number = arrays["path_of"][experiment, episode]
    part = slice(arrays["ends"][number] - arrays["lengths"][number], arrays["ends"][number])
    return tuple(arrays[name][part].tolist() for name in ("actions", "rewards", "states"))  # type: ignore[return-value]


def test_episodes_that_share_environments_are_those_stepped_alone(controller: Path, tmp_path: Path) -> None:
    agent = open_agent(controller)
    weights = slow_reference.mlp_weights(agent.agent_zip.tensors)
    changes = Changes(
        patch_spec=["q_net.0:0", "q_net.0:1,5", "q_net.2:2,3"], steer=["q_net.0:1=+0.4"], clamp=["q_net.2:2=0.05"]
    )
    held = [{}, {"q_net.0": {0: 0.0}}, {"q_net.0": {1: 0.0, 5: 0.0}}, {"q_net.2": {2: 0.0, 3: 0.0}}, None,
            {"q_net.2": {2: 0.05}}]  # fmt: skip
    found, arrays = run(controller, tmp_path, changes, env="CartPole-v1", episodes=3, seed=5, max_steps=40)
    env = gymnasium.make("CartPole-v1")

    def decide(patch: Any) -> slow_rollouts.Decide:
        def action(observation: np.ndarray, _step: int) -> int:
            if patch is None:  # steered: the unit's own value plus 0.4
                own = slow_reference.run_one(weights, observation, {})["q_net.0"][1]
                outputs = slow_reference.run_one(weights, observation, {"q_net.0": {1: own + 0.4}})
            else:
                outputs = slow_reference.run_one(weights, observation, patch)
            return int(outputs["q_net.4"].argmax())

        return action

    for number, patch in enumerate(held):
        for episode in range(3):
            expected = slow_rollouts.episode(env, decide(patch), 5 + episode, 40)
            actions, rewards, _ = path_of(arrays, number, episode)
            assert (actions, rewards) == expected, found.rows[number]["description"]
    parted = arrays["path_of"][1:] != arrays["path_of"][0]
    assert parted.any()
    assert not parted.all()


def test_a_change_of_nothing_gives_the_same_trajectories_bit_for_bit(controller: Path, tmp_path: Path) -> None:
    tensors = open_agent(controller).online_weights
    same = float(tensors["q_net.0.weight"][3, 1])
    changes = Changes(steer=["q_net.0:4=+0"], edits=f"q_net.0.weight[3,1]={same!r}", against=str(controller))
    for engine in ("numpy", "torch"):
        found, arrays = run(
            controller, tmp_path / engine, changes, env="CartPole-v1", episodes=2, max_steps=60, engine=engine
        )
        assert [row["class"] for row in found.document["experiments"]] == [NO_EFFECT] * 3
        assert (arrays["path_of"] == arrays["path_of"][0]).all()
        assert all(row["return"] == found.rows[0]["return"] for row in found.rows)
        assert all(row["new_states"] == 0 for row in found.document["experiments"])


def test_a_change_that_is_made_and_undone_steps_through_the_same_states(controller: Path, tmp_path: Path) -> None:
    """The change acts in the first step alone, so a branch runs in an environment of its own from there on."""
    changes = Changes(patch_spec=["q_net.0:0"])
    _, arrays = run(controller, tmp_path, changes, env="CartPole-v1", episodes=6, max_steps=30, to_step=0)
    paths = [(path_of(arrays, 0, episode), path_of(arrays, 1, episode)) for episode in range(6)]
    parted = [(own, other) for own, other in paths if own != other]
    assert parted
    for own, other in parted:
        assert own[2][0] == other[2][0]
        assert own[0][0] != other[0][0]


def test_the_planted_controller_holds_the_pole_unless_its_neuron_is_ablated(controller: Path, tmp_path: Path) -> None:
    found, _ = run(controller, tmp_path, Changes(neurons=["all"]), env="CartPole-v1", episodes=12)
    assert found.document["baseline"]["return"] == 500.0
    fallen = {row["patch"]: row for row in found.document["experiments"] if row["return"] != 500.0}
    assert set(fallen) == {"q_net.0:0", "q_net.2:2"}
    for row in fallen.values():
        assert row["return"] == pytest.approx(10, abs=1)
        assert row["class"] == BEHAVIOUR
        assert (row["success"], row["death"]) == (0.0, 1.0)
    assert found.document["baseline"]["success"] == 1.0
    link = found.document["link"]["q_net.0"]["flips_baseline_states"]
    assert (link["n"], len(link["one_step"]), len(link["behaviour"])) == (16, 16, 16)


@pytest.mark.parametrize(
    ("name", "env", "low", "high", "vecnormalize"),
    [
        ("CartPole-v1", "CartPole-v1", 500, 500, None),
        ("Acrobot-v1", "Acrobot-v1", -76, -74, None),
        ("ppo-CartPole-v1", "CartPole-v1", 500, 500, None),
        ("a2c-Acrobot-v1", "Acrobot-v1", -90, -75, "vecnormalize.pkl"),
    ],
)
def test_published_agents_reach_their_published_returns(
    published_agents: Path, tmp_path: Path, name: str, env: str, low: float, high: float, vecnormalize: str | None
) -> None:
    agent = open_agent(published_agents / name, vecnormalize=vecnormalize)
    layer = next(layer for layer, record in agent.layers().items() if record.role == "post-activation")
    found = run_rollouts(agent, Changes(patch_spec=[f"{layer}:0"]), env=env, episodes=10, output_dir=tmp_path)
    assert low <= found.document["baseline"]["return"] <= high


def test_processes_change_no_byte(controller: Path, tmp_path: Path) -> None:
    written = []
    for jobs in (1, 2):
        agent = open_agent(controller)
        changes = Changes(patch_spec=["q_net.0:0", "q_net.2:5"], ablate="noise")
        found = run_rollouts(
            agent, changes, env="CartPole-v1", episodes=4, max_steps=30, jobs=jobs, trajectories=True,
            output_dir=tmp_path / str(jobs), policy="epsilon=0.3",
        )  # fmt: skip
        written.append({kind: path.read_bytes() for kind, path in found.files.items()})
    assert written[0] == written[1]


def test_loops_are_repeated_as_they_would_be_stepped(tmp_path: Path) -> None:
    """In lava crossing, whose states can be named, a looping episode is not stepped to its time limit."""
    changes = Changes(patch_spec=["q_net.2:1", "q_net.2:105", "q_net.0:80"])
    agent = open_agent(LAVA / "agent")
    found, arrays = run(LAVA / "agent", tmp_path, changes, env=LAVA_ENV, episodes=12)
    lengths = arrays["lengths"][arrays["path_of"]]
    loops = np.argwhere(lengths == 324)
    assert len(loops)
    assert found.document["experiments"][0]["death"] == 0.0
    env = environment_from(LAVA_ENV).make()
    zeros = np.zeros((1, 128))
    for experiment, episode in loops[:2].tolist():
        from Neuron_Selection.PatchingTooling.agent.interventions import replacing

        layer, neuron = found.rows[experiment]["patch"].split(":")
        edit = replacing({layer: (int(neuron),)}, {layer: zeros})

        def decide(observation: np.ndarray, _step: int, edit: Any = edit) -> int:
            return int(agent.network.patched(observation[None], edit).scores.argmax())

        actions, rewards, _ = path_of(arrays, experiment, episode)
        assert (actions, rewards) == slow_rollouts.episode(env, decide, episode, 1000)


def test_draws_depend_on_the_episode_and_the_step_alone(controller: Path, tmp_path: Path) -> None:
    alone, one = run(
        controller, tmp_path / "a", Changes(patch_spec=["q_net.0:0"], ablate="noise=3"), env="CartPole-v1", episodes=2
    )
    several, many = run(
        controller, tmp_path / "b", Changes(patch_spec=["q_net.2:4", "q_net.0:0"], ablate="noise=3"),
        env="CartPole-v1", episodes=2,
    )  # fmt: skip
    assert alone.document["experiments"][0]["return"] == several.document["experiments"][1]["return"]
    assert [path_of(one, 1, n) for n in range(2)] == [path_of(many, 2, n) for n in range(2)]


def test_resampled_and_mean_values_come_from_the_reference_inputs(tmp_path: Path) -> None:
    """Of a single reference state, the neuron of another state is 0, as if it were ablated by zero."""
    agent = open_agent(grid_agent(tmp_path))
    env = f"{tmp_path / 'grid.py'}:make_env"
    for kind in ("mean", "resample", "constant=0"):
        reference = None if kind == "constant=0" else {"a": 20}
        changes = Changes(patch_spec=["q_net.0:4", "q_net.0:21"], ablate=kind)
        found = run_rollouts(
            agent, changes, env=env, episodes=1, max_steps=30, reference_inputs=reference, output_dir=tmp_path / kind
        )
        stuck, free = found.document["experiments"]
        assert (stuck["return"], stuck["first_parting"], stuck["new_states"]) == (0.0, 4.0, 0)
        assert free["class"] == NO_EFFECT


def test_conditions_decide_when_a_change_is_active(tmp_path: Path) -> None:
    agent = open_agent(grid_agent(tmp_path))
    env = f"{tmp_path / 'grid.py'}:make_env"
    (tmp_path / "when.py").write_text("def late(observation, step):\n    return int(observation) > 9 and step > 2\n")
    changes = Changes(patch_spec=["q_net.0:4", "q_net.0:14"])
    for settings, reached in (
        ({"when": f"{tmp_path / 'when.py'}:late"}, [1.0, 0.0]),
        ({"from_step": 5}, [1.0, 0.0]),
        ({"to_step": 4}, [1.0, 1.0]),
        ({"from_step": 4, "to_step": 4}, [1.0, 1.0]),
    ):
        found = run_rollouts(
            agent, changes, env=env, episodes=1, max_steps=20, output_dir=tmp_path / "out", overwrite=True, **settings
        )
        assert [row["return"] for row in found.document["experiments"]] == reached, settings
    held = found.document["experiments"][0]  # at step 4 it ran into the wall once
    assert (held["length"], held["first_parting"]) == (9.0, 4.0)


def test_success_is_read_from_a_function_or_a_key_of_info(tmp_path: Path) -> None:
    agent = open_agent(frozen_lake_agent(tmp_path))
    (tmp_path / "own.py").write_text("def lost(reward, terminated, truncated, info):\n    return reward == 0\n")
    changes = Changes(patch_spec=["q_net.0:0"])
    own, key = (
        run_rollouts(agent, changes, env="FrozenLake-v1", episodes=30, success=text, output_dir=tmp_path / str(n))
        for n, text in enumerate((f"{tmp_path / 'own.py'}:lost", "info[prob]"))
    )
    assert own.rows[0]["success"] == pytest.approx(1 - own.rows[0]["return"])
    assert key.rows[0]["success"] == 1.0


def test_an_environment_that_does_not_repeat_itself_is_refused(tmp_path: Path) -> None:
    (tmp_path / "noisy.py").write_text(
        "import itertools\nimport numpy as np\nimport gymnasium\nfrom gymnasium.wrappers import TransformObservation\n"
        "count = itertools.count()\n"
        "def make_env():\n    env = gymnasium.make('CartPole-v1')\n"
        "    return TransformObservation(env, lambda o: o + np.float32(1e-3) * next(count), env.observation_space)\n"
    )
    agent = open_agent(cartpole_controller(tmp_path))
    with pytest.raises(InputError) as raised:
        run_rollouts(
            agent, Changes(patch_spec=["q_net.0:0"]), env=f"{tmp_path / 'noisy.py'}:make_env", episodes=4, max_steps=30
        )
    assert "make_env" in raised.value.file
    assert raised.value.field.startswith("seed ")
    assert raised.value.found == "another observation than before"
    assert not (tmp_path / "rollout_results").exists()


def test_channels_of_a_convolution_and_sampled_actions_of_an_actor(tmp_path: Path) -> None:
    """The real networks under hooks: a DQN on images, and a PPO whose actions are drawn."""
    space = gymnasium.spaces.Box(0, 255, (56, 56, 3), np.uint8)
    images = open_agent(save_dqn(tmp_path / "cnn", new_dqn(space, policy="CnnPolicy", n_actions=7)))
    wrappers = ["minigrid.wrappers.RGBImgPartialObsWrapper", "minigrid.wrappers.ImgObsWrapper"]
    changes = Changes(patch_spec=["features_extractor.cnn.0:0-15", "features_extractor.cnn.4:3"], ablate="mean")
    found = run_rollouts(
        images, changes, env="MiniGrid-Empty-5x5-v0", wrapper=wrappers, episodes=2, max_steps=8, output_dir=tmp_path
    )
    assert [row["length"] for row in found.rows] == [8.0] * 3
    assert found.document["experiments"][0]["flips_baseline_states"] >= 0
    actor = planted_actor(tmp_path / "ppo", [(np.eye(4), np.zeros(4)), (np.full((2, 4), 0.1), np.zeros(2))])
    returns = []
    for engine in ("numpy", "torch"):
        one = run_rollouts(
            open_agent(actor, engine=engine), Changes(steer=["mlp_extractor.policy_net.0:1=+0.5"]), env="CartPole-v1",
            policy="sampled", episodes=3, output_dir=tmp_path / engine,
        )  # fmt: skip
        returns.append([row["return"] for row in one.rows])
        assert one.document["experiments"][0]["class"] == NO_EFFECT  # both logits are raised alike
    assert returns[0] == returns[1]
