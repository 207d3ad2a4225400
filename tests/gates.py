"""Gates with known answers: what hidden neurons h0, h1, h2 (0 corrupted, 1 clean) make of the margin.

Name to relu units (weights, bias), their weights in the sum, and what is added to it.
"""

from __future__ import annotations

from typing import Any

import numpy as np

GATES: dict[str, tuple[list[tuple[list[float], float]], list[float], float]] = {
    "AND2": ([([1, 1], -1.5)], [2], 0),
    "OR2": ([([-2, -2], 1)], [-1], 1),
    "SUM3": ([([1, 0, 0], 0), ([0, 1, 0], 0), ([0, 0, 1], 0)], [0.5, 0.3, 0.2], 0),
    "INHIBIT": ([([1, 0, 0], 0), ([0, 1, 0], -0.5), ([0, 0, 1], -0.5)], [1, -2, 2], 0),
    "MAJ3": ([([1, 1, 1], -1.25), ([1, 1, 1], -1.75)], [2, -2], 0),
}


def gate_layers(name: str) -> list[tuple[Any, Any]]:
    """An MLP whose first hidden layer is h, for inputs of 0 and 1, and whose scores are (margin, 0.55)."""
    inner, outer, shift = GATES[name]
    width = len(inner[0][0])
    return [
        (np.eye(width), np.zeros(width)),
        ([weights for weights, _ in inner], [bias for _, bias in inner]),
        ([outer, [0.0] * len(outer)], [shift, 0.55]),
    ]
