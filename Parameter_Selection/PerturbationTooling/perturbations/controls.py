"""Controls for chosen weights: random weights of the same layers, and those of least gradient."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from math import ceil
from typing import Any

import numpy as np

from Neuron_Selection.AnalysisTooling.measures.cluster_statistics import FEW_CLUSTERS, bootstrap_intervals, q_values_of
from Neuron_Selection.AnalysisTooling.measures.clusters import Clusters
from Parameter_Selection.PerturbationTooling.perturbations.sweep import MEASURES, Plan, Swept, sweep_alone
from Parameter_Selection.PerturbationTooling.weights.targets import WeightTarget

SIGNIFICANT = 0.05
_FEWEST_SETS, _MOST_SETS = 99, 999


def enough_sets(n_values: int) -> int:
    """Number of random sets with which a single row can be significant after Benjamini and Hochberg; 999 at most.

    The least p is 1 / (sets + 1), and its q is rows times that where no other row has so small a p.
    """
    return min(max(_FEWEST_SETS, ceil(len(MEASURES) * n_values / SIGNIFICANT)), _MOST_SETS)


def random_sets(
    targets: Sequence[WeightTarget], matrices: Mapping[str, np.ndarray], *, sets: int, seed: int
) -> list[list[WeightTarget]]:
    """Sets of as many other weights of each layer, drawn without replacement within a set.

    :return: none where a layer has too few others
    """
    random = np.random.default_rng(seed)
    others = {name: _others(targets, name, matrices[name]) for name in _counts(targets)}
    if any(len(others[name]) < count for name, count in _counts(targets).items()):
        return []
    drawn = []
    for _ in range(sets):
        chosen: list[WeightTarget] = []
        for name, count in _counts(targets).items():
            places = random.choice(others[name], size=count, replace=False)
            chosen += _targets_at(name, matrices[name], np.sort(places))
        drawn.append(chosen)
    return drawn


def least_gradient(
    targets: Sequence[WeightTarget], matrices: Mapping[str, np.ndarray], magnitudes: Mapping[str, np.ndarray]
) -> list[WeightTarget]:
    """As many other weights of each layer, those of least mean gradient; ties go to the lower index.

    :return: none where a layer has too few others
    """
    chosen: list[WeightTarget] = []
    for name, count in _counts(targets).items():
        others = _others(targets, name, matrices[name])
        if len(others) < count:
            return []
        order = np.argsort(magnitudes[name].ravel()[others], kind="stable")
        chosen += _targets_at(name, matrices[name], others[order[:count]])
    return chosen


def compare_with_controls(
    plan: Plan,
    targets: Sequence[WeightTarget],
    swept: Swept,
    *,
    matrices: Mapping[str, np.ndarray],
    clusters: Clusters,
    n_values: int,
    sets: int,
    seed: int,
) -> dict[str, Any]:
    """Compare the mean effect of the targets with that of the controls, by measure and each of the first ``n_values``.

    p is the share of sets, the targets included, with an effect at least as large, (1 + #{T_b >= T}) / (B + 1). q is
    Benjamini and Hochberg's over all rows. The interval is that of the difference to the mean of the random sets, over
    resampled clusters of inputs. ``beats_chance``: the interval is above 0 and q at most 0.05; None without an
    interval, and where the sets are too few to show it.
    """
    plan = replace(plan, values=plan.values[:n_values])
    drawn = random_sets(targets, matrices, sets=sets, seed=seed) if sets else []
    if not drawn:
        reason = "no controls were asked for" if not sets else "a layer has too few weights that are no targets"
        return {"random_sets": 0, "reason": reason, "comparisons": []}
    unique = list(dict.fromkeys(target for chosen in drawn for target in chosen))
    place_of = {target: place for place, target in enumerate(unique)}
    members = np.array([[place_of[target] for target in chosen] for chosen in drawn])
    shares = np.bincount(members.ravel(), minlength=len(unique)) / members.size
    control = sweep_alone(plan, unique, shares=shares)
    magnitudes = plan.mean_magnitudes()
    weakest = sweep_alone(plan, least_gradient(targets, matrices, magnitudes))
    comparisons: list[dict[str, Any]] = []
    for measure in MEASURES:
        sums, sizes = _cluster_sums(swept.by_input[measure][:n_values] - control.by_input[measure], clusters)
        intervals = bootstrap_intervals(sums, sizes, seed=seed)
        for place, value in enumerate(plan.values):
            own = float(swept.by_target[measure][place].mean())
            of_sets = control.by_target[measure][place][members].mean(axis=1)
            at_least = int(np.count_nonzero(of_sets >= own * (1 - 1e-12)))
            comparisons.append(
                {
                    "measure": measure,
                    "value": value,
                    "candidates": own,
                    "random": float(of_sets.mean()),
                    "least_gradient": float(weakest.by_target[measure][place].mean()),
                    "difference_interval": None if intervals is None else intervals[:, place].tolist(),
                    "p": (1 + at_least) / (1 + len(drawn)),
                }
            )
    enough = len(comparisons) / (len(drawn) + 1) <= SIGNIFICANT
    for row, q in zip(comparisons, q_values_of(np.array([row["p"] for row in comparisons])).tolist(), strict=True):
        interval = row["difference_interval"]
        beats = None if interval is None or not enough else bool(q <= SIGNIFICANT and interval[0] > 0)
        row |= {"q": q, "beats_chance": beats}
    return {
        "random_sets": len(drawn),
        "seed": seed,
        "clusters": clusters.count,
        "clusters_by": clusters.description,
        "remarks": _remarks(len(comparisons), len(drawn), clusters.count),
        "comparisons": comparisons,
    }


def _remarks(rows: int, sets: int, clusters: int) -> list[str]:
    """Reasons for which the numbers may not support a claim."""
    remarks = []
    if rows / (sets + 1) > SIGNIFICANT:
        needed = ceil(rows / SIGNIFICANT)
        remarks.append(f"{sets} are too few sets to show anything in {rows} rows: --control_sets {needed} could")
    if clusters < 2:
        remarks.append("1 cluster of inputs gives no interval, so beating chance stays open")
    elif clusters < FEW_CLUSTERS:
        remarks.append(f"{clusters} clusters: below {FEW_CLUSTERS} the intervals cover less than they promise")
    return remarks


def _counts(targets: Sequence[WeightTarget]) -> dict[str, int]:
    return dict(Counter(target.parameter for target in targets))


def _others(targets: Sequence[WeightTarget], name: str, matrix: np.ndarray) -> np.ndarray:
    """Flat indices of the weights that are not targets."""
    width = matrix[0].size
    taken = [target.row * width + target.column for target in targets if target.parameter == name]
    return np.delete(np.arange(matrix.size), taken)


def _targets_at(name: str, matrix: np.ndarray, places: np.ndarray) -> list[WeightTarget]:
    rows, columns = np.divmod(places, matrix[0].size)
    pairs = zip(rows.tolist(), columns.tolist(), strict=True)
    return [WeightTarget(parameter=name, row=row, column=column) for row, column in pairs]


def _cluster_sums(by_input: np.ndarray, clusters: Clusters) -> tuple[np.ndarray, np.ndarray]:
    """Sums and sizes of the clusters.

    :param by_input: (n_values, n)
    :return: (n_clusters, n_values), (n_clusters,)
    """
    sums = np.zeros((clusters.count, len(by_input)))
    np.add.at(sums, clusters.of_input, by_input.T)
    return sums, np.bincount(clusters.of_input, minlength=clusters.count).astype(np.float64)
