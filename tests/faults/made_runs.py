"""An agent with an environment of its own, and the outputs of the scripts that make episodes, pairs and reports."""

from __future__ import annotations

import shutil
from pathlib import Path

from tests.conftest import ROOT
from tests.faults.script_runs import works
from tests.made_agents import new_dqn, save_dqn, vector_space
from tests.made_worlds import decisive

_OBSERVATION, _EXPERIMENT = "Neuron_Selection/ObservationTooling", "Neuron_Selection/ExperimentTooling"
PATHS = {
    "record": f"{_OBSERVATION}/record_inputs.py",
    "pairs": f"{_OBSERVATION}/make_pairs.py",
    "sets": f"{_EXPERIMENT}/find_minimal_sets.py",
    "edges": f"{_EXPERIMENT}/patch_edges.py",
    "circuit": f"{_EXPERIMENT}/check_circuit.py",
    "rollouts": "Parameter_Selection/RolloutTooling/run_rollouts.py",
    "report": "ReportTooling/make_report.py",
    "compare": "ReportTooling/compare_agents.py",
}
ENVIRONMENTS = '''\
"""Four numbers, drawn anew at every step, for three actions; and environments that are wrong in one way each."""
import gymnasium
import numpy as np
from gymnasium import spaces


class Numbers(gymnasium.Env):
    def __init__(self, width=4, actions=3, wrong=None, render_mode=None):
        self.observation_space = spaces.Box(-10, 10, (width,), np.float32)
        self.action_space = spaces.Discrete(actions)
        self.wrong = wrong

    def _observe(self):
        return self.np_random.normal(size=self.observation_space.shape).round(2).astype(np.float32)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.steps = 0
        return self._observe(), {}

    def step(self, action):
        self.steps += 1
        observation = self._observe()
        if self.steps == 2 and isinstance(self.wrong, Exception):
            raise self.wrong
        if self.steps == 2 and self.wrong is not None:
            observation[1] = self.wrong
        return observation, float(action), self.steps == 5, False, {}


def make_env(**kwargs):
    return Numbers(**kwargs)


make_wider = lambda: Numbers(width=5)
make_five_actions = lambda: Numbers(actions=5)
make_nan = lambda: Numbers(wrong=np.nan)
make_broken = lambda: Numbers(wrong=RuntimeError("the physics exploded"))
make_nothing = lambda: None
'''


def environment(agent: Path, factory: str = "make_env") -> list[str]:
    """The flags that name one of the environments."""
    return ["--env", f"{agent.parent / 'environments.py'}:{factory}"]


def words(script: str, agent: Path, *more: str) -> list[str]:
    """A command on an agent; of few episodes and draws, unless ``more`` says otherwise."""
    few = {
        "record": ["--episodes", "6"], "pairs": ["--n_pairs", "6"], "sets": ["--random_orders", "1"],
        "edges": ["--edges", "20", "--resamples", "9", "--random_orders", "1", "--subsets", "1"],
        "circuit": ["--random_circuits", "9", "--permutations", "9", "--subsets", "1"],
        "rollouts": ["--episodes", "3"],
    }  # fmt: skip
    given = [
        flag for flag in few.get(script, ()) if flag.startswith("--") and flag not in more and "--exact" not in more
    ]
    defaults = [word for flag in given for word in (flag, few[script][few[script].index(flag) + 1])]
    agents = [str(agent)] if script == "compare" else ["--agent_path", str(agent)]
    return [str(ROOT / PATHS[script]), *agents, *defaults, *more]


def make_world(folder: Path) -> Path:
    """The agent, with every output."""
    agent = save_dqn(folder / "agent", decisive(new_dqn(vector_space(4), net_arch=[8, 6])))
    (folder / "environments.py").write_text(ENVIRONMENTS)
    works(words("record", agent, *environment(agent)))
    works(words("pairs", agent))
    works(words("sets", agent))
    works(words("edges", agent))
    works(words("rollouts", agent, *environment(agent), "--patch_spec", "q_net.1:0"))
    works(words("report", agent))
    works(words("compare", agent, "--output_dir", str(folder / "comparison")))
    return agent


def copied(world: Path, folder: Path) -> Path:
    """A copy of that agent and what is beside it, in ``folder``."""
    shutil.copytree(world.parent, folder, dirs_exist_ok=True)
    return folder / world.name
