"""Rollouts: ratios of CPU time within this run; ``OMP_NUM_THREADS=1 python benchmarks/rollouts.py [EPISODES]``.

256 neurons of the shipped example, each ablated alone in whole episodes: against stepping the same environments as
often with random actions, and against ``evaluate_policy`` of Stable-Baselines3 with a hook, one experiment after the
other (a sample of steps, scaled). Exact values: all neurons and states at once, and how the time grows.
"""

from __future__ import annotations

import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from Neuron_Selection.ObservationTooling.environments.acting import Acting
from Neuron_Selection.ObservationTooling.environments.environment import environment_from
from Neuron_Selection.ObservationTooling.finite_worlds.worlds import finite_world_of
from Neuron_Selection.PatchingTooling import open_agent
from Parameter_Selection.RolloutTooling.episodes.block import put_together
from Parameter_Selection.RolloutTooling.episodes.processes import Work, run_episodes
from Parameter_Selection.RolloutTooling.episodes.settings import EpisodeSettings
from Parameter_Selection.RolloutTooling.exact.exact_values import exact_values
from Parameter_Selection.RolloutTooling.exact.policies import policies_of
from Parameter_Selection.RolloutTooling.experiments.ablated_values import AblatedValues
from Parameter_Selection.RolloutTooling.experiments.chosen import Changes, choose_experiments
from Parameter_Selection.RolloutTooling.experiments.deciders import Deciders

EXAMPLE = Path(__file__).resolve().parents[1] / "examples" / "lava_crossing"
ENV = f"{EXAMPLE / 'environment.py'}:make_env"
SAMPLED_STEPS = 3000


def seconds(call: Callable[[], Any]) -> tuple[float, Any]:
    """CPU seconds of a call, and what it returned."""
    start = time.process_time()
    result = call()
    return time.process_time() - start, result


def random_steps(count: int) -> float:
    """CPU seconds of one step with random actions, with the resets in between."""
    env = environment_from(ENV).make()
    random = np.random.default_rng(0)

    def run() -> None:
        ended, seed = True, 0
        for action in random.integers(0, 3, count).tolist():
            if ended:
                env.reset(seed=seed)
                seed += 1
            _, _, terminated, truncated, _ = env.step(action)
            ended = terminated or truncated

    return seconds(run)[0] / count


def evaluated_steps(count: int) -> float:
    """CPU seconds of one step of ``evaluate_policy`` with a hook that ablates a neuron."""
    import torch
    from stable_baselines3 import DQN
    from stable_baselines3.common.evaluation import evaluate_policy
    from stable_baselines3.common.monitor import Monitor

    torch.set_num_threads(1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = DQN.load(EXAMPLE / "agent" / "agent.zip", device="cpu")
    env = Monitor(environment_from(ENV).make())

    def ablate(_module: Any, _arguments: Any, output: torch.Tensor) -> torch.Tensor:
        output = output.clone()
        output[:, 1] = 0.0
        return output

    handle = model.policy.q_net.get_submodule("q_net.2").register_forward_hook(ablate)
    steps, used = 0, 0.0
    while steps < count:
        spent, (_, lengths) = seconds(
            lambda: evaluate_policy(model, env, n_eval_episodes=5, return_episode_rewards=True)
        )
        steps, used = steps + sum(lengths), used + spent
    handle.remove()
    return used / steps


def main() -> None:
    """Print the ratios."""
    episodes = int(sys.argv[1]) if len(sys.argv) > 1 else 100
    agent = open_agent(EXAMPLE / "agent")
    chosen = choose_experiments(agent, Changes(neurons=["all"]), seed=0)
    settings = EpisodeSettings(environment=environment_from(ENV), acting=Acting(kind="greedy"), max_steps=1000)
    work = Work(
        experiments=chosen.experiments, settings=settings, ablation=chosen.ablation, reference=None, seed=0, gamma=0.97
    )
    seeds = range(episodes)
    spent, blocks = seconds(lambda: run_episodes(agent, None, work, seeds, jobs=1, progress=None))
    outcomes = put_together(blocks)
    steps, stepped = int(outcomes.lengths.sum()), sum(len(path.actions) for path in outcomes.paths)
    print(f"{len(chosen.experiments)} neurons x {episodes} episodes: {spent:.2f} s CPU; {steps:,} steps of episodes,")
    print(f"  of which {stepped:,} on different paths ({len(outcomes.paths)} paths)")
    by_random, by_sb3 = random_steps(SAMPLED_STEPS), evaluated_steps(SAMPLED_STEPS)
    print(f"a step with random actions {by_random * 1e6:.0f} us: ratio {spent / (steps * by_random):.3f} (at most 2)")
    print(f"a step of evaluate_policy {by_sb3 * 1e6:.0f} us: {steps * by_sb3 / spent:.0f} x less (at least 20)")

    tabulated, world = seconds(lambda: finite_world_of(environment_from(ENV)))
    observations = agent.inputs({str(n): one for n, one in enumerate(world.observations)}).observations
    assert chosen.ablation is not None
    ablated = AblatedValues(agent.network, chosen.ablation, None, seed=0)

    def exact(count: int) -> float:
        return seconds(lambda: computed(count))[0]

    def computed(count: int) -> None:
        deciders = Deciders(network=agent.network, experiments=chosen.experiments[:count], ablated=ablated)
        policies = policies_of(deciders, observations, settings.acting, when=None)
        exact_values(world, policies, gamma=0.97, horizon=324)

    times = {count: min(exact(count) for _ in range(3)) for count in (64, 128, 256)}
    print(f"exact: {world.n_states:,} states, tabulated in {tabulated:.2f} s")
    print("  " + ", ".join(f"{count} neurons {spent:.2f} s" for count, spent in times.items()) + " (256: at most 2)")


if __name__ == "__main__":
    main()
