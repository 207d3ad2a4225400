"""Sources turned into values: what the patched neurons shall output, and what the source run decided."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from Neuron_Selection.FileFormats.activations import FINAL_Q_VALUES
from Neuron_Selection.PatchingTooling.agent.engines import Engine
from Neuron_Selection.PatchingTooling.patching.ablations import ablated_source
from Neuron_Selection.PatchingTooling.patching.plan import PatchingPlan
from Neuron_Selection.PatchingTooling.patching.sources import AblatedSource, RecordedSource


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class SourceRun:
    """``values``: layer to (n, *shape), rows as in the target. ``q_values``: (n, n_actions), None where unknown.

    ``is_of_this_agent``: whether both are known to come from these very weights.
    """

    values: Mapping[str, np.ndarray]
    q_values: np.ndarray | None
    is_of_this_agent: bool


def run_source(engine: Engine, plan: PatchingPlan) -> SourceRun:
    """The values of a plan's source at every layer that the plan patches."""
    source, layers = plan.source, list(plan.layers)
    if isinstance(source, AblatedSource):
        own = engine.activations(plan.target.observations, layers)
        reference = own
        if source.ablation.needs_reference and source.reference is not None:
            reference = engine.activations(source.reference.observations, layers)
        values = ablated_source(source.ablation, own, reference=reference, seed=source.seed)
        return SourceRun(values=values, q_values=None, is_of_this_agent=False)
    if isinstance(source, RecordedSource):
        output = engine.layers.output
        observations = source.inputs.observations
        values = engine.activations(observations, [*dict.fromkeys([*layers, *([output] if output else [])])])
        q_values = values[output] if output else engine.q_values(observations)
        return SourceRun(values=values, q_values=q_values, is_of_this_agent=True)
    values = dict(source.activations.values)
    stored = values.get(engine.layers.output, values.get(FINAL_Q_VALUES))
    return SourceRun(
        values=values,
        q_values=_run_on(engine, plan, values) if stored is None else stored,
        is_of_this_agent=source.weights_match is True,
    )


def _run_on(engine: Engine, plan: PatchingPlan, values: Mapping[str, np.ndarray]) -> np.ndarray | None:
    """The source's Q-values from the last stored layer that everything behind depends on alone; None without one."""
    cuts = [name for name, layer in engine.layers.layers.items() if layer.is_cut and name in values]
    if not cuts:
        return None
    q_values, _ = engine.patched_q_values(plan.target.observations, values, {cuts[-1]: "all"})
    return q_values
