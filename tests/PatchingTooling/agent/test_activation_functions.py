"""Activation functions in numpy: torch's own values and derivatives."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from Neuron_Selection.PatchingTooling.agent.activation_functions import (
    ACTIVATION_FUNCTIONS,
    activation_function,
    erf,
)
from Neuron_Selection.PatchingTooling.agent.policy_arguments import ACTIVATIONS

POINTS = np.concatenate([
    np.linspace(-30, 30, 2401), [-800.0, -1e-9, 0.0, 1e-9, 20.0, 20.1, 800.0], np.nextafter([-3, 3, 6, 1, -1], 0),
])  # fmt: skip


def test_every_activation_that_an_agent_may_have_is_known() -> None:
    assert set(ACTIVATION_FUNCTIONS) == ACTIVATIONS


@pytest.mark.parametrize("name", sorted(ACTIVATIONS))
def test_values_and_derivatives_are_those_of_torch_in_eval_mode(name: str) -> None:
    module = getattr(torch.nn, name)().double().eval()
    points = torch.from_numpy(POINTS.copy()).requires_grad_()
    values = module(points)
    (derivatives,) = torch.autograd.grad(values.sum(), points)
    function = activation_function(name)
    assert np.allclose(function.compute(POINTS), values.detach().numpy(), rtol=1e-14, atol=1e-15)
    accuracy = 1e-7 if name == "Hardsigmoid" else 1e-13  # torch's own sixth is a float32
    assert np.allclose(function.derivative(POINTS), derivatives.numpy(), rtol=accuracy, atol=1e-15)


@pytest.mark.parametrize("name", sorted(ACTIVATIONS))
def test_the_argument_is_written_into_only_where_that_was_asked_for(name: str) -> None:
    function, points = activation_function(name), POINTS.copy()
    expected = np.array(function.compute(points))
    function.derivative(points)
    assert np.array_equal(points, POINTS)
    assert np.array_equal(function.compute_into(points, points), expected)


def test_a_prelu_has_the_slope_that_it_learned() -> None:
    module = torch.nn.PReLU(init=-0.7).double()
    expected = module(torch.from_numpy(POINTS)).detach().numpy()
    slope = float(module.weight.item())
    assert np.array_equal(activation_function("PReLU", slope).compute(POINTS), expected)
    assert activation_function("PReLU", slope).derivative(np.array([-1.0])) == [slope]


@given(st.floats(-40, 40))
def test_erf_is_the_error_function_to_the_last_bits(point: float) -> None:
    assert abs(erf(np.array([point]))[0] - math.erf(point)) <= 3e-16
