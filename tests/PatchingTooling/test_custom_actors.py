"""Custom policies of actors: named, trusted, built with their own layers; refused where action_net does not decide."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from stable_baselines3 import A2C, PPO

from Neuron_Selection.errors import InputError, UntrustedError
from Neuron_Selection.ExperimentTooling.sweeps import run_sweep
from Neuron_Selection.PatchingTooling import PatchingExperiment
from tests.actor_policies import Contrary, OwnPolicy
from tests.made_actors import samples, save_agent
from tests.made_agents import BlankEnv, class_named, data_fields, serialized, vector_space, write_zip

FILE = Path(__file__).parents[1] / "actor_policies.py"


def custom_agent(folder: Path, policy: Any, algorithm: Any = PPO) -> tuple[Path, Any]:
    settings = {"batch_size": 8} if algorithm is PPO else {}
    model = algorithm(policy, BlankEnv(vector_space(5), 3), n_steps=8, device="cpu", seed=0, **settings)
    return save_agent(folder, model), model


@pytest.mark.parametrize("algorithm", [PPO, A2C])
def test_a_custom_policy_is_refused_until_it_is_trusted(algorithm: Any, tmp_path: Path) -> None:
    folder, model = custom_agent(tmp_path / "agent", OwnPolicy, algorithm)
    with pytest.raises(UntrustedError) as caught:
        PatchingExperiment(folder)
    assert (caught.value.field, caught.value.exit_code) == ("policy_class", 3)
    assert "--trust tests.actor_policies.OwnPolicy" in caught.value.hint
    inputs = samples(model.observation_space, count=64)
    for trusted in ({"trust": "tests.actor_policies.OwnPolicy"}, {"policy": f"{FILE}:OwnPolicy"}):
        experiment = PatchingExperiment(folder, **trusted)
        scores = experiment.q_values(inputs)
        actions = model.predict(np.stack([*inputs.values()]), deterministic=True)[0]
        assert np.array_equal(scores.argmax(axis=1), actions)
        roles = {name: layer.role for name, layer in experiment.layers().items()}
        assert roles["mlp_extractor.policy_net.1"] == "post-activation"
        assert roles["action_net"] == "output"
        assert roles["mlp_extractor.value_net.0"] == roles["value_net"] == "critic"


def test_a_sweep_patches_the_actors_own_layers(tmp_path: Path) -> None:
    folder, model = custom_agent(tmp_path / "agent", OwnPolicy)
    experiment = PatchingExperiment(folder, engine="auto", trust="tests.actor_policies.OwnPolicy")
    assert (experiment.engine, experiment.dtype) == ("torch", "float64")
    inputs = [samples(model.observation_space, count=8, seed=seed) for seed in (1, 2)]
    run = run_sweep(experiment, clean=inputs[0], corrupted=inputs[1])
    assert run.plan.layers == ("mlp_extractor.policy_net.0",)
    assert len(run.plan.patches) == 12


def test_a_policy_whose_actions_are_not_those_of_action_net_is_refused(tmp_path: Path) -> None:
    folder, _ = custom_agent(tmp_path / "agent", Contrary)
    with pytest.raises(InputError) as caught:
        _ = PatchingExperiment(folder, trust="tests.actor_policies.Contrary").torch_network
    assert caught.value.found.startswith("a policy whose distribution does not follow from action_net")
    assert caught.value.exit_code == 2


def test_custom_policies_of_quantile_networks_are_refused_with_the_reason(tmp_path: Path) -> None:
    fields = data_fields(
        policy_class=serialized(class_named("mine", "Policy")), exploration_fraction=0.1, n_quantiles=9
    )
    with pytest.raises(InputError) as caught:
        PatchingExperiment(write_zip(tmp_path / "agent.zip", data=fields))
    assert (caught.value.field, caught.value.exit_code) == ("policy_class", 2)
    assert caught.value.hint == "of QR-DQN, custom policies are not supported"
