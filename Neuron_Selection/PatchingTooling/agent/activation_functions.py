"""Activation functions of torch.nn with their derivatives, elementwise in numpy, float64."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache, partial
from typing import TypeAlias

import numpy as np

Elementwise: TypeAlias = Callable[[np.ndarray], np.ndarray]
ElementwiseInto: TypeAlias = Callable[[np.ndarray, np.ndarray], np.ndarray]

_SELU_ALPHA = 1.6732632423543772848170429916717  # Klambauer et al. 2017
_SELU_SCALE = 1.0507009873554804934193349852946
_RRELU_SLOPE = (1 / 8 + 1 / 3) / 2  # in eval mode, the mean of the slopes that training draws from
_SOFTPLUS_THRESHOLD = 20.0  # above it torch returns the value itself
_ERF_STEP = 1 / 32
_ERF_END = 6.0  # erf is 1 to the last bit from here


@dataclass(frozen=True, kw_only=True, slots=True)
class ActivationFunction:
    """A function and its derivative, which takes the function's argument, not its value.

    ``compute_into`` may use its second argument, an array that may be the first, for the result; use what it returns.
    """

    compute: Elementwise
    derivative: Elementwise
    compute_into: ElementwiseInto


def activation_function(name: str, slope: float | None = None) -> ActivationFunction:
    """The function of a torch.nn class, with its default arguments.

    At a kink the derivative is the one that torch's autograd takes.

    :param name: a key of ``ACTIVATION_FUNCTIONS``
    :param slope: what a PReLU has learned
    """
    return _leaky(slope) if slope is not None else ACTIVATION_FUNCTIONS[name]


def erf(values: np.ndarray) -> np.ndarray:
    """The error function, to 2e-16: Taylor series around the nearest multiple of 1/32."""
    size = np.minimum(np.abs(values), _ERF_END)
    place = np.rint(size / _ERF_STEP).astype(np.intp)
    offset = size - place * _ERF_STEP
    table = _erf_series()
    result = table[-1][place]
    for coefficients in table[-2::-1]:
        result *= offset
        result += coefficients[place]
    signed: np.ndarray = np.copysign(result, values)
    return signed


@cache
def _erf_series() -> np.ndarray:
    """Taylor coefficients of erf, (order, point); the derivatives are Hermite polynomials times a Gaussian."""
    points = np.arange(round(_ERF_END / _ERF_STEP) + 1) * _ERF_STEP
    gaussian = 2 / math.sqrt(math.pi) * np.exp(-(points**2))
    before, hermite = np.zeros_like(points), np.ones_like(points)
    series = [np.array([math.erf(point) for point in points])]
    for order in range(1, 8):
        series.append((-1) ** (order - 1) * gaussian * hermite / math.factorial(order))
        before, hermite = hermite, 2 * points * hermite - 2 * (order - 1) * before
    return np.stack(series)


def _sigmoid(x: np.ndarray) -> np.ndarray:
    small = np.exp(-np.abs(x))
    result: np.ndarray = np.where(x >= 0, 1.0, small) / (1.0 + small)
    return result


def _softplus(x: np.ndarray) -> np.ndarray:
    result: np.ndarray = np.maximum(x, 0.0) + np.log1p(np.exp(-np.abs(x)))
    return result


def _relu(x: np.ndarray) -> np.ndarray:
    result: np.ndarray = np.maximum(x, 0.0)
    return result


def _identity(x: np.ndarray) -> np.ndarray:
    return x


def _ones(x: np.ndarray) -> np.ndarray:
    return np.ones_like(x)


def _where(condition: np.ndarray, one: object = 1.0, other: object = 0.0) -> np.ndarray:
    return np.where(condition, one, other)  # type: ignore[call-overload, no-any-return]


def _leaky(slope: float) -> ActivationFunction:
    return _function(lambda x: _where(x > 0, x, x * slope), lambda x: _where(x > 0, 1.0, slope))


def _elu(x: np.ndarray, alpha: float, scale: float) -> np.ndarray:
    result: np.ndarray = scale * (np.maximum(x, 0.0) + alpha * np.expm1(np.minimum(x, 0.0)))
    return result


def _elu_derivative(x: np.ndarray, alpha: float, scale: float) -> np.ndarray:
    return scale * _where(x > 0, 1.0, alpha * np.exp(np.minimum(x, 0.0)))


def _gelu_derivative(x: np.ndarray) -> np.ndarray:
    result: np.ndarray = _normal_share(x) + x * np.exp(-0.5 * x * x) / math.sqrt(2 * math.pi)
    return result


def _normal_share(x: np.ndarray) -> np.ndarray:
    return 0.5 * (1.0 + erf(x * math.sqrt(0.5)))


def _silu_derivative(x: np.ndarray) -> np.ndarray:
    share = _sigmoid(x)
    return share * (1.0 + x * (1.0 - share))


def _mish_derivative(x: np.ndarray) -> np.ndarray:
    bent = np.tanh(_softplus(x))
    result: np.ndarray = bent + x * _sigmoid(x) * (1.0 - bent * bent)
    return result


def _function(
    compute: Elementwise, derivative: Elementwise, compute_into: ElementwiseInto | None = None
) -> ActivationFunction:
    return ActivationFunction(
        compute=compute,
        derivative=derivative,
        compute_into=compute_into or (lambda x, _out: compute(x)),
    )


def _elu_family(alpha: float, scale: float) -> ActivationFunction:
    return _function(partial(_elu, alpha=alpha, scale=scale), partial(_elu_derivative, alpha=alpha, scale=scale))


ACTIVATION_FUNCTIONS: Mapping[str, ActivationFunction] = {
    "ReLU": _function(_relu, lambda x: (x > 0).astype(np.float64), lambda x, out: np.maximum(x, 0.0, out=out)),
    "ReLU6": _function(lambda x: np.clip(x, 0.0, 6.0), lambda x: _where((x > 0) & (x < 6))),
    "LeakyReLU": _leaky(0.01),
    "PReLU": _leaky(0.25),
    "RReLU": _leaky(_RRELU_SLOPE),
    "ELU": _elu_family(1.0, 1.0),
    "CELU": _elu_family(1.0, 1.0),
    "SELU": _elu_family(_SELU_ALPHA, _SELU_SCALE),
    "GELU": _function(lambda x: x * _normal_share(x), _gelu_derivative),
    "SiLU": _function(lambda x: x * _sigmoid(x), _silu_derivative),
    "Mish": _function(lambda x: x * np.tanh(_softplus(x)), _mish_derivative),
    "Tanh": _function(np.tanh, lambda x: 1.0 - np.tanh(x) ** 2, lambda x, out: np.tanh(x, out=out)),
    "Sigmoid": _function(_sigmoid, lambda x: _sigmoid(x) * _sigmoid(-x)),
    "Softplus": _function(
        lambda x: _where(x > _SOFTPLUS_THRESHOLD, x, _softplus(x)),
        lambda x: _where(x > _SOFTPLUS_THRESHOLD, 1.0, _sigmoid(x)),
    ),
    "Softsign": _function(lambda x: x / (1.0 + np.abs(x)), lambda x: 1.0 / (1.0 + np.abs(x)) ** 2),
    "LogSigmoid": _function(lambda x: -_softplus(-x), lambda x: _sigmoid(-x)),
    "Hardtanh": _function(lambda x: np.clip(x, -1.0, 1.0), lambda x: _where((x > -1) & (x < 1))),
    "Hardswish": _function(
        lambda x: x * np.clip(x + 3.0, 0.0, 6.0) / 6.0,
        lambda x: _where(x <= -3, 0.0, _where(x < 3, x / 3.0 + 0.5, 1.0)),
    ),
    "Hardsigmoid": _function(lambda x: np.clip(x + 3.0, 0.0, 6.0) / 6.0, lambda x: _where(np.abs(x) < 3, 1 / 6)),
    "Tanhshrink": _function(lambda x: x - np.tanh(x), lambda x: np.tanh(x) ** 2),
    "Softshrink": _function(lambda x: x - np.clip(x, -0.5, 0.5), lambda x: _where(np.abs(x) > 0.5)),
    "Hardshrink": _function(lambda x: _where(np.abs(x) > 0.5, x), lambda x: _where(np.abs(x) > 0.5)),
    "Identity": _function(_identity, _ones),
}
