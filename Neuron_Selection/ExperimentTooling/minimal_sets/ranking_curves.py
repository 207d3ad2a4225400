"""Effect against number of neurons, one curve a ranking: how many of a ranking's first neurons explain the decisions.

A ranking orders the neurons for each pair by itself (scope ``pair``), or once for all by its mean score, as a list of
neurons to look at is used (scope ``all``). Random orders are the control: the mean of their curves, and the band
between the lowest and the highest.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from Neuron_Selection.AnalysisTooling.measures.curves import area_from_one, area_under, first_sizes, median_size
from Neuron_Selection.AnalysisTooling.measures.decisions import greedy_actions
from Neuron_Selection.AnalysisTooling.measures.differences import neuron_differences
from Neuron_Selection.AnalysisTooling.measures.metrics import margin_parts
from Neuron_Selection.ExperimentTooling.minimal_sets.explain import single_effects
from Neuron_Selection.ExperimentTooling.minimal_sets.goals import Goal, reached
from Neuron_Selection.ExperimentTooling.minimal_sets.mixtures import Mixtures
from Neuron_Selection.PatchingTooling.agent.network import margin_weights

_MOST_SIZES, _MOST_RANDOM_SIZES = 512, 32  # a wide layer is looked at in steps
_NUMBERS_AT_ONCE = 1 << 22


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Curve:
    """``sizes``: (k,). ``effects``: (k,), the ratio of sums; ``low`` and ``high`` are None but for random orders.

    ``shares``: (k,), of the pairs that reach the goal. ``median_size``: the median over pairs of the first size that
    reaches it (for random orders over their pairs together); None where fewer than half ever do.
    """

    ranking: str
    scope: str
    sizes: np.ndarray
    effects: np.ndarray
    low: np.ndarray | None
    high: np.ndarray | None
    shares: np.ndarray
    median_size: float | None

    @property
    def area(self) -> float:
        """CPR."""
        return area_under(self.sizes, self.effects)

    @property
    def area_from_one(self) -> float:
        """CMD."""
        return area_from_one(self.sizes, self.effects)


def ranking_curves(mixtures: Mixtures, goal: Goal, *, random_orders: int, seed: int) -> list[Curve]:
    """The curves of every ranking.

    :param mixtures: of contrast pairs only, at least one
    """
    curves = []
    sizes = _sizes(mixtures.layer.width, _MOST_SIZES)
    for ranking, scores in ranking_scores(mixtures).items():
        for scope, shown in (("pair", scores), ("all", np.broadcast_to(scores.mean(axis=0), scores.shape))):
            effects, reaches = _run(mixtures, _places(-shown), sizes, goal)
            curves.append(
                Curve(
                    ranking=ranking,
                    scope=scope,
                    sizes=sizes,
                    effects=effects,
                    low=None,
                    high=None,
                    shares=reaches.mean(axis=0),
                    median_size=median_size(first_sizes(sizes, reaches)),
                )
            )
    if random_orders:
        curves.append(_random_curve(mixtures, goal, random_orders, seed))
    return curves


def ranking_scores(mixtures: Mixtures) -> dict[str, np.ndarray]:
    """Each ranking's score of each neuron for each pair, (n, width); the greatest comes first.

    ``measured_effect``: of the neuron alone on the margin. ``gradient_x_difference``: its linear estimate at the target
    run (attribution patching). ``activation_difference``: |source - target|, without a sign.
    """
    moved, whole = single_effects(mixtures)
    scores = {"measured_effect": moved / whole[:, None]}
    name = mixtures.layer.name
    ahead, behind = greedy_actions(mixtures.source_q_values), greedy_actions(mixtures.baseline)
    score_weights = margin_weights(ahead, behind, mixtures.baseline.shape[1])
    gradients = mixtures.network.layer_gradients(mixtures.observations, score_weights, [name])[name]
    products = np.moveaxis(gradients * (mixtures.source - mixtures.target), mixtures.layer.neuron_axis, 1)
    estimates = products.reshape(len(products), mixtures.layer.width, -1).sum(axis=2)
    scores["gradient_x_difference"] = estimates / whole[:, None]
    difference = neuron_differences(mixtures.source, mixtures.target, neuron_axis=mixtures.layer.neuron_axis)
    scores["activation_difference"] = difference
    return scores


def _random_curve(mixtures: Mixtures, goal: Goal, count: int, seed: int) -> Curve:
    generator = np.random.default_rng(seed)
    sizes = _sizes(mixtures.layer.width, _MOST_RANDOM_SIZES)
    shape = (len(mixtures.target), mixtures.layer.width)
    runs = [_run(mixtures, _places(generator.random(shape)), sizes, goal) for _ in range(count)]
    effects = np.stack([effect for effect, _ in runs])
    reaches = np.concatenate([reached_there for _, reached_there in runs])
    return Curve(
        ranking="random",
        scope="pair",
        sizes=sizes,
        effects=effects.mean(axis=0),
        low=effects.min(axis=0),
        high=effects.max(axis=0),
        shares=reaches.mean(axis=0),
        median_size=median_size(first_sizes(sizes, reaches)),
    )


def _run(mixtures: Mixtures, places: np.ndarray, sizes: np.ndarray, goal: Goal) -> tuple[np.ndarray, np.ndarray]:
    """Effects (k,), and which pairs reach the goal at which size, (n, k).

    :param places: (n, width), each neuron's place in the order
    """
    n_rows, width = places.shape
    effects, reaches = np.empty(len(sizes)), np.empty((n_rows, len(sizes)), bool)
    at_once = max(1, _NUMBERS_AT_ONCE // (n_rows * width))
    for start in range(0, len(sizes), at_once):  # sizes side by side: a pass of few rows costs as much as a full one
        part = sizes[start : start + at_once]
        rows = np.tile(np.arange(n_rows), len(part))
        baseline, source = mixtures.baseline[rows], mixtures.source_q_values[rows]
        q_values = mixtures.q_values(rows, (places < part[:, None, None]).reshape(-1, width))
        moved, whole = (of.reshape(len(part), n_rows).sum(axis=1) for of in margin_parts(baseline, q_values, source))
        effects[start : start + at_once] = moved / whole
        reaches[:, start : start + at_once] = reached(goal, baseline, q_values, source).reshape(len(part), n_rows).T
    return effects, reaches


def _places(keys: np.ndarray) -> np.ndarray:
    """Each neuron's place where the smallest key comes first, the lower index on ties."""
    return np.argsort(np.argsort(keys, axis=1, kind="stable"), axis=1, kind="stable")


def _sizes(width: int, most: int) -> np.ndarray:
    return np.unique(np.linspace(0, width, min(width, most) + 1).round().astype(np.intp))
