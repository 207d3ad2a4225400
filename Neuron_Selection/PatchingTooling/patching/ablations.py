"""Ablations: what a neuron outputs when it is taken out. Each kind is built as a source for the same patch."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from Neuron_Selection.errors import UsageError, shown
from Neuron_Selection.flag_types import plain_float


@dataclass(frozen=True, kw_only=True, slots=True)
class Ablation:
    """``kind``: zero, mean, resample, noise or constant. ``value``: K of noise, V of constant, else None."""

    kind: str
    value: float | None = None

    def __str__(self) -> str:
        return self.kind if self.value is None else f"{self.kind}={repr(self.value).removesuffix('.0')}"

    @property
    def needs_reference(self) -> bool:
        """Whether the kind is made from the activations of reference inputs."""
        return self.kind in ("mean", "noise")

    @property
    def is_drawn(self) -> bool:
        """Whether the kind depends on a seed."""
        return self.kind in ("resample", "noise")


def parse_ablation(text: str) -> Ablation:
    """``zero``, ``mean``, ``resample``, ``noise``, ``noise=K`` or ``constant=V``.

    :raises UsageError: anything else, or a number that is not finite
    """
    kind, equals, number = text.partition("=")
    takes_number, needs_number = kind in ("noise", "constant"), kind == "constant"
    if kind not in KINDS or (equals and not takes_number) or (needs_number and not equals):
        raise UsageError(f"ablation: found {shown(text)}, expected {', '.join(_FORMS)}")
    if not equals:
        return Ablation(kind=kind, value=1.0 if kind == "noise" else None)
    try:
        value = plain_float(number)
    except ValueError:
        value = math.nan
    if not math.isfinite(value) or (kind == "noise" and value < 0):
        expected = "a finite number from 0" if kind == "noise" else "a finite number"
        raise UsageError(f"ablation: {kind}: found {shown(number)}, expected {expected}")
    return Ablation(kind=kind, value=value)


def check_enough_inputs(ablation: Ablation, count: int) -> None:
    """Raise for a resample of a single input."""
    if ablation.kind == "resample" and count < 2:
        raise UsageError("ablation: resample: found 1 input, expected at least 2 to swap values between")


def ablated_source(
    ablation: Ablation,
    own: Mapping[str, np.ndarray],
    *,
    reference: Mapping[str, np.ndarray],
    seed: int,
) -> dict[str, np.ndarray]:
    """What the neurons shall output.

    :param own: layer to the target run's own activations, (n, *shape)
    :param reference: layer to activations of the reference inputs, (m, *shape); used by mean and noise
    :param seed: of resample and noise; the draws follow from it and from the inputs and layers, nothing else
    :return: layer to (n, *shape), in the dtype of ``own``
    :raises UsageError: resample of a single input
    """
    count = len(next(iter(own.values())))
    check_enough_inputs(ablation, count)
    build = KINDS[ablation.kind]
    random = np.random.default_rng(seed)
    order = _derangement(count, random) if ablation.kind == "resample" else np.arange(count)
    return {
        layer: build(array, reference.get(layer, array), ablation.value or 0.0, order, random).astype(array.dtype)
        for layer, array in own.items()
    }


def _derangement(count: int, random: np.random.Generator) -> np.ndarray:
    """A permutation without fixed points, uniform among them: drawn again until there is none (e draws on average)."""
    while True:
        order = random.permutation(count)
        if not (order == np.arange(count)).any():
            return order


def _zero(own: np.ndarray, *_: object) -> np.ndarray:
    return np.zeros_like(own)


def _mean(own: np.ndarray, reference: np.ndarray, *_: object) -> np.ndarray:
    """The mean at this very site; the mean behind a ReLU is not the ReLU of the mean."""
    return np.broadcast_to(reference.mean(axis=0, dtype=np.float64), own.shape)


def _resample(own: np.ndarray, _reference: np.ndarray, _value: float, order: np.ndarray, _random: object) -> np.ndarray:
    resampled: np.ndarray = own[order]
    return resampled


def _noise(
    own: np.ndarray, reference: np.ndarray, value: float, _order: object, random: np.random.Generator
) -> np.ndarray:
    noise: np.ndarray = random.standard_normal(own.shape) * value * reference.std(axis=0, dtype=np.float64)
    noisy: np.ndarray = own + noise
    return noisy


def _constant(own: np.ndarray, _reference: np.ndarray, value: float, *_: object) -> np.ndarray:
    return np.full_like(own, value)


KINDS: dict[str, Callable[..., np.ndarray]] = {
    "zero": _zero,
    "mean": _mean,
    "resample": _resample,
    "noise": _noise,
    "constant": _constant,
}
_FORMS = ("zero", "mean", "resample", "noise[=K]", "constant=V")
