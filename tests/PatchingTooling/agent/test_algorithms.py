"""The name of an agent's algorithm, from the names in its zip."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from gymnasium import spaces
from stable_baselines3 import A2C, DDPG, DQN, PPO, SAC, TD3

from Neuron_Selection import inspect_agent
from Neuron_Selection.errors import InputError
from Neuron_Selection.FileFormats.agent_zip.agent_zip import read_agent_zip
from Neuron_Selection.PatchingTooling import PatchingExperiment
from Neuron_Selection.PatchingTooling.agent.algorithms import UNKNOWN, algorithm_in, reason_unsupported
from tests.extractors import DuellingPolicy
from tests.made_agents import (
    BlankEnv,
    class_named,
    data_fields,
    mlp_agent,
    mlp_state,
    pickled,
    save_dqn,
    serialized,
    vector_space,
    write_zip,
)
from tests.raised import raises

ACTOR_CRITIC = "stable_baselines3.common.policies.ActorCriticPolicy"
EXPECTED = "a policy of DQN, QR-DQN, PPO, A2C, TRPO or MaskablePPO"
CUSTOM = "my_project.policies.MyPolicy"
ON_POLICY = ("gae_lambda", "ent_coef", "vf_coef", "n_steps", "normalize_advantage")
OFF_POLICY = ("tau", "buffer_size", "train_freq", "learning_starts", "batch_size")
OF_PPO = (*ON_POLICY, "clip_range", "n_epochs", "batch_size", "target_kl")
OF_TRPO = (*ON_POLICY, "cg_max_steps", "line_search_max_iter", "line_search_shrinking_factor", "target_kl")
OF_DQN = (*OFF_POLICY, "exploration_fraction", "target_update_interval", "max_grad_norm")
OF_SAC = (*OFF_POLICY, "target_entropy", "ent_coef", "target_update_interval")
OF_TD3 = (*OFF_POLICY, "policy_delay", "target_noise_clip", "target_policy_noise")


def made_zip(path: Path, policy: str, fields: tuple[str, ...], **more: Any) -> Path:
    """A zip with a policy of this name and further fields in ``data``."""
    module, _, name = policy.rpartition(".")
    changed = {"policy_class": serialized(class_named(module, name)), **dict.fromkeys(fields, 1), **more}
    return write_zip(path / "agent.zip", data=data_fields(**changed))


@pytest.mark.parametrize(
    ("policy", "fields", "algorithm"),
    [
        ("stable_baselines3.dqn.policies.DQNPolicy", OF_DQN, "DQN"),
        ("stable_baselines3.dqn.policies.CnnPolicy", (), "DQN"),
        (ACTOR_CRITIC, OF_PPO, "PPO"),
        ("stable_baselines3.common.policies.ActorCriticCnnPolicy", OF_PPO, "PPO"),
        ("stable_baselines3.common.policies.MultiInputActorCriticPolicy", OF_TRPO, "TRPO"),
        (ACTOR_CRITIC, (*ON_POLICY, "cg_max_steps"), "TRPO"),
        (ACTOR_CRITIC, (*ON_POLICY, "line_search_max_iter"), "TRPO"),
        (ACTOR_CRITIC, ON_POLICY, "A2C"),
        (ACTOR_CRITIC, (), "A2C"),
        (ACTOR_CRITIC, OF_DQN, "A2C"),  # no field makes a DQN of an actor-critic policy
        ("sb3_contrib.common.maskable.policies.MaskableActorCriticPolicy", OF_PPO, "MaskablePPO"),
        ("sb3_contrib.common.recurrent.policies.RecurrentActorCriticPolicy", OF_PPO, "RecurrentPPO"),
        ("sb3_contrib.qrdqn.policies.QRDQNPolicy", (*OF_DQN, "n_quantiles"), "QR-DQN"),
        ("sb3_contrib.ars.policies.ARSPolicy", ("n_delta", "delta_std_schedule"), "ARS"),
        ("stable_baselines3.sac.policies.SACPolicy", OF_SAC, "SAC"),
        ("sb3_contrib.tqc.policies.TQCPolicy", (*OF_SAC, "top_quantiles_to_drop_per_net"), "TQC"),
        ("sb3_contrib.crossq.policies.CrossQPolicy", (*OFF_POLICY, "target_entropy", "policy_delay"), "CrossQ"),
        ("stable_baselines3.td3.policies.TD3Policy", OF_TD3, "TD3"),
        (CUSTOM, OF_DQN, "DQN"),
        (CUSTOM, (*OF_DQN, "n_quantiles"), "QR-DQN"),
        (CUSTOM, OF_PPO, "PPO"),
        (CUSTOM, OF_TRPO, "TRPO"),
        (CUSTOM, ON_POLICY, "A2C"),
        (CUSTOM, OF_SAC, "SAC"),
        (CUSTOM, (*OF_SAC, "top_quantiles_to_drop_per_net"), "TQC"),
        (CUSTOM, (*OFF_POLICY, "target_entropy", "policy_delay"), "CrossQ"),
        (CUSTOM, OF_TD3, "TD3"),
        (CUSTOM, ("n_delta", "delta_std_schedule"), "ARS"),
        (CUSTOM, (), UNKNOWN),
        ("stable_baselines3.dqn.policies_of_mine.DQNPolicy", (), UNKNOWN),
        ("stable_baselines3.sacred.SACPolicy", (), UNKNOWN),
    ],
)
def test_the_policy_and_the_names_of_fields_identify_one_algorithm(
    policy: str, fields: tuple[str, ...], algorithm: str, tmp_path: Path
) -> None:
    assert algorithm_in(read_agent_zip(made_zip(tmp_path, policy, fields))) == algorithm


def test_td3_with_one_critic_is_ddpg(tmp_path: Path) -> None:
    policy = "stable_baselines3.td3.policies.TD3Policy"
    for name, kwargs, algorithm in (("a", {"n_critics": 1}, "DDPG"), ("b", {"n_critics": 2}, "TD3"), ("c", {}, "TD3")):
        path = made_zip(tmp_path / name, policy, OF_TD3, policy_kwargs=kwargs)
        assert algorithm_in(read_agent_zip(path)) == algorithm


def test_a_custom_policy_with_a_recurrent_actor_is_recurrent(tmp_path: Path) -> None:
    module, _, name = CUSTOM.rpartition(".")
    fields = data_fields(policy_class=serialized(class_named(module, name)), clip_range=0.2)
    state = mlp_state() | {"lstm_actor.weight_ih_l0": torch.zeros(4, 4)}
    path = write_zip(tmp_path / "agent.zip", data=fields, policy=state)
    assert algorithm_in(read_agent_zip(path)) == "RecurrentPPO"


def test_fields_are_named_and_not_decoded(tmp_path: Path) -> None:
    evil = pickled(os.system)
    path = made_zip(tmp_path, ACTOR_CRITIC, (), clip_range=evil, n_epochs={":serialized:": "?"})
    agent = read_agent_zip(path)
    assert agent.data_keys == {*data_fields(), "clip_range", "n_epochs"}
    assert algorithm_in(agent) == "PPO"


@pytest.mark.parametrize("made", [PPO, A2C, DQN, SAC, TD3, DDPG])
def test_agents_saved_by_stable_baselines3_are_named(made: Any, tmp_path: Path) -> None:
    env = BlankEnv(vector_space(4), n_actions=3)
    more = {} if made in (PPO, A2C) else {"buffer_size": 1}
    if made in (SAC, TD3, DDPG):
        env.action_space = spaces.Box(-1, 1, (2,), np.float32)  # type: ignore[assignment]
    path = save_dqn(tmp_path / "agent", made("MlpPolicy", env, device="cpu", **more)) / "agent.zip"
    assert algorithm_in(read_agent_zip(path)) == made.__name__


@pytest.mark.parametrize(
    ("folder", "algorithm"),
    [
        ("CartPole-v1", "DQN"), ("Acrobot-v1", "DQN"), ("qrdqn-CartPole-v1", "QR-DQN"), ("ppo-CartPole-v1", "PPO"),
        ("trpo-CartPole-v1", "TRPO"), ("a2c-Acrobot-v1", "A2C"),
    ],
)  # fmt: skip
def test_published_agents_are_named(
    folder: str, algorithm: str, published_agents: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = published_agents / folder / "agent.zip"
    assert algorithm_in(read_agent_zip(path)) == algorithm
    assert inspect_agent.main([str(path)]) == 0
    assert f"\nalgorithm: {algorithm}\n" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("policy", "fields", "reason"),
    [
        ("sb3_contrib.common.recurrent.policies.RecurrentActorCriticPolicy", OF_PPO,
         "RecurrentPPO keeps a state between steps"),
        ("stable_baselines3.sac.policies.SACPolicy", OF_SAC, "SAC has continuous actions"),
        ("stable_baselines3.td3.policies.TD3Policy", OF_TD3, "TD3 has continuous actions"),
        ("sb3_contrib.tqc.policies.TQCPolicy", OF_SAC, "TQC has continuous actions"),
        ("sb3_contrib.crossq.policies.CrossQPolicy", (), "CrossQ has continuous actions"),
        ("sb3_contrib.ars.policies.ARSPolicy", (),
         "the outputs of ARS are neither values nor probabilities of actions"),
        (CUSTOM, OF_SAC, "SAC has continuous actions"),
    ],
)  # fmt: skip
def test_an_algorithm_that_cannot_be_analysed_is_refused_with_the_reason(
    policy: str, fields: tuple[str, ...], reason: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = made_zip(tmp_path, policy, fields)
    algorithm = algorithm_in(read_agent_zip(path))
    found = f"{policy}, a policy of {algorithm}"
    file = f"{path}: data"
    with raises(InputError, file=file, field="policy_class", found=found, expected=EXPECTED, hint=reason):
        PatchingExperiment(path)
    assert reason == reason_unsupported(algorithm)
    assert inspect_agent.main([str(path)]) == 0
    out = capsys.readouterr().out
    assert f"algorithm: {algorithm}\n" in out
    assert f"({reason})\n" in out


def test_a_custom_policy_of_a_dqn_is_named_dqn(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = mlp_agent(tmp_path / "agent", policy=DuellingPolicy)
    assert inspect_agent.main([str(folder), "--trust", "tests.extractors.DuellingPolicy"]) == 0
    assert "algorithm: DQN\n" in capsys.readouterr().out


def test_an_unknown_policy_is_reported_as_custom(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert inspect_agent.main([str(made_zip(tmp_path, CUSTOM, ()))]) == 0
    assert "algorithm: unknown (a custom policy class)\n" in capsys.readouterr().out
