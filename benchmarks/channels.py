"""A sweep of every channel of a NatureCNN: from cached activations, against one forward under hooks a channel."""

from __future__ import annotations

import statistics
import tempfile
import warnings

import gymnasium as gym
import numpy as np
import torch
from competitors import batched_hooks
from gymnasium import spaces
from measuring import interleaved, median_ratio
from stable_baselines3 import DQN

from Neuron_Selection.PatchingTooling import PatchingExperiment
from Neuron_Selection.PatchingTooling.agent.interventions import replacing

INPUTS = 20


def print_channels(rounds: int) -> None:
    """Measure and print, in float64 as sweeps run and in float32; both ways in the same dtype."""
    print(f"\nsweep of the channels of a NatureCNN (84 x 84 x 4), {INPUTS} inputs")
    print(f"{'':<26}{'ours, CPU ms':>14}{'batched hooks':>16}{'x ours':>10}")
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        DQN("CnnPolicy", _Blank(), buffer_size=1, seed=0, device="cpu").save(f"{folder}/agent.zip")
        for dtype in ("float64", "float32"):
            experiment = PatchingExperiment(folder, dtype=dtype)
            for number, place in enumerate((0, 2, 4), start=1):
                times = _times(experiment, f"features_extractor.cnn.{place}", rounds)
                ours, hooks = times["ours"], times["hooks"]
                medians = [1000 * statistics.median(seconds) for seconds in (ours, hooks)]
                ratio = median_ratio(hooks, ours)
                print(f"{f'conv{number}, {dtype}':<26}{medians[0]:>14.1f}{medians[1]:>16.1f}{ratio:>10.1f}", flush=True)


def _times(experiment: PatchingExperiment, layer: str, rounds: int) -> dict[str, list[float]]:
    random, network = np.random.default_rng(0), experiment.torch_network
    target, other = (random.integers(0, 256, (INPUTS, 4, 84, 84), dtype=np.uint8) for _ in range(2))
    source = network.activations(other, [layer])
    own = network.reusable_activations(target, [layer])
    inputs, tensors = torch.from_numpy(target), {layer: torch.from_numpy(source[layer])}
    channels = range(experiment.layer_table.widths[layer])
    patches = [{layer: [channel]} for channel in channels]
    return interleaved(
        {
            "ours": lambda: network.patched_many(
                target, [replacing({layer: (channel,)}, source) for channel in channels], target_run=own
            ),
            "hooks": lambda: batched_hooks(network.module, inputs, tensors, patches),
        },
        rounds=rounds,
    )


class _Blank(gym.Env[np.ndarray, int]):
    observation_space = spaces.Box(0, 255, (84, 84, 4), np.uint8)
    action_space = spaces.Discrete(6)  # type: ignore[assignment]
