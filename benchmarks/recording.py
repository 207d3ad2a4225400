"""Recording visited inputs, against stepping the same environments with random actions plus the network's forwards.

The target is a ratio of at most 1.5. Each pair of calls takes the same number of steps in as many environments at once.
"""

from __future__ import annotations

import argparse
import shutil
import statistics
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
from measuring import interleaved, median_ratio

from Neuron_Selection.ObservationTooling import chosen_environment
from Neuron_Selection.ObservationTooling.recording import record_inputs
from Neuron_Selection.ObservationTooling.recording.run import AT_ONCE, Recorded
from Neuron_Selection.PatchingTooling import OpenedAgent, open_agent

EPISODES = 2 * AT_ONCE
LAVA = Path(__file__).resolve().parents[1] / "examples" / "lava_crossing"


def main() -> None:
    """Print one line per agent: CPU seconds of both calls, and their ratio."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--agents", type=Path, help="folder of published agents, CartPole-v1 and Acrobot-v1")
    parser.add_argument("--rounds", type=int, default=5)
    args = parser.parse_args()
    cases = {"lava crossing": (LAVA / "agent", f"{LAVA / 'environment.py'}:make_env")}
    for name in ("CartPole-v1", "Acrobot-v1") if args.agents else ():
        cases[name] = (args.agents / name, name)
    for name, (folder, env) in cases.items():
        with tempfile.TemporaryDirectory() as temporary:
            copy = Path(shutil.copytree(folder, Path(temporary) / "agent"))
            seconds = interleaved(_calls(open_agent(copy), env), rounds=args.rounds)
        recording, stepping = (statistics.median(seconds[call]) for call in ("recording", "stepping"))
        ratio = median_ratio(seconds["recording"], seconds["stepping"])
        print(f"{name}: recording {recording:.3f} s, stepping and forwards {stepping:.3f} s, ratio {ratio:.2f}")


def _calls(agent: OpenedAgent, env: str) -> dict[str, Callable[[], object]]:
    def recording() -> Recorded:
        return record_inputs(agent, episodes=EPISODES, overwrite=True, env=env)

    n_steps = recording().summary["steps"]

    def stepping() -> None:
        """As many steps with random actions, each batch run through the network."""
        environment = chosen_environment(agent, env=env)
        envs = [environment.make() for _ in range(AT_ONCE)]
        generator = np.random.default_rng(0)
        for row, one in enumerate(envs):
            one.reset(seed=row)
        raw = np.zeros((AT_ONCE, *(envs[0].observation_space.shape or ())), np.float32)
        for _ in range(n_steps // AT_ONCE):
            for row, action in enumerate(generator.integers(agent.architecture.n_actions, size=AT_ONCE)):
                raw[row], _, terminated, truncated, _ = envs[row].step(action)
                if terminated or truncated:
                    raw[row], _ = envs[row].reset(seed=row)
            agent.network.scores(raw)

    return {"recording": recording, "stepping": stepping}


if __name__ == "__main__":
    main()
