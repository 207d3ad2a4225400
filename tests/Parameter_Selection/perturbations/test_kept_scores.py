"""The scores that a sweep over weights keeps."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np

from Neuron_Selection.PatchingTooling.agent.network import WeightChange
from Parameter_Selection.PerturbationTooling.perturbations.sweep import _each_alone


class OneByOne:
    """A network that takes passes of their own for each change, as the torch network does."""

    def changes_at_once(self, n_inputs: int) -> int:
        return 1

    def scores_of_changes(self, observations: Any, changes: list[WeightChange]) -> np.ndarray:
        return np.full((1, len(observations), 3), changes[0].value, np.float32)


def test_passes_leave_no_small_arrays_between_them_which_would_fragment_the_heap() -> None:
    observations = np.zeros((2, 4))
    plan = SimpleNamespace(
        inputs=SimpleNamespace(observations=observations),
        baseline=SimpleNamespace(q_values=np.zeros((2, 3))),
        network=OneByOne(),
        kept=None,
    )
    changes = [WeightChange(parameter="q_net.0.weight", row=0, column=n, value=float(n)) for n in range(50)]
    found = list(_each_alone(plan, changes))  # type: ignore[arg-type]
    assert [part.start for part, _ in found] == list(range(50))
    assert all((q_values == part.start).all() for part, q_values in found)
    assert len({id(q_values.base) for _, q_values in found}) == 1
