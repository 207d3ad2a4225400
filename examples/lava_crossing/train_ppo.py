"""Train the second example agent: Stable-Baselines3 PPO in the same episodes as the DQN of train.py.

Every number below was tried; README.md beside this file reports the result.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import torch
from stable_baselines3 import PPO
from stable_baselines3.common.vec_env import DummyVecEnv

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from train import GAMMA, KeepTheBest, TrainingEpisodes, build_parser, train_save_and_measure

from Neuron_Selection.ObservationTooling.egocentric_view import EgocentricView
from Neuron_Selection.ObservationTooling.grid_worlds.environments import make_environment
from Neuron_Selection.ObservationTooling.state_tables import StateTable

NET_ARCH = [64, 64]
GOOD_SCORE = (1.0, 0.998)


def train(env_id: str, *, seed: int, steps: int, table: StateTable) -> dict[str, Any]:
    """Train one agent and return the weights of its best policy.

    :param table: the states that the agent is evaluated in
    """
    torch.set_num_threads(1)
    model = PPO(
        "MlpPolicy",
        DummyVecEnv([lambda: TrainingEpisodes(env_id)] * 16),
        learning_rate=lambda remaining: 1e-4 + 9e-4 * remaining,
        n_steps=128,
        batch_size=256,
        n_epochs=8,
        gamma=GAMMA,
        gae_lambda=0.9,
        ent_coef=0.01,
        policy_kwargs={"net_arch": NET_ARCH},
        seed=seed,
        device="cpu",
    )
    best = KeepTheBest(table, good_score=GOOD_SCORE)
    model.learn(steps, callback=best)
    return best.best_weights or model.policy.state_dict()


def save_agent(path: Path, weights: dict[str, Any], *, env_id: str) -> PPO:
    """Save the weights without optimizer state: Adam of a new PPO has none yet."""
    env = EgocentricView(make_environment(env_id))
    agent = PPO("MlpPolicy", env, gamma=GAMMA, policy_kwargs={"net_arch": NET_ARCH}, device="cpu")
    agent.policy.load_state_dict(weights)
    agent.save(path)
    return agent


def main() -> None:
    """Train, save, measure."""
    output = Path(__file__).parent / "ppo" / "agent.zip"
    args = build_parser(str(__doc__), steps=300_000, output=output).parse_args()
    train_save_and_measure(args, train, save_agent)


if __name__ == "__main__":
    main()
