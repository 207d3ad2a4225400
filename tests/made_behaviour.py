"""Agents and environments whose behaviour under every change is known by construction."""

from __future__ import annotations

from pathlib import Path

import gymnasium
import numpy as np
from gymnasium import spaces

from tests.made_agents import new_dqn, planted_agent, save_dqn

GAMMA = 0.9
GRID = '''\
"""A 5x5 grid: start in the upper left, goal in the lower right; a wall stops the agent."""
import gymnasium
from gymnasium import spaces

MOVES = ((0, 1), (1, 0), (0, -1), (-1, 0))  # right, down, left, up


class Grid(gymnasium.Env):
    def __init__(self, render_mode=None):
        self.observation_space, self.action_space = spaces.Discrete(25), spaces.Discrete(4)
        self.state = 0

    def reset(self, *, seed=None, options=None):
        self.state = 0
        return self.state, {}

    def step(self, action):
        _, self.state, reward, ended = self.transitions()["P"][self.state][action][0]
        return self.state, reward, ended, False, {}

    def transitions(self):
        P = {}
        for state in range(25):
            row, column = divmod(state, 5)
            P[state] = {}
            for action, (down, right) in enumerate(MOVES):
                after = min(max(row + down, 0), 4) * 5 + min(max(column + right, 0), 4)
                P[state][action] = [(1.0, after, float(after == 24), after == 24)]
        return {"P": P, "observations": list(range(25)), "start": [1.0] + [0.0] * 24}


def make_env(**kwargs):
    return Grid(**kwargs)
'''
BLOCKED = (4, 9, 14, 19)
"""States on the way from the start in which the first action, taken where all Q-values are 0, runs into the wall."""


def cartpole_controller(folder: Path) -> Path:
    """A controller of the pole, u = 0.1 x + 0.5 x' + 10 t + 2 t', in unit 0 of ``q_net.0`` and unit 2 of ``q_net.2``.

    Without one of them the agent pushes to the left for ever. All other units have random weights and no effect.
    """
    random = np.random.default_rng(3)
    first, second = random.normal(size=(16, 4)), random.normal(size=(16, 16))
    biases = [random.normal(size=16), random.normal(size=16), np.zeros(2)]
    control = np.array([0.1, 0.5, 10.0, 2.0])
    first[0], first[1] = control, -control
    biases[0][:2], biases[1][2:4] = 0.0, 0.0
    second[2:4] = 0.0
    second[2, 0], second[3, 1] = 1.0, 1.0
    head = np.zeros((2, 16))
    head[1, 2], head[0, 3] = 1.0, 1.0
    return planted_agent(folder, list(zip((first, second, head), biases, strict=True)))


def tabular_agent(folder: Path, q_values: np.ndarray, *, more: int = 0) -> Path:
    """One hidden neuron for each state, which holds the state's Q-values; ``more`` neurons have no effect.

    :param q_values: (n_states, n_actions)
    """
    n_states, n_actions = q_values.shape
    model = new_dqn(spaces.Discrete(n_states), n_actions=n_actions, net_arch=[n_states + more])
    hidden, output = model.policy.q_net.q_net[0], model.policy.q_net.q_net[2]
    state = model.policy.state_dict()
    weights = np.zeros((n_states + more, n_states), np.float32)
    weights[:n_states] = np.eye(n_states)
    head = np.zeros((n_actions, n_states + more), np.float32)
    head[:, :n_states] = q_values.T
    for name, array in (("0.weight", weights), ("0.bias", np.zeros(len(weights))), ("2.weight", head),
                        ("2.bias", np.zeros(n_actions))):  # fmt: skip
        state[f"q_net.q_net.{name}"].copy_(hidden.weight.new_tensor(array))
    assert output.weight.shape == head.shape
    model.policy.load_state_dict(state)
    return save_dqn(folder, model)


def grid_agent(folder: Path) -> Path:
    """The optimal agent of the 5x5 grid; its environment is ``grid.py:make_env`` in the same folder."""
    distance = np.array([(4 - row) + (4 - column) for row in range(5) for column in range(5)])
    q_values = np.zeros((25, 4))
    for state in range(24):
        row, column = divmod(state, 5)
        for action, (down, right) in enumerate(((0, 1), (1, 0), (0, -1), (-1, 0))):
            after = min(max(row + down, 0), 4) * 5 + min(max(column + right, 0), 4)
            q_values[state, action] = GAMMA ** distance[after]
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "grid.py").write_text(GRID)
    return tabular_agent(folder, q_values)


def frozen_lake_agent(folder: Path, *, more: int = 4) -> Path:
    """The optimal agent of FrozenLake, by value iteration."""
    table = gymnasium.make("FrozenLake-v1").unwrapped.P  # type: ignore[attr-defined]
    values = np.zeros(16)
    for _ in range(500):
        q_values = np.array(
            [[sum(p * (r + 0.99 * values[after] * (not ended)) for p, after, r, ended in table[state][action])
              for action in range(4)] for state in range(16)]
        )  # fmt: skip
        values = q_values.max(axis=1)
    return tabular_agent(folder, q_values, more=more)
