"""Agents trained by today's Stable-Baselines3 and sb3_contrib: their scores and actions, and the whole chain."""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from sb3_contrib import QRDQN, MaskablePPO
from sb3_contrib.common.wrappers import ActionMasker
from stable_baselines3 import A2C, PPO

from Neuron_Selection.PatchingTooling import PatchingExperiment
from tests.in_process import in_process
from tests.made_actors import save_agent

MADE: dict[str, Callable[[], Any]] = {
    "PPO": lambda: PPO("MlpPolicy", "CartPole-v1", n_steps=128, seed=0, device="cpu"),
    "A2C": lambda: A2C("MlpPolicy", "CartPole-v1", seed=0, device="cpu"),
    "MaskablePPO": lambda: MaskablePPO("MlpPolicy", ActionMasker(gym.make("Acrobot-v1"), mask_of), n_steps=128, seed=0,
                                       device="cpu"),
    "QR-DQN": lambda: QRDQN("MlpPolicy", "CartPole-v1", learning_starts=64, buffer_size=512, seed=0, device="cpu",
                            policy_kwargs={"n_quantiles": 25}),
}  # fmt: skip


def mask_of(env: gym.Env[Any, Any]) -> np.ndarray:
    """No push against the first link's velocity."""
    velocity = env.unwrapped.state[2]  # type: ignore[attr-defined]
    return np.array([velocity <= 0, True, velocity >= 0])


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], tuple[Path, Any, np.ndarray]]:
    """Name to an agent folder, the trained model, and observations of its own episodes, (128, width)."""
    made: dict[str, tuple[Path, Any, np.ndarray]] = {}

    def agent(name: str) -> tuple[Path, Any, np.ndarray]:
        if name not in made:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                model = MADE[name]().learn(384)
            model.policy.set_training_mode(False)
            env, seen = model.get_env(), []
            observation = env.reset()
            for _ in range(128):
                seen.append(observation[0])
                observation, _, _, _ = env.step(np.array([env.action_space.sample()]))
            folder = save_agent(tmp_path_factory.mktemp("trained") / "agent", model)
            made[name] = folder, model, np.stack(seen)
        return made[name]

    return agent


@pytest.mark.parametrize("name", MADE)
def test_scores_and_actions_are_those_of_the_trained_model(name: str, trained: Any) -> None:
    folder, model, observations = trained(name)
    experiment = PatchingExperiment(folder, engine="torch")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of masks, which the whole test is about below
        scores = experiment.q_values(observations)
    expected, logits = [], []
    for start in (0, 64):
        tensors = model.policy.obs_to_tensor(observations[start : start + 64])[0]
        with torch.no_grad():
            if name == "QR-DQN":
                expected.append(model.policy.quantile_net(tensors).mean(dim=1).numpy())
                continue
            hook = model.policy.action_net.register_forward_hook(lambda *run: expected.append(run[2].numpy()))
            logits.append(model.policy.get_distribution(tensors).distribution.logits.numpy())
            hook.remove()
    assert np.array_equal(scores, np.concatenate(expected))
    if logits:
        assert np.ptp(scores - np.concatenate(logits), axis=1).max() < 1e-6
    assert np.array_equal(scores.argmax(axis=1), model.predict(observations, deterministic=True)[0])
    numpy = PatchingExperiment(folder, engine="numpy").network.scores(observations)
    assert np.abs(numpy - scores).max() <= 1e-5 * max(1.0, np.abs(scores).max())


def test_masks_restrict_the_actions_as_in_sb3_contrib(trained: Any) -> None:
    folder, model, observations = trained("MaskablePPO")
    masks = np.random.default_rng(0).random((len(observations), 3)) < 0.5
    masks[np.arange(len(masks)), np.arange(len(masks)) % 3] = True
    document = {
        str(row): {"input": one.tolist(), "action_mask": masks[row].tolist()} for row, one in enumerate(observations)
    }
    (folder / "activation_inputs").mkdir(exist_ok=True)
    (folder / "activation_inputs" / "clean_inputs.json").write_text(json.dumps(document))
    results = PatchingExperiment(folder, engine="torch").run_ablation_experiment(
        "clean_inputs.json", {"mlp_extractor.policy_net.1": "all"}
    )
    actions = [record["baseline_action"] for record in results.values()]
    assert actions == model.predict(observations, deterministic=True, action_masks=masks)[0].tolist()
    assert actions != model.predict(observations, deterministic=True)[0].tolist()


def test_the_whole_chain_runs_on_a_trained_ppo(trained: Any) -> None:
    folder, model, observations = trained("PPO")
    (folder / "activation_inputs").mkdir(exist_ok=True)
    halves = np.concatenate([observations[:12], observations[64:76] * [1, 1, -1, -1]]).reshape(2, 12, 4)
    for name, rows in zip(("clean", "corrupted"), halves, strict=True):
        document = {str(row): {"input": one.tolist()} for row, one in enumerate(rows)}
        (folder / "activation_inputs" / f"{name}_inputs.json").write_text(json.dumps(document))
    tooling, weights = "Neuron_Selection/", "Parameter_Selection/PerturbationTooling/"
    chain = [
        ["activation_extraction.py"],
        ["activation_patching.py", "--target_input", "corrupted_inputs.json", "--source_activations",
         "clean_activations.npz", "--patch_spec", "mlp_extractor.policy_net.1:0-9"],
        [f"{tooling}ExperimentTooling/run_experiments.py"],
        [f"{tooling}AnalysisTooling/analyze_metrics.py"],
        [f"{tooling}ExperimentTooling/find_minimal_sets.py", "--random_orders", "1"],
        ["SaliencyTooling/InitialGradients/gradients.py"],
        ["SaliencyTooling/InitialGradients/average.py"],
        ["SaliencyTooling/InitialGradients/extract.py", "--cross_metric_path", "cross_metric_summary.json",
         "--average_gradients_path", "average_gradients.json"],
        [f"{weights}perturb_weights.py", "--control_sets", "0"],
        [f"{weights}find_smallest_flips.py"],
        [f"{weights}write_agent.py", "--edits", "mlp_extractor.policy_net.0.weight[3,1]=2.5",
         "--output", str(folder.parent / "edited" / "agent.zip")],
    ]  # fmt: skip
    for script, *flags in chain:
        run = in_process([script, "--agent_path", str(folder), *flags])
        assert run.returncode == 0, run.stderr
        assert "Q-value" not in run.stdout + run.stderr, script
    edited = PPO.load(folder.parent / "edited" / "agent.zip", device="cpu")
    changed = edited.policy.mlp_extractor.policy_net[0].weight.detach().numpy()
    assert changed[3, 1] == 2.5
    assert np.count_nonzero(changed != model.policy.mlp_extractor.policy_net[0].weight.detach().numpy()) == 1
