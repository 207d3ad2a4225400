"""Actors and quantile networks: against the policies that saved them, and numpy against hooks on them."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from gymnasium import spaces
from sb3_contrib import QRDQN

from Neuron_Selection.errors import InputError, UntrustedError
from Neuron_Selection.PatchingTooling import PatchingExperiment
from Neuron_Selection.PatchingTooling.agent.interventions import adding, replacing
from Neuron_Selection.PatchingTooling.agent.network import Network, WeightChange
from Neuron_Selection.PatchingTooling.numpy_network.network import NumpyNetwork
from tests.interventions import patched, swept
from tests.made_actors import (
    CUSTOM,
    MLPS,
    OTHERS,
    new_agent,
    samples,
    save_agent,
    save_with_shared_layers,
    with_changes,
)
from tests.made_agents import pickled
from tests.raised import bad_value, raises

pytestmark = pytest.mark.filterwarnings("ignore:.*trained with action masks")
WITH_SHARED = {
    "shared layers": [8, {"pi": [9], "vf": [6, 4]}],
    "shared layers, linear actor": [8, 7, {"vf": [6]}],
    "shared layers alone": [8, 7],
}
CRITIC = ("mlp_extractor.value_net", "value_net", "vf_features_extractor")


def close(found: np.ndarray, expected: np.ndarray) -> bool:
    return bool(np.abs(found - expected).max() <= 1e-12 * max(float(np.abs(expected).max()), 1e-3))


def saved(folder: Path, name: str) -> Path:
    return (
        save_with_shared_layers(folder, WITH_SHARED[name])
        if name in WITH_SHARED
        else save_agent(folder, new_agent(name))
    )


def both(folder: Path, name: str) -> tuple[PatchingExperiment, NumpyNetwork, Network, Any, Any]:
    """The experiment, both networks in float64, five observations and five others."""
    experiment = PatchingExperiment(saved(folder / "agent", name), dtype="float64")
    space = MLPS.get(name, MLPS["PPO"])[2]
    observations, others = (experiment.inputs(samples(space, seed=seed)).observations for seed in (3, 4))
    return experiment, experiment.numpy_network, experiment.torch_network, observations, others


def scores_of_sb3(model: Any, batch: Any) -> np.ndarray:
    """The scores by plain means: a hook on ``action_net``, or the mean of all quantiles."""
    tensors = model.policy.obs_to_tensor(batch)[0]
    with torch.no_grad():
        if isinstance(model, QRDQN):
            return model.policy.quantile_net(tensors).mean(dim=1).numpy()
        seen = []
        hook = model.policy.action_net.register_forward_hook(lambda *run: seen.append(run[2]))
        logits = model.policy.get_distribution(tensors).distribution.logits
        hook.remove()
        assert np.ptp((seen[0] - logits).numpy(), axis=1).max() < 1e-6
        return seen[0].numpy()


@pytest.mark.parametrize("name", [*MLPS, *OTHERS, *CUSTOM])
def test_scores_and_actions_are_those_of_the_policy_that_was_saved(name: str, tmp_path: Path) -> None:
    model = new_agent(name)
    model.policy.set_training_mode(False)
    folder = save_agent(tmp_path / "agent", model)
    custom = "Swish" if "activation" in name else "MinigridFeaturesExtractor"
    trust = {"trust": f"tests.extractors.{custom}"} if name in CUSTOM else {}
    if trust:
        with raises(
            UntrustedError, file=..., field=..., found=f"the custom class 'tests.extractors.{custom}'", expected=...
        ):
            PatchingExperiment(folder, engine="torch")
    experiment = PatchingExperiment(folder, engine="torch", **trust)
    inputs = experiment.inputs(samples(model.observation_space, count=64))
    scores = experiment.q_values(inputs)
    assert np.array_equal(scores, scores_of_sb3(model, inputs.observations))
    actions = model.predict(inputs.observations, deterministic=True)[0]
    assert np.array_equal(scores.argmax(axis=1), actions)
    assert np.array_equal(experiment.torch_network.policy_actions(inputs.observations), actions)


@pytest.mark.parametrize("name", [*MLPS, *WITH_SHARED])
def test_the_layers_of_an_mlp_are_known_from_the_zip(name: str, tmp_path: Path) -> None:
    _, network, probed, _, _ = both(tmp_path, name)
    assert list(network.layers.layers.items()) == list(probed.layers.layers.items())
    assert network.layers.refused == probed.layers.refused


@pytest.mark.parametrize("name", [*MLPS, *WITH_SHARED])
def test_numpy_gives_the_values_of_hooks(name: str, tmp_path: Path) -> None:
    _, network, hooks, observations, others = both(tmp_path, name)
    layers = list(hooks.layers.layers)
    assert close(network.scores(observations), hooks.scores(observations))
    source, expected = hooks.activations(others, layers), hooks.activations(observations, layers)
    found = network.activations(observations, layers)
    assert {layer: array.shape for layer, array in found.items()} == {
        layer: array.shape for layer, array in expected.items()
    }
    for layer in layers:
        assert close(found[layer], expected[layer]), layer
        neurons = (0, hooks.layers.widths[layer] - 1) if hooks.layers.widths[layer] > 1 else (0,)
        for patch in ({layer: neurons}, {layer: "all"}, {layer: neurons, layers[-1]: "all"}):
            scores, changed = patched(network, observations, source, patch)
            by_hooks, counted = patched(hooks, observations, source, patch)
            assert close(scores, by_hooks), patch
            assert {part: list(count) for part, count in changed.items()} == {
                part: list(count) for part, count in counted.items()
            }, patch
        assert close(swept(network, observations, source, [layer])[layer],
                     swept(hooks, observations, source, [layer])[layer]), layer  # fmt: skip
        assert close(network.run_on(layer, source[layer], observations),
                     hooks.run_on(layer, source[layer], observations)), layer  # fmt: skip


@pytest.mark.parametrize("name", [name for name in [*MLPS, *WITH_SHARED] if "PReLU" not in name])
def test_gradients_and_changed_weights_are_those_of_the_real_network(name: str, tmp_path: Path) -> None:
    experiment, network, hooks, observations, _ = both(tmp_path, name)
    weights = np.random.default_rng(0).normal(size=(5, 3))
    for found, expected in zip(
        network.gradients(observations, weights), hooks.gradients(observations, weights), strict=True
    ):
        assert set(found) == set(expected) == set(experiment.online_weights)
        assert all(close(found[parameter], expected[parameter]) for parameter in found)
    for magnitudes in (True, False):
        means, expected = (one.mean_gradients(observations, weights, magnitudes=magnitudes) for one in (network, hooks))
        assert all(close(means[parameter], expected[parameter]) for parameter in expected)
    layers = list(hooks.layers.layers)
    by_layer, expected = (one.layer_gradients(observations, weights, layers) for one in (network, hooks))
    assert all(close(by_layer[layer], expected[layer]) for layer in layers)
    changes = [
        WeightChange(parameter=parameter, row=0, column=1, value=0.625)
        for parameter, array in experiment.online_weights.items()
        if array.ndim == 2
    ]
    assert close(network.scores_of_changes(observations, changes), hooks.scores_of_changes(observations, changes))
    with network.with_weights(changes) as changed, hooks.with_weights(changes) as changed_hooks:
        assert close(changed.scores(observations), changed_hooks.scores(observations))
    places = [(change.parameter, change.row, change.column) for change in changes]
    single, expected = (one.weight_gradients(observations, weights, places) for one in (network, hooks))
    assert close(single, expected)


@pytest.mark.parametrize("name", [name for name in [*MLPS, *OTHERS, *WITH_SHARED] if "QR-DQN" not in name])
def test_no_edit_of_the_critic_changes_a_bit_of_a_score(name: str, tmp_path: Path) -> None:
    engine = "torch" if name in OTHERS else "numpy"
    experiment = PatchingExperiment(saved(tmp_path / "agent", name), engine=engine)
    space = {**MLPS, **OTHERS}.get(name, MLPS["PPO"])[2]
    network, observations = experiment.network, experiment.inputs(samples(space)).observations
    scores = network.scores(observations)
    layers = [layer for layer in network.layers.layers if layer.startswith(CRITIC)]
    assert "value_net" in layers
    for layer in layers:
        run = network.patched(observations, adding({layer: "all"}, {layer: np.ones((1, 1))}))
        assert run.changed[layer].all(), layer
        assert np.array_equal(run.scores, scores), layer
    weights = experiment.online_weights
    changes = [
        WeightChange(parameter=parameter, row=0, column=0, value=9.0)
        for parameter, array in weights.items()
        if parameter.startswith(CRITIC) and array.ndim > 1
    ]
    assert np.array_equal(network.scores_of_changes(observations, changes), np.stack([scores] * len(changes)))


def test_an_actor_and_a_quantile_network_with_a_dqns_weights_give_its_scores(tmp_path: Path) -> None:
    """The last layer of the quantile network holds the DQN's and, for each quantile, an offset; offsets sum to 0."""
    _, actor, _, observations, others = both(tmp_path / "actor", "PPO, ReLU")

    def quantiles(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        own = PatchingExperiment(tmp_path / "actor" / "agent").online_weights
        names = ["mlp_extractor.policy_net.0", "mlp_extractor.policy_net.2", "action_net"]
        for net in ("quantile_net", "quantile_net_target"):
            for number, name in enumerate(names):
                for kind in ("weight", "bias"):
                    values = torch.from_numpy(own[f"{name}.{kind}"].copy())
                    if name == "action_net":
                        values = torch.cat([values + (quantile - 5) / 4 for quantile in range(11)])
                    state[f"{net}.quantile_net.{2 * number}.{kind}"] = values
        return state

    folder = with_changes(save_agent(tmp_path / "quantiles", new_agent("QR-DQN")), tensors=quantiles)
    network = PatchingExperiment(folder).numpy_network
    assert np.allclose(network.scores(observations), actor.scores(observations), atol=1e-5)  # offsets round in float32
    for of_actor, own in (("mlp_extractor.policy_net.1", "quantile_net.1"), ("features_extractor.flatten",) * 2):
        source = actor.activations(others, [of_actor])[of_actor]
        one = swept(actor, observations, {of_actor: source}, [of_actor])[of_actor]
        other = swept(network, observations, {own: source}, [own])[own]
        assert np.abs(one - one[:1]).max() > 1e-3
        assert np.allclose(other, one, atol=1e-5)


def test_an_actors_zip_of_before_sb3_1_7_stores_its_extractor_once(tmp_path: Path) -> None:
    model = new_agent("PPO, CNN")
    folder = save_agent(tmp_path / "agent", model)
    repeated = ("pi_features_extractor.", "vf_features_extractor.")
    inputs = samples(model.observation_space)
    now = PatchingExperiment(folder, engine="torch")
    scores, fingerprint = now.q_values(inputs), now.agent_zip.weights_sha256

    def once(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        return {name: tensor for name, tensor in state.items() if not name.startswith(repeated)}

    before = PatchingExperiment(with_changes(folder, tensors=once), engine="torch")
    assert len(before.agent_zip.tensors) == len(now.agent_zip.tensors) - 16
    assert np.array_equal(before.q_values(inputs), scores)
    assert before.agent_zip.weights_sha256 == fingerprint


@pytest.mark.parametrize(
    "net_arch", [[9, 7], {"pi": [9, 7], "vf": [9, 7]}, [{"pi": [9, 7], "vf": [9, 7]}], [{"vf": [9, 7], "pi": [9, 7]}]]
)
def test_every_form_of_net_arch_is_the_same_network(net_arch: Any, tmp_path: Path) -> None:
    folder = save_agent(tmp_path / "agent", new_agent("TRPO"))
    more = {"ortho_init": False, "use_sde": False, "log_std_init": -2.0, "optimizer_kwargs": {"eps": 1e-5}}
    changed = PatchingExperiment(with_changes(folder, policy_kwargs={"net_arch": net_arch, **more}))
    assert changed.architecture.net_arch == changed.architecture.critic_arch == (9, 7)
    assert list(changed.torch_network.layers.layers) == list(changed.numpy_network.layers.layers)


def test_what_an_actor_cannot_be_is_refused_with_its_field(tmp_path: Path) -> None:
    folder = save_agent(tmp_path / "agent", new_agent("PPO, CNN"))

    def refused(field: str, found: str, **changes: Any) -> None:
        copy = save_agent(tmp_path / "changed", new_agent("PPO, CNN"))
        with raises(InputError, **bad_value(field, found)):
            PatchingExperiment(with_changes(copy, **changes))

    PatchingExperiment(folder)
    net_arch = "policy_kwargs.net_arch"
    refused(net_arch, "widths after an object", policy_kwargs={"net_arch": [{"pi": [9]}, 8]})
    layered = {"net_arch": [8, {"pi": [9], "vf": [9]}]}
    refused("mlp_extractor.shared_net.0.weight", "no such tensor", policy_kwargs=layered)
    refused(net_arch, "the key 'qf'", policy_kwargs={"net_arch": {"qf": []}})
    refused("policy_kwargs.share_features_extractor", "1", policy_kwargs={"share_features_extractor": 1})
    refused("policy_kwargs.n_quantiles", "an unknown argument", policy_kwargs={"n_quantiles": 5})
    refused("action_space", "a Box space", fields={"action_space": pickled(spaces.Box(-1, 1, (2,)))})

    def altered(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        name = "vf_features_extractor.cnn.0.bias"
        return {**state, name: state[name] + 1}

    refused("vf_features_extractor.cnn.0.bias", "other values", tensors=altered)
    extra = "a tensor that this network does not have"
    refused("'more'", extra, tensors=lambda state: {**state, "more": torch.ones(2)})


def test_a_mean_over_quantiles_larger_than_the_file_is_left_to_torch(tmp_path: Path) -> None:
    """Its matrix has actions x actions x quantiles numbers, the zip only actions x quantiles rows."""
    folder = save_agent(tmp_path / "agent", new_agent("QR-DQN, one quantile", n_actions=2049))
    experiment = PatchingExperiment(folder, engine="auto")
    assert experiment.engine == "torch"
    assert (
        experiment.engine_reason == "layer quantile_net.4: found quantiles of too many actions for a mean as a matrix"
    )


def test_an_identity_edit_of_quantiles_changes_no_bit_and_any_other_as_the_real_network_does(tmp_path: Path) -> None:
    """The mean over quantiles is part of the last Linear, except where the quantiles themselves are edited."""
    experiment, network, hooks, observations, others = both(tmp_path, "QR-DQN")
    layer, hidden = "quantile_net.4", "quantile_net.3"
    scores, widths = network.scores(observations), network.layers.widths
    own, source = (network.activations(batch, [hidden, layer]) for batch in (observations, others))
    assert own[layer].shape == (5, 33)
    for patch in ({layer: "all"}, {layer: (0, 5)}, {hidden: (1,), layer: (2,)}):
        run = network.patched(observations, replacing(patch, own))
        assert np.array_equal(run.scores, scores)
        assert not any(counts.any() for counts in run.changed.values())
        many = network.patched_many(observations, [replacing(patch, own)])
        assert np.array_equal(many[0], scores)
    assert np.array_equal(network.run_on(layer, own[layer], observations), scores)
    single = [replacing({layer: (unit,)}, source) for unit in range(widths[layer])]
    assert close(network.patched_many(observations, single), hooks.patched_many(observations, single))
    assert network.fingerprint() == network.unfolded.fingerprint()
    weights = [
        WeightChange(parameter=f"{name}.weight", row=1, column=2, value=0.5) for name in ("quantile_net.0", layer)
    ]
    for changes in (weights, weights[:1], weights[1:]):
        assert close(network.scores_of_changes(observations, changes), hooks.scores_of_changes(observations, changes))
    kept = WeightChange(parameter=f"{layer}.weight", row=1, column=2,
                        value=float(experiment.online_weights[f"{layer}.weight"][1, 2]))  # fmt: skip
    assert np.array_equal(network.scores_of_changes(observations, [kept])[0], scores)


@pytest.mark.parametrize("engine", ["numpy", "torch"])
@pytest.mark.parametrize("name", ["PPO", "shared layers"])
def test_the_critics_value_is_reported_beside_the_scores(name: str, engine: str, tmp_path: Path) -> None:
    experiment = PatchingExperiment(saved(tmp_path / "agent", name), engine=engine, dtype="float64")
    space = MLPS["PPO"][2]
    inputs, others = samples(space, seed=3), samples(space, seed=4)
    layers = ["features_extractor.flatten", "mlp_extractor.value_net.1", "mlp_extractor.policy_net.1", "value_net"]
    values = experiment.activations(inputs, layers=layers)
    source = experiment.activations(others, layers=layers)
    for layer in layers:
        results = experiment.run_patching_experiment(inputs, source, {layer: "all"})
        baseline, patched = (
            np.array([record[f"{kind}_value"] for record in results.values()]) for kind in ("baseline", "patched")
        )
        assert np.array_equal(baseline, values["value_net"][:, 0])
        expected = values["value_net"] if "policy" in layer else source["value_net"]
        if layer != "mlp_extractor.value_net.1" or name == "shared layers":
            assert np.allclose(patched, expected[:, 0], atol=1e-12), layer
        assert (patched == baseline).all() == ("policy" in layer), layer
        actions = [record["action_changed"] for record in results.values()]
        assert any(actions) <= (layer not in ("value_net", "mlp_extractor.value_net.1"))


def test_without_a_critic_no_value_is_reported(tmp_path: Path) -> None:
    experiment = PatchingExperiment(saved(tmp_path / "agent", "QR-DQN"))
    inputs = samples(MLPS["QR-DQN"][2])
    for record in experiment.run_ablation_experiment(inputs, {"quantile_net.1": [0]}).values():
        assert not {"baseline_value", "patched_value", "action_mask"} & set(record)


def test_layers_that_actor_and_critic_share_come_before_both(tmp_path: Path) -> None:
    experiment = PatchingExperiment(saved(tmp_path / "agent", "shared layers"), engine="torch")
    tensors = experiment.agent_zip.tensors
    observations = np.random.default_rng(0).normal(size=(6, 5)).astype(np.float32)
    outputs: dict[str, np.ndarray] = {"": observations.astype(np.float64)}

    def run(layer: str, reads: str, *, activation: bool = True) -> None:
        summed = outputs[reads] @ tensors[f"{layer}.weight"].T.astype(np.float64) + tensors[f"{layer}.bias"]
        outputs[layer] = np.tanh(summed) if activation else summed

    mlp = "mlp_extractor"
    run(f"{mlp}.shared_net.0", "")
    run(f"{mlp}.policy_net.0", f"{mlp}.shared_net.0")
    run("action_net", f"{mlp}.policy_net.0", activation=False)
    run(f"{mlp}.value_net.0", f"{mlp}.shared_net.0")
    run(f"{mlp}.value_net.2", f"{mlp}.value_net.0")
    run("value_net", f"{mlp}.value_net.2", activation=False)
    found = experiment.activations(observations, layers=["action_net", "value_net"])
    for layer, values in found.items():
        assert np.allclose(values, outputs[layer], atol=1e-6), layer
    actions = experiment.torch_network.policy_actions(observations)
    assert np.array_equal(actions, outputs["action_net"].argmax(axis=1))
    assert experiment.layers()["mlp_extractor.shared_net.1"].is_cut


@pytest.mark.skipif("SUITE_AGENTS" not in os.environ, reason="SUITE_AGENTS names no folder of published agents")
@pytest.mark.parametrize("name", ["ppo-CartPole-v1", "trpo-CartPole-v1", "a2c-Acrobot-v1", "qrdqn-CartPole-v1"])
@pytest.mark.filterwarnings("ignore:.*VecNormalize")
def test_published_agents_give_the_scores_of_an_independent_forward(name: str) -> None:
    folder = Path(os.environ["SUITE_AGENTS"]) / name
    experiment = PatchingExperiment(folder, engine="torch", dtype="float32")
    tensors, space = experiment.agent_zip.tensors, experiment.agent_zip.observation_space
    low, high = (np.clip(bound, -1, 1) for bound in (space.low, space.high))
    observations = np.random.default_rng(0).uniform(low, high, size=(70, *space.shape))
    is_actor = "action_net.weight" in tensors
    mlp = "mlp_extractor.policy_net" if is_actor else "quantile_net.quantile_net"
    values, last = observations.astype(np.float32).astype(np.float64), "action_net" if is_actor else f"{mlp}.4"
    for layer in (f"{mlp}.0", f"{mlp}.2", last):
        values = values @ tensors[f"{layer}.weight"].T.astype(np.float64) + tensors[f"{layer}.bias"]
        if layer != last:
            values = np.tanh(values) if is_actor else np.maximum(values, 0)
    n_actions = experiment.agent_zip.action_space.n
    expected = values if is_actor else values.reshape(70, -1, n_actions).mean(axis=1)
    scores = experiment.q_values(observations.astype(np.float32))
    assert np.abs(scores - expected).max() <= 1e-6 * np.abs(expected).max()
