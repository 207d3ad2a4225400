"""What an actor or a quantile network costs: CPU time of whole processes, in units of a DQN of the same size.

    python benchmarks/actors.py [--rounds 7] [--pairs 100] [--width 256]

Every round runs every command once, in turn. ReLU everywhere, so that only the algorithm differs; PPO, Tanh is PPO's
own default.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from startup import ENVIRONMENT, measured, script

MAKE = """
import json, os, sys
import gymnasium as gym, numpy as np
from sb3_contrib import QRDQN
from stable_baselines3 import DQN, PPO
from torch import nn

folder, width, pairs = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
class Blank(gym.Env):
    observation_space = gym.spaces.Box(-9, 9, (32,), np.float32)
    action_space = gym.spaces.Discrete(4)
kwargs = {"net_arch": [width, width], "activation_fn": nn.ReLU}
agents = {
    "DQN": DQN("MlpPolicy", Blank(), buffer_size=1, seed=0, policy_kwargs=kwargs),
    "PPO": PPO("MlpPolicy", Blank(), n_steps=64, seed=0, policy_kwargs=kwargs, device="cpu"),
    "PPO, Tanh": PPO("MlpPolicy", Blank(), n_steps=64, seed=0, policy_kwargs={**kwargs, "activation_fn": nn.Tanh},
                     device="cpu"),
    "QR-DQN, 50 quantiles": QRDQN("MlpPolicy", Blank(), buffer_size=1, seed=0,
                                  policy_kwargs={**kwargs, "n_quantiles": 50}),
}
random = np.random.default_rng(0)
inputs = {name: random.uniform(-9, 9, (pairs, 32)).round(4).tolist() for name in ("clean", "corrupted")}
for agent, model in agents.items():
    os.makedirs(f"{folder}/{agent}/activation_inputs")
    model.save(f"{folder}/{agent}/agent.zip")
    for name, rows in inputs.items():
        with open(f"{folder}/{agent}/activation_inputs/{name}_inputs.json", "w") as file:
            json.dump({str(n): {"input": row} for n, row in enumerate(rows)}, file)
"""
FIRST_LAYERS = {"DQN": "q_net.1", "QR-DQN, 50 quantiles": "quantile_net.1"}  # of the others, the policy's
SWEEP = "Neuron_Selection/ExperimentTooling/run_experiments.py"


def main() -> None:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7, help="how often every command runs")
    parser.add_argument("--pairs", type=int, default=100, help="pairs of inputs")
    parser.add_argument("--width", type=int, default=256, help="of both hidden layers")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        made = [sys.executable, "-W", "ignore", "-c", MAKE, temporary, str(args.width), str(args.pairs)]
        subprocess.run(made, check=True, env=ENVIRONMENT)
        commands: dict[str, list[str]] = {}
        for agent in sorted(path.name for path in Path(temporary).iterdir()):
            folder = Path(temporary) / agent
            layer = FIRST_LAYERS.get(agent, "mlp_extractor.policy_net.1")
            pair = ["--direction", "denoising", "--clean", "clean_inputs.json", "--corrupted", "corrupted_inputs.json"]
            patch = script("activation_patching.py", "--agent_path", folder, "--quiet", *pair)
            settings = ["--patch_spec", f"{layer}:0-9", "--output_prefix", "patch", "--overwrite"]
            for engine in ("numpy", "torch"):
                commands[f"patch, {engine}: {agent}"] = [*patch, *settings, "--engine", engine]
            commands[f"sweep, numpy: {agent}"] = [*script(SWEEP, "--agent_path", folder, "--quiet"), "--overwrite"]
        times = measured(commands, rounds=args.rounds)
    print(f"two hidden layers of {args.width}, {args.pairs} pairs")
    print(f"{'command':<16}{'agent':<24}{'CPU s':>8}{'x the DQN':>11}")
    for name, (cpu, _) in sorted(times.items()):
        task, _, agent = name.partition(": ")
        ratio = statistics.median(one / other for one, other in zip(cpu, times[f"{task}: DQN"][0], strict=True))
        print(f"{task:<16}{agent:<24}{statistics.median(cpu):>8.2f}{ratio:>11.2f}")


if __name__ == "__main__":
    main()
