"""Effect against number of neurons: areas under such curves, and the sizes at which a goal is first reached.

The effect of the k first neurons of a ranking is their faithfulness: 0 as the target run, 1 as the source run. CPR is
the area under it over all sizes, CMD the area between it and 1 (Mueller et al. 2025, MIB, arXiv 2504.13151); there the
sizes are shares of a circuit's edges at a few points, here shares of one layer's neurons at every point. CPR rewards
an effect above 1, CMD does not; a good ranking has a great CPR and a small CMD.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, kw_only=True, slots=True)
class Faithfulness:
    """How well a set stands for its layer, in margin effects (Wang et al. 2022, arXiv 2211.00593, section 4).

    ``faithfulness``: the set's own effect. ``completeness``: |effect of all other neurons|, 0 where the set leaves
    nothing behind (their formula with K = C). ``minimality``: the least that removing one member takes away.
    """

    faithfulness: float
    completeness: float
    minimality: float


def area_under(sizes: np.ndarray, effects: np.ndarray) -> float:
    """CPR: the area under a curve, sizes as shares of the greatest, by trapezoids.

    :param sizes: (k,), rising from 0
    :param effects: (k,)
    """
    widths = np.diff(sizes) / sizes[-1]
    return float((widths * (effects[1:] + effects[:-1]) / 2).sum())


def area_from_one(sizes: np.ndarray, effects: np.ndarray) -> float:
    """CMD: the area between a curve and 1."""
    return area_under(sizes, np.abs(1.0 - effects))


def first_sizes(sizes: np.ndarray, reached: np.ndarray) -> np.ndarray:
    """The smallest size at which each input reaches its goal, NaN where at none; it may be lost again later.

    :param sizes: (k,)
    :param reached: (n, k)
    :return: (n,)
    """
    first: np.ndarray = np.where(reached.any(axis=1), sizes[np.argmax(reached, axis=1)], np.nan)
    return first


def median_size(first: np.ndarray) -> float | None:
    """The median of first sizes, an input that never reaches its goal counting as above all others.

    :return: None where that is the median
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
