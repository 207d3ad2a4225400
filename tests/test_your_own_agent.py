"""docs/your_own_agent.md: its files and commands as written, on agents that are trained here."""

from __future__ import annotations

import re
import shutil
import sys
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import gymnasium
import pytest
import torch
from minigrid.wrappers import FlatObsWrapper, ImgObsWrapper
from stable_baselines3 import A2C, DQN, PPO
from stable_baselines3.common.vec_env import DummyVecEnv, VecFrameStack, VecNormalize

from tests.conftest import ROOT
from tests.in_process import typed
from tests.test_readme import not_ours

DOCUMENT = (ROOT / "docs" / "your_own_agent.md").read_text()
COMMANDS = [
    line
    for block in re.findall(r"^```bash\n(.*?)^```", DOCUMENT, re.MULTILINE | re.DOTALL)
    for line in block.splitlines()
]
FILES = dict(re.findall(r"^```python\n# (\w+\.py)\n(.*?)^```", DOCUMENT, re.MULTILINE | re.DOTALL))


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A checkout with the user's files of the document."""
    folder = Path(shutil.copytree(ROOT, tmp_path_factory.mktemp("own") / "checkout", ignore=not_ours))
    for name, content in FILES.items():
        (folder / name).write_text(content)
    sys.path.insert(0, str(folder))
    yield folder
    sys.path.remove(str(folder))
    for name in FILES:
        sys.modules.pop(name.removesuffix(".py"), None)


def ppo(policy: str, env: Any, **policy_kwargs: Any) -> PPO:
    settings = {"net_arch": [16], **policy_kwargs}
    return PPO(policy, env, n_steps=64, batch_size=32, n_epochs=2, policy_kwargs=settings, seed=0, device="cpu")


def train(model: Any) -> None:
    """Train for a moment; an actor would act alike everywhere, so its logits are spread and centred afterwards."""
    model.learn(64)
    if isinstance(model, DQN):
        return
    seen = model.rollout_buffer.observations  # (n_steps, *shape), after training
    parts = seen if isinstance(seen, dict) else {"": seen}
    tensors = {key: torch.as_tensor(part) for key, part in parts.items()}
    with torch.no_grad():
        model.policy.action_net.weight *= 100
        logits = model.policy.get_distribution(tensors.get("", tensors)).distribution.logits
        model.policy.action_net.bias -= logits.mean(0)


def of_numbers(_: Path) -> Any:
    return ppo("MlpPolicy", "CartPole-v1")


def of_one_number(_: Path) -> Any:
    env = gymnasium.make("FrozenLake-v1", is_slippery=False)
    return DQN("MlpPolicy", env, learning_starts=10, buffer_size=500, policy_kwargs={"net_arch": [16]}, seed=0)


def of_flat_grids(_: Path) -> Any:
    return ppo("MlpPolicy", FlatObsWrapper(gymnasium.make("MiniGrid-Empty-5x5-v0")))


def of_images(_: Path) -> Any:
    import my_extractor

    env = ImgObsWrapper(gymnasium.make("MiniGrid-DoorKey-5x5-v0"))
    return ppo("CnnPolicy", env, features_extractor_class=my_extractor.MyCnn)


def of_several_arrays(_: Path) -> Any:
    import my_world

    return ppo("MultiInputPolicy", my_world.make_env())


def of_frames(_: Path) -> Any:
    import my_frames

    return ppo("CnnPolicy", VecFrameStack(DummyVecEnv([my_frames.make_env]), 4))


def of_normalised_numbers(folder: Path) -> Any:
    env = VecNormalize(DummyVecEnv([lambda: gymnasium.make("Acrobot-v1")]))
    model = A2C("MlpPolicy", env, policy_kwargs={"net_arch": [16]}, learning_rate=0.01, seed=0, device="cpu")
    train(model)
    env.save(str(folder / "vecnormalize.pkl"))
    return model


AGENTS: dict[str, Callable[[Path], Any]] = {
    "my_cartpole": of_numbers,
    "my_lake": of_one_number,
    "my_grid": of_flat_grids,
    "my_doors": of_images,
    "my_corridor": of_several_arrays,
    "my_game": of_frames,
    "my_acrobot": of_normalised_numbers,
}


@pytest.mark.parametrize("agent", AGENTS)
def test_every_command_runs_and_all_pairs_have_contrast(agent: str, checkout: Path) -> None:
    (checkout / agent).mkdir()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = AGENTS[agent](checkout / agent)
        train(model)
    model.save(checkout / agent / "agent")
    commands = [command for command in COMMANDS if f"--agent_path {agent} " in f"{command} "]
    assert len(commands) >= 4
    counts = []
    for command in commands:
        run = typed(command, checkout)
        assert run.returncode == 0, f"{command}\n{run.stderr}"
        assert "not deterministic" not in run.stderr
        counts += re.findall(r"(\d+) pairs, (\d+) of contrast", run.stdout)
    (of_analysis,) = counts
    assert of_analysis[0] == of_analysis[1] != "0"
    assert (checkout / agent / "patching_results" / "cross_metric_summary.json").exists()


def test_every_command_is_of_one_of_the_agents() -> None:
    assert all(re.search(rf"--agent_path ({'|'.join(AGENTS)})( |$)", command) for command in COMMANDS)
