"""Ablations: what a neuron outputs instead of what it computes, without another run to take it from.

The kinds are one table; the flags, help texts and messages are made from it. numpy is imported when values are built,
so that ``--help`` starts at once.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, TypeAlias

from Neuron_Selection.errors import UsageError, shown
from Neuron_Selection.flag_types import plain_float, whole_number

if TYPE_CHECKING:
    import numpy as np


class Draws:
    """The random draws of one run: they follow from the seed and from the inputs and layers, and nothing else."""

    def __init__(self, seed: int, n_inputs: int) -> None:
        import numpy as np

        self.n_inputs = n_inputs
        self.random = np.random.default_rng(seed)

    @cached_property
    def derangement(self) -> np.ndarray:
        """A permutation of the inputs without fixed points, uniform among them; the same for every layer."""
        import numpy as np

        while True:  # e draws on average
            order: np.ndarray = self.random.permutation(self.n_inputs)
            if not (order == np.arange(self.n_inputs)).any():
                return order


Build: TypeAlias = "Callable[[np.ndarray, np.ndarray, float, Draws], np.ndarray]"
"""(own outputs (n, *shape), those for the reference inputs (m, *shape), the number, draws) -> (n, *shape)."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Number:
    """The number after ``KIND=``: its letter in help texts, the value when it is left out, and the least allowed."""

    letter: str
    default: float | None = None
    least: float = -math.inf


@dataclass(frozen=True, kw_only=True, slots=True)
class AblationKind:
    """One way to ablate neurons.

    ``needs_reference``: whether it is made from activations of reference inputs; ``is_drawn``: whether it depends on a
    seed; ``least_inputs``: fewer are an error.
    """

    build: Build
    help: str
    number: Number | None = None
    needs_reference: bool = False
    is_drawn: bool = False
    least_inputs: int = 1


def _zero(own: np.ndarray, _reference: np.ndarray, _number: float, _draws: Draws) -> np.ndarray:
    import numpy as np

    return np.zeros_like(own)


def _mean(own: np.ndarray, reference: np.ndarray, _number: float, _draws: Draws) -> np.ndarray:
    """The mean at this very layer; the mean of a ReLU's outputs is not the ReLU of the mean."""
    import numpy as np

    return np.broadcast_to(reference.mean(axis=0, dtype=np.float64), own.shape)


def _resample(own: np.ndarray, _reference: np.ndarray, _number: float, draws: Draws) -> np.ndarray:
    resampled: np.ndarray = own[draws.derangement]
    return resampled


def _noise(own: np.ndarray, reference: np.ndarray, number: float, draws: Draws) -> np.ndarray:
    import numpy as np

    noise = draws.random.standard_normal(own.shape) * number * reference.std(axis=0, dtype=np.float64)
    noisy: np.ndarray = own + noise
    return noisy


def _constant(own: np.ndarray, _reference: np.ndarray, number: float, _draws: Draws) -> np.ndarray:
    import numpy as np

    return np.full_like(own, number)


KINDS: dict[str, AblationKind] = {
    "zero": AblationKind(build=_zero, help="0"),
    "mean": AblationKind(build=_mean, help="the neuron's mean over the reference inputs", needs_reference=True),
    "resample": AblationKind(build=_resample, help="its value for another input", is_drawn=True, least_inputs=2),
    "noise": AblationKind(
        build=_noise,
        help="its value plus normal noise of K standard deviations over the reference inputs",
        number=Number(letter="K", default=1.0, least=0.0),
        needs_reference=True,
        is_drawn=True,
    ),
    "constant": AblationKind(build=_constant, help="V", number=Number(letter="V")),
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Ablation:
    """A kind of ablation with its number: K of noise, V of constant, else None."""

    kind: str
    value: float | None = None

    def __str__(self) -> str:
        return self.kind if self.value is None else f"{self.kind}={repr(self.value).removesuffix('.0')}"

    @property
    def needs_reference(self) -> bool:
        """Whether it is made from activations of reference inputs."""
        return KINDS[self.kind].needs_reference

    @property
    def is_drawn(self) -> bool:
        """Whether it depends on a seed."""
        return KINDS[self.kind].is_drawn

    def check_enough_inputs(self, count: int) -> None:
        """Raise if there are too few inputs, as for a resample of a single one."""
        least = KINDS[self.kind].least_inputs
        if count < least:
            raise UsageError(f"--ablate {self.kind} needs at least {least} inputs, not {count}")

    def values(
        self, own: Mapping[str, np.ndarray], *, reference: Mapping[str, np.ndarray], seed: int
    ) -> dict[str, np.ndarray]:
        """What the neurons output instead.

        :param own: layer to the target run's own activations, (n, *shape)
        :param reference: layer to activations of the reference inputs, (m, *shape)
        :return: layer to (n, *shape), in the dtype of ``own``
        """
        draws = Draws(seed, len(next(iter(own.values()))))
        build = KINDS[self.kind].build
        return {
            layer: build(array, reference.get(layer, array), self.value or 0.0, draws).astype(array.dtype)
            for layer, array in own.items()
        }


def parse_ablation(text: str) -> Ablation:
    """A kind of the table, with ``=NUMBER`` where it takes one.

    :raises UsageError: an unknown kind, or a number that is missing, not finite or too small
    """
    name, equals, number = text.partition("=")
    rule = KINDS[name].number if name in KINDS else None
    if name not in KINDS or (equals and rule is None) or (not equals and rule is not None and rule.default is None):
        raise UsageError(field="ablation", found=shown(text), expected=_listed())
    if rule is None or not equals:
        return Ablation(kind=name, value=None if rule is None else rule.default)
    try:
        value = plain_float(number)
    except ValueError:
        value = math.nan
    if not math.isfinite(value) or value < rule.least:
        expected = "a finite number" if rule.least == -math.inf else f"a finite number from {rule.least:g}"
        raise UsageError(field=f"ablation: {name}", found=shown(number), expected=expected)
    return Ablation(kind=name, value=value)


def check_ablation_flags(ablation: Ablation | None, *, has_reference: bool, has_seed: bool) -> None:
    """Raise for reference inputs or a seed that would have no effect."""
    for flag, given, used in (
        ("--reference_inputs", has_reference, ablation is not None and ablation.needs_reference),
        ("--seed", has_seed, ablation is not None and ablation.is_drawn),
    ):
        if given and not used:
            kinds = [
                name
                for name, kind in KINDS.items()
                if (kind.needs_reference if flag == "--reference_inputs" else kind.is_drawn)
            ]
            raise UsageError(f"{flag} can only be used with --ablate {' or '.join(kinds)}")


def add_ablation_flags(parser: argparse.ArgumentParser) -> None:
    """``--ablate``, ``--reference_inputs`` and ``--seed``."""
    parser.add_argument(
        "--ablate",
        metavar="KIND",
        help=f"ablate the neurons instead of patching them from a source run; they output: {ablation_help()}",
    )
    parser.add_argument(
        "--reference_inputs",
        metavar="FILE",
        help=f"inputs for --ablate {_those(needs_reference=True)} (default: the target's)",
    )
    parser.add_argument(
        "--seed", type=whole_number, help=f"seed of --ablate {_those(needs_reference=False)} (default: 0)"
    )


def ablation_help() -> str:
    """Every kind with what the neurons then output, for help texts."""
    return "; ".join(f"{_form(name)}: {kind.help}" for name, kind in KINDS.items())


def _those(*, needs_reference: bool) -> str:
    return " and ".join(
        name for name, kind in KINDS.items() if (kind.needs_reference if needs_reference else kind.is_drawn)
    )


def _form(name: str) -> str:
    number = KINDS[name].number
    if number is None:
        return name
    return f"{name}={number.letter}" if number.default is None else f"{name}[={number.letter}]"


def _listed() -> str:
    *others, last = map(_form, KINDS)
    return f"{', '.join(others)} or {last}"
