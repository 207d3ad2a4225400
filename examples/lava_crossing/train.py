"""Train the example agent: Stable-Baselines3 DQN on MiniGrid-LavaCrossingS9N1-v0, about three minutes of one core.

Every number below was tried; README.md beside this file says what came out. ``n_steps`` needs Stable-Baselines3 2.7.
"""

from __future__ import annotations

import argparse
import copy
import sys
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from itertools import count
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import numpy.typing as npt
import torch
from minigrid.minigrid_env import MiniGridEnv
from stable_baselines3 import DQN
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.vec_env import DummyVecEnv

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from Neuron_Selection.ObservationTooling.egocentric_view import EgocentricView, observe
from Neuron_Selection.ObservationTooling.grid_worlds.environments import (
    agent_cell,
    current_layout,
    first_seeds,
    make_environment,
)
from Neuron_Selection.ObservationTooling.grid_worlds.layouts import GOAL, LAVA, Cell, Layout, distances_to_goal
from Neuron_Selection.ObservationTooling.state_tables import StateTable, follow_policy, tabulate_states

GAMMA = 0.97
NET_ARCH = [128, 128]
EVALUATE_EVERY = 10_000
GOOD_SCORE = (1.0, 0.98)

distances = lru_cache(maxsize=None)(distances_to_goal)


class TrainingEpisodes(gymnasium.Wrapper[npt.NDArray[np.float32], Any, Any, Any]):
    """Episodes that teach quickly: mostly random starts, at most 100 steps, a reward that points to the goal."""

    def __init__(self, env_id: str) -> None:
        self.world: MiniGridEnv = make_environment(env_id)
        self.world.max_steps = 100
        super().__init__(EgocentricView(self.world))

    def reset(self, **options: Any) -> tuple[npt.NDArray[np.float32], dict[str, Any]]:
        """Start four episodes of five on any cell with any heading."""
        observation, info = super().reset(**options)
        self.layout = current_layout(self.world)
        random = self.world.np_random
        if random.random() < 0.8:
            cells = [cell for cell in distances(self.layout) if self.layout.content(cell) != GOAL]
            cell, heading = cells[random.integers(len(cells))], int(random.integers(4))
            observation = observe(self.world, self.layout, cell=cell, heading=heading)
        self.potential = potential(self.layout, agent_cell(self.world))
        return observation, info

    def step(self, action: Any) -> tuple[npt.NDArray[np.float32], float, bool, bool, dict[str, Any]]:
        """+1 on the goal, -1 in lava, -0.01 a step, and the shaping that leaves the best policy as it is."""
        observation, _, terminated, truncated, info = super().step(action)
        ended_on = self.layout.content(agent_cell(self.world))
        before, self.potential = self.potential, potential(self.layout, agent_cell(self.world))
        reward = {GOAL: 1.0, LAVA: -1.0}.get(ended_on, 0.0) - 0.01 + GAMMA * self.potential - before
        return observation, reward, terminated, truncated, info


def potential(layout: Layout, cell: Cell) -> float:
    """-0.05 for each step to the goal; 0 where an episode ends (Ng, Harada, Russell 1999)."""
    return -0.05 * distances(layout).get(cell, 0)


class KeepTheBest(BaseCallback):
    """Follow the agent from every state now and then; keep the best network, stop after two good looks in a row."""

    def __init__(self, table: StateTable, *, good_score: tuple[float, float] = GOOD_SCORE) -> None:
        super().__init__()
        self.table, self.good_score = table, good_score
        self.best_weights: dict[str, Any] = {}
        self.best_score = (-1.0, -1.0)
        self.good_looks = 0

    def _on_step(self) -> bool:
        if self.num_timesteps % EVALUATE_EVERY:
            return True
        found = look_everywhere(self.model, self.table)
        print(f"{self.num_timesteps:7d} steps: {found}", flush=True)
        if found.score > self.best_score:
            self.best_score, self.best_weights = found.score, copy.deepcopy(self.model.policy.state_dict())
        self.good_looks = self.good_looks + 1 if found.score >= self.good_score else 0
        return self.good_looks < 2


@dataclass(frozen=True, kw_only=True, slots=True)
class Look:
    """Shares of the starts, one a layout, and of all states, from which the greedy policy ends on the goal."""

    starts: float
    states: float
    lava: float

    @property
    def score(self) -> tuple[float, float]:
        """Starts first: they are what episodes are made of."""
        return self.starts - self.lava, self.states

    def __str__(self) -> str:
        return f"goal from {self.starts:.1%} of starts and {self.states:.2%} of states, lava from {self.lava:.2%}"


def look_everywhere(model: Any, table: StateTable) -> Look:
    """Follow the greedy policy from every state of every layout."""
    ends = follow_policy(table, greedy_actions(model, table.observations))
    at_start = np.array([cell == (1, 1) and heading == 0 for _, cell, heading in table.states])
    return Look(
        starts=float((ends[at_start] == "goal").mean()),
        states=float((ends == "goal").mean()),
        lava=float((ends == "lava").mean()),
    )


def greedy_actions(model: Any, observations: npt.NDArray[np.float32]) -> npt.NDArray[np.int64]:
    """The action of the greatest Q-value or probability for each row."""
    return np.asarray(model.predict(observations, deterministic=True)[0])


def train(env_id: str, *, seed: int, steps: int, table: StateTable) -> dict[str, Any]:
    """Train one agent and return the weights of its best policy.

    :param table: the states that the agent is looked at in
    """
    torch.set_num_threads(1)
    model = DQN(
        "MlpPolicy",
        DummyVecEnv([lambda: TrainingEpisodes(env_id)] * 8),
        learning_rate=lambda remaining: 2e-4 + 8e-4 * remaining,
        buffer_size=100_000,
        learning_starts=5_000,
        batch_size=128,
        gamma=GAMMA,
        train_freq=1,
        gradient_steps=2,
        n_steps=3,
        target_update_interval=2_000,
        exploration_fraction=0.5,
        exploration_initial_eps=0.25,
        exploration_final_eps=0.05,
        policy_kwargs={"net_arch": NET_ARCH},
        seed=seed,
        device="cpu",
    )
    best = KeepTheBest(table)
    model.learn(steps, callback=best)
    return best.best_weights or model.policy.state_dict()


def save_agent(path: Path, weights: dict[str, Any], *, env_id: str) -> DQN:
    """Save the weights in a DQN without ``n_steps``, which would warn at each load, and without optimizer state."""
    env = EgocentricView(make_environment(env_id))
    agent = DQN("MlpPolicy", env, gamma=GAMMA, buffer_size=10_000, policy_kwargs={"net_arch": NET_ARCH}, device="cpu")
    agent.policy.load_state_dict(weights)
    agent.save(path)
    return agent


def play(agent: BaseAlgorithm, env_id: str, *, seed: int) -> tuple[str, int]:
    """Play one whole episode under the environment's own limit: how it ended (goal, lava, time), and its steps."""
    env = EgocentricView(make_environment(env_id))
    observation, _ = env.reset(seed=seed)
    for step in count(1):
        action = int(greedy_actions(agent, observation[None])[0])
        observation, reward, terminated, truncated, _ = env.step(action)
        if terminated or truncated:
            return "goal" if float(reward) > 0 else "lava" if terminated else "time", step
    raise AssertionError("MiniGrid ends every episode")


def build_parser(description: str, *, steps: int, output: Path) -> argparse.ArgumentParser:
    """The flags of a training script.

    :param steps: default of ``--steps``
    :param output: default of ``--output``
    """
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--env_id", default="MiniGrid-LavaCrossingS9N1-v0")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--steps", type=int, default=steps)
    parser.add_argument("--output", type=Path, default=output)
    return parser


def train_save_and_measure(
    args: argparse.Namespace, train: Callable[..., dict[str, Any]], save_agent: Callable[..., BaseAlgorithm]
) -> None:
    """Train an agent, save it, and print how often it reaches the goal."""
    env = make_environment(args.env_id)
    table = tabulate_states(env, first_seeds(env, range(1_000)))
    weights = train(args.env_id, seed=args.seed, steps=args.steps, table=table)
    args.output.parent.mkdir(parents=True, exist_ok=True)
    agent = save_agent(args.output, weights, env_id=args.env_id)
    played = [play(agent, args.env_id, seed=seed) for seed in range(1_000_000, 1_000_200)]
    ends = Counter(end for end, _ in played)
    steps = [steps for end, steps in played if end == "goal"]
    print(f"200 unseen seeds: {dict(ends)}, {sum(steps) / max(len(steps), 1):.1f} steps to the goal")
    print(f"all {len(table.states)} states: {look_everywhere(agent, table)}")
    print(f"{args.output}: {args.output.stat().st_size} bytes")


def main() -> None:
    """Train, save, measure."""
    output = Path(__file__).parent / "agent" / "agent.zip"
    args = build_parser(str(__doc__), steps=200_000, output=output).parse_args()
    train_save_and_measure(args, train, save_agent)


if __name__ == "__main__":
    main()
