"""Random controls: whether the neurons that other tools named change more than random ones of the same number."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from Parameter_Selection.RolloutTooling.experiments.experiment import Experiment


def compare_with_controls(experiments: Sequence[Experiment], rows: Sequence[dict[str, Any]]) -> None:
    """Enter how the size of each named experiment's difference compares with that of its random controls.

    ``control_p`` is the share of the experiment and its controls with a difference at least as large.

    :param rows: with ``experiment`` and ``difference``, one for each experiment; changed in place
    """
    sizes: dict[str, list[float]] = {}
    for one, row in zip(experiments, rows, strict=True):
        for name in one.control_of:
            sizes.setdefault(name, []).append(abs(row["difference"]))
    for row in rows:
        controls = sizes.get(row["experiment"], [])
        if controls:
            at_least = sum(size >= abs(row["difference"]) * (1 - 1e-12) for size in controls)
            row["control_sets"] = len(controls)
            row["control_effect"] = sum(controls) / len(controls)
            row["control_p"] = (1 + at_least) / (1 + len(controls))
