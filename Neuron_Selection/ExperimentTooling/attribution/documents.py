"""Results of attribution as a JSON document, as the rows of a table, and as arrays by pair."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from Neuron_Selection.ExperimentTooling.attribution.agreement import TOP, Agreement, agreement_of, recall_of
from Neuron_Selection.ExperimentTooling.attribution.paths import PathAttribution


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class LayerAttributed:
    """One layer in one direction.

    ``changes``: (n, width), the exact change of each contrast pair's margin by each neuron alone; ``gaps``: (n,), the
    whole difference of its margins; ``moves``: (n, width), where the neuron differs between the runs. ``path`` is None
    if no pair has contrast.
    """

    direction: str
    layer: str
    n_pairs: int
    ids: Sequence[str]
    changes: np.ndarray
    gaps: np.ndarray
    moves: np.ndarray
    path: PathAttribution | None

    @property
    def by_pair(self) -> dict[str, np.ndarray]:
        """The exact effects and the estimates of each pair, (n, width) each, as shares of the pair's own margin."""
        estimates = {} if self.path is None else self.path.estimates
        return {name: array / self.gaps[:, None] for name, array in {"effect": self.changes, **estimates}.items()}

    @property
    def over_pairs(self) -> dict[str, np.ndarray]:
        """The same over all contrast pairs, (width,) each: ratios of sums."""
        estimates = {} if self.path is None else self.path.estimates
        arrays = {"effect": self.changes, **estimates}
        return {name: array.sum(axis=0) / self.gaps.sum() for name, array in arrays.items()}


def document_of(layers: Sequence[LayerAttributed], *, steps: int) -> dict[str, Any]:
    """``{direction: {layer: {...}}}``."""
    document: dict[str, Any] = {}
    for site in layers:
        document.setdefault(site.direction, {})[site.layer] = {
            "neurons": site.moves.shape[1],
            "cannot_matter": int(np.count_nonzero(~site.moves.any(axis=0))),
            "pairs_given": site.n_pairs,
            "contrast_pairs": len(site.ids),
            "path": None if site.path is None else _path(site.path, site.gaps, steps),
            "estimates": {} if site.path is None else _estimates(site),
            "pairs": {} if site.path is None else _pairs(site.ids, site.path),
        }
    return document


def neuron_rows(layers: Sequence[LayerAttributed]) -> Iterator[dict[str, Any]]:
    """A row for each neuron of each layer and direction; effects are empty without contrast pairs."""
    for site in layers:
        columns = site.over_pairs if site.path is not None else {}
        names = ("effect", "gradient_at_target", "gradient_at_source", "integrated_gradients")
        for neuron in range(site.moves.shape[1]):
            yield {
                "direction": site.direction,
                "layer": site.layer,
                "neuron": neuron,
                "pairs_moved": int(np.count_nonzero(site.moves[:, neuron])),
                **{name: float(columns[name][neuron]) if columns else None for name in names},
            }


def pair_arrays(layers: Sequence[LayerAttributed]) -> dict[str, np.ndarray]:
    """``<direction>_<layer>_<column>`` to (contrast pairs, width)."""
    return {
        f"{site.direction}_{site.layer}_{name}": array
        for site in layers
        if site.path is not None
        for name, array in site.by_pair.items()
    }


def _path(path: PathAttribution, gaps: np.ndarray, steps: int) -> dict[str, Any]:
    found = path.strengths[~np.isnan(path.strengths)]
    return {
        "method": "exact" if path.is_exact else "quadrature",
        "steps": None if path.is_exact else steps,
        "greatest_residual": float(np.abs(path.residuals).max()),
        "residual": float(np.abs(path.residuals).sum() / gaps.sum()),
        "flips": len(found),
        "flips_verified": int(np.count_nonzero(path.verified)),
        "median_strength": float(np.median(found)) if len(found) else None,
    }


def _estimates(site: LayerAttributed) -> dict[str, Any]:
    movable = np.flatnonzero(site.moves.any(axis=0))
    if not len(movable):
        return {}
    exact, *estimates = ((name, array[movable]) for name, array in site.over_pairs.items())
    by_pair = site.by_pair
    sizes = np.abs(by_pair["effect"][:, movable])
    return {
        name: {
            **_agreement(agreement_of(exact[1], estimate), exact[1], estimate, movable),
            "recall_of_pairs": {f"top_{k}": recall_of(sizes, np.abs(by_pair[name][:, movable]), k) for k in TOP},
        }
        for name, estimate in estimates
    }


def _agreement(found: Agreement, effects: np.ndarray, estimates: np.ndarray, neurons: np.ndarray) -> dict[str, Any]:
    worst = found.worst
    return {
        "spearman": found.spearman,
        "kendall": found.kendall,
        "recall": {f"top_{k}": value for k, value in found.recall.items()},
        "sign_errors": found.sign_errors,
        "worst_miss": {
            "neuron": int(neurons[worst]),
            "effect": float(effects[worst]),
            "estimate": float(estimates[worst]),
            "rank": int(np.count_nonzero(np.abs(effects) > abs(effects[worst]))) + 1,
            "estimated_rank": int(np.count_nonzero(np.abs(estimates) > abs(estimates[worst]))) + 1,
        },
    }


def _pairs(ids: Sequence[str], path: PathAttribution) -> dict[str, Any]:
    return {
        input_id: {
            "strength": None if np.isnan(path.strengths[row]) else float(path.strengths[row]),
            "action": None if path.actions[row] < 0 else int(path.actions[row]),
            "verified": bool(path.verified[row]),
            "residual": float(path.residuals[row]),
        }
        for row, input_id in enumerate(ids)
    }
