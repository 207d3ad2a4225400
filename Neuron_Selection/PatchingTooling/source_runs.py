"""Sources turned into values: what the patched neurons shall output, and what the source run decided."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from Neuron_Selection.FileFormats.activations import FINAL_Q_VALUES
from Neuron_Selection.PatchingTooling.ablations import ablated_source
from Neuron_Selection.PatchingTooling.agents import Agent
from Neuron_Selection.PatchingTooling.patching_plan import PatchingPlan
from Neuron_Selection.PatchingTooling.patching_sources import AblatedSource, RecordedSource
from Neuron_Selection.PatchingTooling.q_values import compute_patched_q_values, record_activations


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class SourceRun:
    """``values``: layer to (n, *shape), rows as in the target. ``q_values``: (n, n_actions), None where unknown.

    ``is_of_this_agent``: whether both are known to come from these very weights.
    """

    values: Mapping[str, np.ndarray]
    q_values: np.ndarray | None
    is_of_this_agent: bool


def run_source(agent: Agent, plan: PatchingPlan) -> SourceRun:
    """The values of a plan's source at every layer that the plan patches."""
    source, layers = plan.source, list(plan.layers)
    if isinstance(source, AblatedSource):
        own = record_activations(agent, plan.target.observations, layers)
        reference = own
        if source.ablation.needs_reference and source.reference is not None:
            reference = record_activations(agent, source.reference.observations, layers)
        values = ablated_source(source.ablation, own, reference=reference, seed=source.seed)
        return SourceRun(values=values, q_values=None, is_of_this_agent=False)
    if isinstance(source, RecordedSource):
        output = agent.layers.output
        values = record_activations(agent, source.inputs.observations, [*dict.fromkeys([*layers, output])])
        return SourceRun(values=values, q_values=values[output], is_of_this_agent=True)
    values = dict(source.activations.values)
    stored = values.get(agent.layers.output, values.get(FINAL_Q_VALUES))
    return SourceRun(
        values=values,
        q_values=_run_on(agent, plan, values) if stored is None else stored,
        is_of_this_agent=source.weights_match is True,
    )


def _run_on(agent: Agent, plan: PatchingPlan, values: Mapping[str, np.ndarray]) -> np.ndarray | None:
    """The source's Q-values from the last stored layer that everything behind depends on alone; None without one."""
    cuts = [name for name, layer in agent.layers.layers.items() if layer.is_cut and name in values]
    if not cuts:
        return None
    q_values, _ = compute_patched_q_values(agent, plan.target.observations, values, {cuts[-1]: "all"})
    return q_values
