"""Whether one-step importance predicts behaviour: rank correlation over single neurons, layer by layer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from Neuron_Selection.address_space import require_address_space

FEWEST = 3  # points of a correlation


def link_of(
    rows: Sequence[Mapping[str, Any]], *, effect: str, measures: Sequence[str]
) -> dict[str, dict[str, dict[str, Any]]]:
    """Spearman's rank correlation and the points behind it: layer to measure to record.

    :param rows: of experiments on single neurons, with ``layer``, ``experiment``, the effect and the measures; a
        measure that is None is left out
    :param effect: the key of the effect on behaviour, whose absolute value counts
    :param measures: keys of one-step measures
    """
    found: dict[str, dict[str, dict[str, Any]]] = {}
    for layer in dict.fromkeys(row["layer"] for row in rows):
        for measure in measures:
            known = [row for row in rows if row["layer"] == layer and row.get(measure) is not None]
            if len(known) < FEWEST:
                continue
            one_step = np.array([row[measure] for row in known], np.float64)
            behaviour = np.abs([row[effect] for row in known])
            found.setdefault(layer, {})[measure] = {
                "n": len(known),
                "spearman": _spearman(one_step, behaviour),
                "experiments": [row["experiment"] for row in known],
                "one_step": one_step.tolist(),
                "behaviour": behaviour.tolist(),
            }
    return found


def _spearman(one: np.ndarray, other: np.ndarray) -> float | None:
    """Rank correlation; None where all values of one side are the same."""
    require_address_space("scipy")
    from scipy.stats import spearmanr

    if (one == one[0]).all() or (other == other[0]).all():
        return None
    return float(spearmanr(one, other).statistic)
