"""Gradients along the path: gates with known answers, completeness, flips on both sides, other tools, invariants."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from Neuron_Selection.AnalysisTooling.measures.decisions import greedy_actions
from Neuron_Selection.ExperimentTooling.attribution.paths import PathAttribution, attribute
from Neuron_Selection.ExperimentTooling.minimal_sets.explain import contrast_rows, of_rows, single_effects
from Neuron_Selection.ExperimentTooling.minimal_sets.mixtures import Mixtures, mixtures_of
from Neuron_Selection.PatchingTooling import OpenedAgent
from tests.gates import gate_layers
from tests.made_actors import new_agent, planted_actor, planted_quantiles, samples, save_agent
from tests.made_agents import planted_agent
from tests.slow_attribution import integrated_gradients

MAKERS = {
    "q_net.1": planted_agent, "mlp_extractor.policy_net.1": planted_actor, "quantile_net.1": planted_quantiles,
}  # fmt: skip
# gate to gradients at h = 0, at h = 1, their mean in between, and where the margin reaches 0.55; where h = 0, units
# that pass it on are at their kink, and the derivative of ReLU there is 0, as in torch
KNOWN: dict[str, tuple[list[float], list[float], list[float], float]] = {
    "AND2": ([0, 0], [2, 2], [0.5, 0.5], 0.8875),
    "OR2": ([2, 2], [0, 0], [0.5, 0.5], 0.1375),
    "SUM3": ([0, 0, 0], [0.5, 0.3, 0.2], [0.5, 0.3, 0.2], 0.55),
    "INHIBIT": ([0, 0, 0], [1, -2, 2], [1, -1, 1], 0.55),
    "MAJ3": ([0, 0, 0], [0, 0, 0], [1 / 3, 1 / 3, 1 / 3], (0.55 / 2 + 1.25) / 3),
}


def contrast_of(agent: OpenedAgent, layer: str, target: Any, source: Any) -> Mixtures:
    mixtures = mixtures_of(agent.network, layer, agent.inputs(target), agent.inputs(source))
    rows = contrast_rows(mixtures)
    assert len(rows)
    return of_rows(mixtures, rows)


def random_mixtures(
    folder: Path, layer: str, *, make: Any = planted_agent, engine: str = "numpy", **more: Any
) -> Mixtures:
    random, sides = np.random.default_rng(3), [4, 9, 7, 5, 3]
    layers = [(random.normal(size=(b, a)), random.normal(size=b)) for a, b in itertools.pairwise(sides)]
    agent = OpenedAgent(make(folder / "agent", layers, **more), engine=engine, dtype="float64")
    target, source = (random.normal(size=(20, 4)).astype(np.float32) for _ in range(2))
    return contrast_of(agent, layer, target, source)


def margins(mixtures: Mixtures, outputs: np.ndarray) -> np.ndarray:
    rows = np.arange(len(outputs))
    scores = mixtures.network.run_on(mixtures.layer.name, outputs, mixtures.observations)
    return scores[rows, greedy_actions(mixtures.source_q_values)] - scores[rows, greedy_actions(mixtures.baseline)]


@pytest.mark.parametrize("layer", MAKERS)
@pytest.mark.parametrize("direction", ["denoising", "noising"])
@pytest.mark.parametrize("name", KNOWN)
def test_the_gates_have_their_known_gradients_and_flips(name: str, direction: str, layer: str, tmp_path: Path) -> None:
    at_corrupted, at_clean, mean, strength = KNOWN[name]
    agent = OpenedAgent(MAKERS[layer](tmp_path / "agent", gate_layers(name)), engine="numpy")
    corrupted, clean = ({"pair": values} for values in (np.zeros(len(mean)), np.ones(len(mean))))
    target, source = (corrupted, clean) if direction == "denoising" else (clean, corrupted)
    found = attribute(contrast_of(agent, layer, target, source), steps=8)
    ends = (at_corrupted, at_clean) if direction == "denoising" else (at_clean, at_corrupted)
    names = ("gradient_at_target", "gradient_at_source", "integrated_gradients")
    for estimate, expected in zip(names, (*ends, mean), strict=True):
        assert found.estimates[estimate][0] == pytest.approx(expected, abs=1e-6), estimate
    assert found.is_exact
    assert np.abs(found.residuals).max() < 1e-10
    assert found.strengths == pytest.approx([strength if direction == "denoising" else 1 - strength], abs=1e-6)
    assert found.verified.all()


LAYERS = [f"q_net.{number}" for number in range(7)]


@pytest.mark.parametrize("layer", LAYERS)
def test_exact_paths_are_complete_and_agree_with_small_steps_and_finite_differences(layer: str, tmp_path: Path) -> None:
    mixtures = random_mixtures(tmp_path, layer)
    found = attribute(mixtures, steps=1)
    whole = margins(mixtures, mixtures.source) - margins(mixtures, mixtures.target)
    assert found.is_exact
    assert np.abs(found.estimates["integrated_gradients"].sum(axis=1) - whole).max() < 1e-10
    for row in range(2):
        one = of_rows(mixtures, np.array([row]))
        slow = integrated_gradients(
            lambda outputs, one=one: float(margins(one, outputs[None])[0]), one.target[0], one.source[0], steps=400
        )
        largest = np.abs(slow).max()
        assert np.abs(found.estimates["integrated_gradients"][row] - slow).max() < 0.02 * largest


def check_flips(mixtures: Mixtures, found: PathAttribution) -> None:
    """Both sides once more, and no flip on a grid before."""
    assert found.verified.all()
    before = greedy_actions(mixtures.baseline)

    def actions(shares: np.ndarray) -> np.ndarray:
        share = shares.reshape(-1, *[1] * (mixtures.target.ndim - 1))
        mixed = (1 - share) * mixtures.target + share * mixtures.source
        return greedy_actions(mixtures.network.run_on(mixtures.layer.name, mixed, mixtures.observations))

    assert (actions(found.strengths * (1 - 1e-5)) == before).all()
    assert (actions(found.strengths * (1 + 1e-5)) == found.actions).all()
    assert (found.actions != before).all()
    for share in np.linspace(0, 1, 50):
        assert (actions(share * found.strengths * (1 - 1e-5)) == before).all()


@pytest.mark.parametrize("layer", ["q_net.0", "q_net.1", "q_net.4", "q_net.5"])
def test_flips_are_the_first_and_confirmed_on_both_sides(layer: str, tmp_path: Path) -> None:
    mixtures = random_mixtures(tmp_path, layer)
    check_flips(mixtures, attribute(mixtures, steps=1))


def test_quadrature_converges_to_the_exact_path(tmp_path: Path) -> None:
    mixtures = random_mixtures(tmp_path, "q_net.1")
    hooks = random_mixtures(tmp_path / "hooks", "q_net.1", engine="torch")
    exact = attribute(mixtures, steps=1)
    errors = []
    for steps in (4, 32, 512):
        found = attribute(hooks, steps=steps)
        assert not found.is_exact
        difference = found.estimates["integrated_gradients"] - exact.estimates["integrated_gradients"]
        errors.append(np.abs(difference).max())
    assert errors[0] > 3 * errors[1] > 9 * errors[2]
    assert np.allclose(found.strengths, exact.strengths, atol=1e-9)
    for name in ("gradient_at_target", "gradient_at_source"):
        assert np.allclose(found.estimates[name], exact.estimates[name], atol=1e-9)


def test_captums_integrated_gradients_converge_to_ours_as_steps_grow(tmp_path: Path) -> None:
    from captum.attr import IntegratedGradients

    mixtures = random_mixtures(tmp_path, "q_net.1")
    ours = attribute(mixtures, steps=1).estimates["integrated_gradients"]
    agent = OpenedAgent(tmp_path / "agent", dtype="float64")
    following = agent.torch_network.module.q_net[2:]
    rows = torch.arange(len(mixtures.target))
    ahead, behind = (torch.as_tensor(greedy_actions(q)) for q in (mixtures.source_q_values, mixtures.baseline))

    def margin(outputs: torch.Tensor) -> torch.Tensor:
        scores = following(outputs)
        repeats = len(outputs) // len(rows)
        places = torch.arange(len(outputs))
        return scores[places, ahead.repeat(repeats)] - scores[places, behind.repeat(repeats)]

    source, target = (torch.as_tensor(values) for values in (mixtures.source, mixtures.target))
    errors = []
    for steps in (5, 50, 1000):
        captums = IntegratedGradients(margin).attribute(source, target, n_steps=steps, method="riemann_middle")
        errors.append(np.abs(captums.detach().numpy() - ours).max())
    assert errors[0] > 3 * errors[1] > 9 * errors[2]
    assert errors[2] < 2e-3 * np.abs(ours).max()


@pytest.mark.parametrize("make", [planted_agent, planted_actor, planted_quantiles])
def test_at_the_last_activation_every_estimate_is_the_exact_effect(make: Any, tmp_path: Path) -> None:
    prefix = {planted_agent: "q_net", planted_actor: "mlp_extractor.policy_net", planted_quantiles: "quantile_net"}[
        make
    ]
    mixtures = random_mixtures(tmp_path, f"{prefix}.5", make=make)
    found, exact = attribute(mixtures, steps=1), single_effects(mixtures)[0]
    for name, estimate in found.estimates.items():
        assert np.allclose(estimate, exact, atol=1e-10), name
    before = random_mixtures(tmp_path / "linear", f"{prefix}.4", make=make)
    found, exact = attribute(before, steps=1), single_effects(before)[0]
    assert np.allclose(found.estimates["integrated_gradients"], exact, atol=1e-10)  # effects of single units add up
    assert not np.allclose(found.estimates["gradient_at_target"], exact, atol=1e-3)


@pytest.mark.parametrize("activation", [nn.Tanh, nn.GELU, nn.LeakyReLU])
def test_other_activations_report_a_residual_that_steps_reduce(activation: Any, tmp_path: Path) -> None:
    mixtures = random_mixtures(tmp_path, "q_net.1", activation_fn=activation)
    few, many = attribute(mixtures, steps=2), attribute(mixtures, steps=64)
    assert not many.is_exact
    assert np.abs(many.residuals).max() < 0.1 * np.abs(few.residuals).max()
    check_flips(mixtures, many)
    assert attribute(random_mixtures(tmp_path / "last", "q_net.5", activation_fn=activation), steps=1).is_exact


@pytest.mark.parametrize("name", ["QR-DQN, CNN", "A2C, Dict", "PPO", "TRPO"])
def test_every_network_is_attributed_by_hooks_and_channels_are_neurons(name: str, tmp_path: Path) -> None:
    model = new_agent(name)
    agent = OpenedAgent(save_agent(tmp_path / "agent", model), dtype="float64")
    target, source = (samples(model.observation_space, 12, seed=seed) for seed in (3, 4))
    layer = next(
        layer for layer, one in agent.layers().items() if one.role == "post-activation" and "value" not in layer
    )
    mixtures = contrast_of(agent, layer, target, source)
    few, many = attribute(mixtures, steps=2), attribute(mixtures, steps=48)
    exact, gaps = single_effects(mixtures)
    assert many.estimates["integrated_gradients"].shape == exact.shape == (len(gaps), mixtures.layer.width)
    assert np.abs(many.residuals).max() <= max(np.abs(few.residuals).max(), 1e-9)
    found = many.verified | np.isnan(many.strengths)
    assert found.all()
    step, neuron = 1e-4, int(np.abs(exact[0]).argmax())
    moved = mixtures.target[:1].copy()
    moved[:, neuron] += step * (mixtures.source - mixtures.target)[:1, neuron]
    one = of_rows(mixtures, np.array([0]))
    slope = (margins(one, moved) - margins(one, mixtures.target[:1])) / step
    assert many.estimates["gradient_at_target"][0, neuron] == pytest.approx(slope[0], rel=1e-2, abs=1e-5)


def test_a_source_that_ties_flips_at_the_very_end_if_its_action_has_the_lower_index(tmp_path: Path) -> None:
    agent = OpenedAgent(planted_agent(tmp_path / "agent", [(np.eye(2), [0, 0]), (np.eye(2), [0, 0])]), engine="numpy")
    target, source = {"pair": np.array([1.0, 2.0])}, {"pair": np.array([2.0, 2.0])}
    found = attribute(contrast_of(agent, "q_net.1", target, source), steps=1)
    assert found.strengths == pytest.approx([1.0])
    assert found.verified.all()
