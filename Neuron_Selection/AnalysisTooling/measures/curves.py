"""Curves of effect against number of neurons: areas, and the sizes at which a goal is first reached.

The effect of the first k neurons of a ranking is their faithfulness: 0 as in the target run, 1 as in the source run.
CPR is the area under the curve over all sizes, CMD the area between the curve and 1 (Mueller et al. 2025, MIB, arXiv
2504.13151). There, sizes are shares of a circuit's edges at a few points; here, shares of one layer's neurons at every
size. CPR rewards an effect above 1, CMD does not; a good ranking has a large CPR and a small CMD.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, kw_only=True, slots=True)
class Faithfulness:
    """How well a set represents its layer, in margin effects (Wang et al. 2022, arXiv 2211.00593, section 4).

    ``faithfulness``: the effect of the set. ``completeness``: |effect of all other neurons|, 0 if the set is complete
    (their formula with K = C). ``minimality``: the smallest loss of effect when one member is removed.
    """

    faithfulness: float
    completeness: float
    minimality: float


def area_under(sizes: np.ndarray, effects: np.ndarray) -> float:
    """CPR: the area under a curve, with sizes as shares of the largest, by the trapezoidal rule.

    :param sizes: (k,), rising from 0
    :param effects: (k,)
    """
    widths = np.diff(sizes) / sizes[-1]
    return float((widths * (effects[1:] + effects[:-1]) / 2).sum())


def area_from_one(sizes: np.ndarray, effects: np.ndarray) -> float:
    """CMD: the area between a curve and 1."""
    return area_under(sizes, np.abs(1.0 - effects))


def first_sizes(sizes: np.ndarray, reached: np.ndarray) -> np.ndarray:
    """The smallest size at which each input reaches its goal, NaN if never; larger sizes may lose it again.

    :param sizes: (k,)
    :param reached: (n, k)
    :return: (n,)
    """
    first: np.ndarray = np.where(reached.any(axis=1), sizes[np.argmax(reached, axis=1)], np.nan)
    return first


def median_size(first: np.ndarray) -> float | None:
    """The median of first sizes, where an input that never reaches its goal counts as infinite.

    :return: None if the median is infinite
    """
    if not len(first):
        return None
    median = float(np.median(np.where(np.isnan(first), np.inf, first)))
    return median if np.isfinite(median) else None


def faithfulness_of(effect: float, effect_of_rest: float, effects_less_one: np.ndarray) -> Faithfulness:
    """The three measures of one set.

    :param effect: of the set
    :param effect_of_rest: of all other neurons of its layer
    :param effects_less_one: of the set without each of its members
    """
    drops = effect - effects_less_one
    return Faithfulness(
        faithfulness=effect,
        completeness=abs(effect_of_rest),
        minimality=float(drops.min()) if len(drops) else 0.0,
    )
