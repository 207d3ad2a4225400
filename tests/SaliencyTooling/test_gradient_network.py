"""Gradients by weight: closed form, autograd, finite differences and captum agree; invariants; known answers."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from gymnasium import spaces
from torch import nn

from Neuron_Selection.PatchingTooling import OpenedAgent
from Neuron_Selection.PatchingTooling.agent.network import Network
from SaliencyTooling.gradient_network import gradient_network, of_the_margin, of_the_maximum
from tests.made_agents import mlp_agent, new_dqn, planted_agent, save_dqn, vector_space

ACTIVATIONS = [nn.ReLU, nn.Tanh, nn.ELU, nn.SiLU, nn.GELU, nn.LeakyReLU]


def rows(count: int, width: int = 4) -> np.ndarray:
    return np.random.default_rng(0).normal(size=(count, width)).astype(np.float32)


def both(folder: Path, dtype: str) -> tuple[Network, Network]:
    opened = OpenedAgent(folder, dtype=dtype)
    assert gradient_network(opened) is opened.numpy_network
    return opened.numpy_network, opened.torch_network


@pytest.mark.parametrize(("dtype", "digits"), [("float64", 1e-12), ("float32", 1e-6)])
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_closed_form_and_autograd_agree(activation: type[nn.Module], dtype: str, digits: float, tmp_path: Path) -> None:
    fast, autograd = both(mlp_agent(tmp_path, net_arch=[7, 5], activation_fn=activation), dtype)
    observations = rows(70)
    q_values = autograd.scores(observations)
    for wanted in (of_the_maximum(q_values), of_the_margin(q_values)):
        for one, other in zip(*(network.gradients(observations, wanted) for network in (fast, autograd)), strict=True):
            assert list(one) == list(other)
            for name in other:
                scale = max(np.abs(array).max() for array in other.values())
                assert np.abs(one[name] - other[name]).max() <= digits * scale, name


def test_means_are_the_means_of_each(tmp_path: Path) -> None:
    for source in both(mlp_agent(tmp_path), "float64"):
        observations = rows(70)
        wanted = of_the_maximum(source.scores(observations))
        each = list(source.gradients(observations, wanted))
        magnitudes, signed = (source.mean_gradients(observations, wanted, magnitudes=of) for of in (True, False))
        assert list(magnitudes) == list(signed) == list(each[0])
        for name in each[0]:
            stacked = np.stack([one[name] for one in each])
            assert np.allclose(magnitudes[name], np.abs(stacked).mean(axis=0), rtol=1e-12, atol=1e-15)
            assert np.allclose(signed[name], stacked.mean(axis=0), rtol=1e-12, atol=1e-15)
            assert (magnitudes[name] >= np.abs(signed[name]) - 1e-12).all()


def test_gradients_of_each_input_sum_to_the_gradient_of_the_batch(tmp_path: Path) -> None:
    opened = OpenedAgent(mlp_agent(tmp_path), dtype="float64")
    observations = rows(9)
    source = gradient_network(opened)
    wanted = of_the_maximum(source.scores(observations))
    summed = {k: v * 9 for k, v in source.mean_gradients(observations, wanted, magnitudes=False).items()}
    q_net = opened.torch_network.module
    parameters = dict(q_net.named_parameters())
    batch = torch.autograd.grad(
        q_net(torch.from_numpy(observations)).max(dim=1).values.sum(), list(parameters.values())
    )
    for name, gradient in zip(parameters, batch, strict=True):
        assert np.allclose(summed[name], gradient.numpy(), rtol=1e-10, atol=1e-13)


def test_finite_differences_give_the_same(tmp_path: Path) -> None:
    opened = OpenedAgent(mlp_agent(tmp_path, activation_fn=nn.Tanh), dtype="float64")
    source = gradient_network(opened)
    observation = rows(1)
    q_values = source.scores(observation)
    (gradients,) = source.gradients(observation, of_the_maximum(q_values))
    best, step = int(q_values.argmax()), 1e-6
    for name, parameter in opened.torch_network.module.named_parameters():
        flat = parameter.detach().view(-1)
        for place in range(0, flat.numel(), 5):
            value = flat[place].item()
            ends = []
            for sign in (1, -1):
                flat[place] = value + sign * step
                ends.append(opened.network.scores(observation)[0, best])
            flat[place] = value
            assert gradients[name].ravel()[place] == pytest.approx((ends[0] - ends[1]) / (2 * step), rel=1e-5, abs=1e-8)


def test_captum_gives_the_same(tmp_path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from captum._utils.sample_gradient import SampleGradientWrapper
    opened = OpenedAgent(mlp_agent(tmp_path))
    source = gradient_network(opened)
    observations = rows(8)
    each = list(source.gradients(observations, of_the_maximum(source.scores(observations))))
    q_net = opened.torch_network.module.q_net
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        wrapper = SampleGradientWrapper(q_net)
        wrapper.add_hooks()
        best = q_net(torch.from_numpy(observations).requires_grad_()).max(dim=1).values
        wrapper.compute_param_sample_gradients(best, loss_mode="sum")
    for number, parameter in q_net.named_parameters():
        captums = parameter.sample_grad.numpy()
        ours = np.stack([one[f"q_net.{number}"] for one in each])
        assert np.abs(ours - captums).max() <= 1e-6 * np.abs(captums).max()
    wrapper.remove_hooks()


def test_dead_relus_have_gradients_of_exactly_zero(tmp_path: Path) -> None:
    layers = [
        ([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]], [0.0, -100.0, 0.0]),
        ([[1.0, 2.0, 3.0], [0.5, 0.5, 0.5]], [0.0, 0.0]),
    ]
    source = gradient_network(OpenedAgent(planted_agent(tmp_path, layers)))
    (gradients,) = source.gradients(np.array([[2.0, 3.0]], np.float32), np.array([[1.0, 0.0]]))
    # Q[0] = relu(x) + 2 relu(y - 100) + 3 relu(x + y); only the first and the last unit are alive
    assert gradients["q_net.0.weight"].tolist() == [[2.0, 3.0], [0.0, 0.0], [6.0, 9.0]]
    assert gradients["q_net.0.bias"].tolist() == [1.0, 0.0, 3.0]
    assert gradients["q_net.2.weight"].tolist() == [[2.0, 0.0, 5.0], [0.0, 0.0, 0.0]]
    assert gradients["q_net.2.bias"].tolist() == [1.0, 0.0]


def test_opposite_signs_cancel_in_the_signed_mean_and_not_in_the_magnitude(tmp_path: Path) -> None:
    source = gradient_network(OpenedAgent(planted_agent(tmp_path, [([[1.0], [0.0]], [10.0, 0.0])])))
    observations = np.array([[2.0], [-2.0]], np.float32)
    wanted = of_the_maximum(source.scores(observations))
    assert source.mean_gradients(observations, wanted, magnitudes=True)["q_net.0.weight"].tolist() == [[2.0], [0.0]]
    assert source.mean_gradients(observations, wanted, magnitudes=False)["q_net.0.weight"].tolist() == [[0.0], [0.0]]


def test_the_margin_leads_from_the_best_to_the_second_with_ties_to_the_lower() -> None:
    assert of_the_margin(np.array([[1.0, 3.0, 2.0], [5.0, 5.0, 1.0]])).tolist() == [[0, 1, -1], [1, -1, 0]]
    assert of_the_maximum(np.array([[1.0, 3.0, 3.0]])).tolist() == [[0, 1, 0]]


def test_networks_beyond_mlps_go_through_autograd(tmp_path: Path) -> None:
    image = spaces.Box(0, 255, (3, 36, 36), np.uint8)
    cnn = OpenedAgent(save_dqn(tmp_path / "cnn", new_dqn(image, policy="CnnPolicy", net_arch=[5])))
    source = gradient_network(cnn)
    assert source.engine == "torch"
    observations = np.random.default_rng(0).integers(0, 256, (2, 3, 36, 36), dtype=np.uint8)
    each = list(source.gradients(observations, of_the_maximum(source.scores(observations))))
    assert each[0]["features_extractor.cnn.0.weight"].shape == (32, 3, 8, 8)
    assert set(each[0]) == {name for name, _ in cnn.torch_network.module.named_parameters()}
    prelu = OpenedAgent(save_dqn(tmp_path / "prelu", new_dqn(vector_space(4), net_arch=[5], activation_fn=nn.PReLU)))
    (one,) = gradient_network(prelu).gradients(rows(1), np.array([[1.0, 0.0, 0.0]]))
    assert "q_net.1.weight" in one


def test_autograd_leaves_no_trace(tmp_path: Path) -> None:
    opened = OpenedAgent(mlp_agent(tmp_path))
    list(opened.torch_network.gradients(rows(2), np.eye(3)[:2]))
    parameters = list(opened.torch_network.module.parameters())
    assert all(parameter.grad is None and parameter.requires_grad for parameter in parameters)


@pytest.mark.parametrize("layer", ["features_extractor.flatten", "q_net.0", "q_net.1", "q_net.4"])
def test_gradients_of_layers_are_those_of_the_closed_form(layer: str, tmp_path: Path) -> None:
    closed_form, autograd = both(mlp_agent(tmp_path, activation_fn=nn.Tanh), "float64")
    observations = rows(70)
    wanted = of_the_margin(closed_form.scores(observations))
    (one,), (other,) = (
        network.layer_gradients(observations, wanted, [layer]).values() for network in (closed_form, autograd)
    )
    assert np.abs(one - other).max() <= 1e-12 * np.abs(one).max()
