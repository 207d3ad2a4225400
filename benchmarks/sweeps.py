"""What a sweep of every hidden neuron costs: CPU time of whole processes, against the ways that people write it.

    python benchmarks/sweeps.py [--rounds 5] [--pairs 100] [--width 256]

Every round runs every command once, in turn. Both directions, all pairs, an MLP of two hidden layers; the others write
their Q-values with json.dump, as published scripts do.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from startup import ENVIRONMENT, measured, script

BY_HOOKS = """
import json, sys
import numpy as np, torch
from stable_baselines3 import DQN

torch.set_num_threads(1)
folder, batched = sys.argv[1], sys.argv[2] == "batched"
q_net = DQN.load(folder + "/agent.zip", device="cpu").policy.q_net.eval()
runs = {}
for name in ("clean", "corrupted"):
    with open(f"{folder}/activation_inputs/{name}_inputs.json") as file:
        runs[name] = torch.tensor([entry["input"] for entry in json.load(file).values()])
results = {}
with torch.no_grad():
    for target, source in (("corrupted", "clean"), ("clean", "corrupted")):
        for layer in ("q_net.0", "q_net.2"):
            module, seen = q_net.get_submodule(layer), []
            recording = module.register_forward_hook(lambda _m, _i, output: seen.append(output.clone()))
            q_net(runs[source])
            recording.remove()
            for neuron in range(seen[0].shape[1]):
                values = seen[0][:, neuron]
                rows = [slice(0, None)] if batched else [slice(n, n + 1) for n in range(len(values))]
                found = []
                for part in rows:
                    def swap(_m, _i, output, part=part):
                        output = output.clone()
                        output[:, neuron] = values[part]
                        return output
                    hook = module.register_forward_hook(swap)
                    found += q_net(runs[target][part]).tolist()
                    hook.remove()
                results[f"{target}_{layer}_{neuron}"] = found
with open(folder + "/by_hooks.json", "w") as file:
    json.dump(results, file)
"""

MAKE = """
import json, sys
import gymnasium as gym, numpy as np
from stable_baselines3 import DQN

folder, width, pairs = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
class Blank(gym.Env):
    observation_space = gym.spaces.Box(-9, 9, (32,), np.float32)
    action_space = gym.spaces.Discrete(4)
DQN("MlpPolicy", Blank(), buffer_size=1, seed=0, policy_kwargs={"net_arch": [width, width]}).save(folder + "/agent.zip")
random = np.random.default_rng(0)
for name in ("clean", "corrupted"):
    inputs = {str(n): {"input": row} for n, row in enumerate(random.uniform(-9, 9, (pairs, 32)).round(4).tolist())}
    with open(f"{folder}/activation_inputs/{name}_inputs.json", "w") as file:
        json.dump(inputs, file)
"""

SWEEP = "Neuron_Selection/ExperimentTooling/run_experiments.py"
ANALYSIS = "Neuron_Selection/AnalysisTooling/analyze_metrics.py"


def main() -> None:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5, help="how often every command runs")
    parser.add_argument("--pairs", type=int, default=100, help="pairs of inputs")
    parser.add_argument("--width", type=int, default=256, help="of both hidden layers")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        agent = Path(temporary) / "agent"
        (agent / "activation_inputs").mkdir(parents=True)
        made = [sys.executable, "-W", "ignore", "-c", MAKE, str(agent), str(args.width), str(args.pairs)]
        subprocess.run(made, check=True, env=ENVIRONMENT)
        sweep = [*script(SWEEP, "--agent_path", agent, "--quiet"), "--overwrite"]
        commands = {
            "import numpy": [sys.executable, "-c", "import numpy"],
            "run_experiments.py, numpy": sweep,
            "run_experiments.py, torch": [*sweep, "--engine", "torch", "--output_prefix", "hooks"],
            "analyze_metrics.py": [*script(ANALYSIS, "--agent_path", agent, "--quiet"), "--overwrite"],
            "DQN.load, batched hooks, json.dump": [sys.executable, "-c", BY_HOOKS, str(agent), "batched"],
            "DQN.load, one by one, json.dump": [sys.executable, "-c", BY_HOOKS, str(agent), "one"],
        }
        times = measured(commands, rounds=args.rounds)
        check_that_both_say_the_same(agent)
    unit = times["run_experiments.py, numpy"][0]
    print(f"{2 * args.width} neurons, {args.pairs} pairs, both directions")
    print(f"{'command':<40}{'CPU s':>8}{'wall s':>8}{'x the sweep':>13}")
    for name, (cpu, wall) in times.items():
        ratio = statistics.median(one / other for one, other in zip(cpu, unit, strict=True))
        print(f"{name:<40}{statistics.median(cpu):>8.2f}{statistics.median(wall):>8.2f}{ratio:>13.2f}")


def check_that_both_say_the_same(agent: Path) -> None:
    """The Q-values of the sweep and of the hooks written by hand."""
    code = (
        "import json, sys; import numpy as np\n"
        "stored = np.load(sys.argv[1] + '/patching_results/sweep.npz')\n"
        "by_hand = json.load(open(sys.argv[1] + '/by_hooks.json'))\n"
        "ways = {'corrupted': 'denoising', 'clean': 'noising'}\n"
        "for key, values in by_hand.items():\n"
        "    rest, _, neuron = key.rpartition('_')\n"
        "    target, _, layer = rest.partition('_')\n"
        "    found = stored[f'{ways[target]}_{layer}'][:, int(neuron)]\n"
        "    assert np.abs(found - values).max() < 1e-4 * max(1, np.abs(found).max()), key\n"
        "print(json.dumps(len(by_hand)))"
    )
    run = subprocess.run([sys.executable, "-c", code, str(agent)], check=True, env=ENVIRONMENT, capture_output=True)
    if json.loads(run.stdout) < 1:
        raise SystemExit("nothing was compared")


if __name__ == "__main__":
    main()
