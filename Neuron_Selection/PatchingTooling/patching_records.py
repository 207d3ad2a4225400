"""Patched runs told input by input: the records of a patching results file."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from Neuron_Selection.AnalysisTooling.decisions import greedy_actions, near_ties, noise_floor
from Neuron_Selection.FileFormats.activations import FINAL_Q_VALUES
from Neuron_Selection.FileFormats.patch_spec import Neurons, experiment_name, patch_configuration
from Neuron_Selection.PatchingTooling.agents import Agent
from Neuron_Selection.PatchingTooling.patching_plan import PatchingPlan
from Neuron_Selection.PatchingTooling.q_values import compute_patched_q_values, compute_q_values


class PatchingResults(dict[str, Any]):
    """Results under their ids (or experiments), as files hold them, with the ``metadata`` of the run."""

    def __init__(self, records: Mapping[str, Any], *, metadata: dict[str, Any]) -> None:
        super().__init__(records)
        self.metadata = metadata


def result_records(agent: Agent, plan: PatchingPlan, *, metadata: Mapping[str, Any]) -> PatchingResults:
    """Run every patch of the plan.

    :return: ``{id: record}`` for one patch; ``{experiment: {patch_configuration, results: {id: record}}}`` for more
    """
    baseline = compute_q_values(agent, plan.target.observations)
    source = source_q_values(agent, plan)
    by_patch = [_patch_records(agent, plan, patch, baseline=baseline, source=source) for patch in plan.patches]
    described = {
        **metadata,
        "noise_floor": noise_floor(baseline),
        "summary": [summary_of(records) for records in by_patch],
    }
    if len(by_patch) == 1:
        return PatchingResults(by_patch[0], metadata=described)
    experiments = {
        experiment_name(number, patch): {"patch_configuration": patch_configuration(patch), "results": records}
        for number, (patch, records) in enumerate(zip(plan.patches, by_patch, strict=True), start=1)
    }
    return PatchingResults(experiments, metadata=described)


def summary_of(records: Mapping[str, Mapping[str, Any]]) -> dict[str, int | None]:
    """Counts over one patch's records; contrast pairs and matches are None where the source's action is unknown.

    A contrast pair is an input for which target and source choose different actions; only there can a patch match
    its source by changing something.
    """
    known = all(record["source_action"] is not None for record in records.values())
    contrast = [record for record in records.values() if record["source_action"] != record["baseline_action"]]
    return {
        "inputs": len(records),
        "contrast_pairs": len(contrast) if known else None,
        "flips": sum(record["action_changed"] for record in records.values()),
        "matches": sum(record["matches_source"] for record in contrast) if known else None,
        "near_ties": sum(record["near_tie"] for record in records.values()),
    }


def source_q_values(agent: Agent, plan: PatchingPlan) -> np.ndarray | None:
    """The source run's Q-values: stored, or run on from a stored layer that is a cut; None where neither is there."""
    values = plan.source.values
    stored = values.get(agent.layers.output, values.get(FINAL_Q_VALUES))
    if stored is not None:
        return stored
    cuts = [name for name, layer in agent.layers.layers.items() if layer.is_cut and name in values]
    if not cuts:
        return None
    q_values, _ = compute_patched_q_values(agent, plan.target.observations, values, {cuts[-1]: "all"})
    return q_values


def _patch_records(
    agent: Agent, plan: PatchingPlan, patch: dict[str, Neurons], *, baseline: np.ndarray, source: np.ndarray | None
) -> dict[str, Any]:
    patched, changed = compute_patched_q_values(agent, plan.target.observations, plan.source.values, patch)
    runs = [baseline, patched] if source is None else [baseline, patched, source]
    actions = [greedy_actions(q_values).tolist() for q_values in runs]
    ties = np.any([near_ties(q_values) for q_values in runs], axis=0)
    sites = {
        name: agent.layers.layers[name].width if indices == "all" else len(indices) for name, indices in patch.items()
    }
    configuration = patch_configuration(patch)
    records: dict[str, Any] = {}
    for row, input_id in enumerate(plan.target.ids):
        source_action = None if source is None else actions[2][row]
        records[input_id] = {
            "baseline_output": [baseline[row].tolist()],
            "baseline_action": actions[0][row],
            "patched_output": [patched[row].tolist()],
            "patched_action": actions[1][row],
            "action_changed": actions[0][row] != actions[1][row],
            "patched_layers": list(patch),
            "patch_configuration": configuration,
            "source_output": None if source is None else [source[row].tolist()],
            "source_action": source_action,
            "matches_source": None if source is None else actions[1][row] == source_action,
            "near_tie": bool(ties[row]),
            "applied": {name: {"sites": sites[name], "values_changed": int(changed[name][row])} for name in patch},
            "source": Path(plan.source.source).name,
            "target": Path(plan.target.source).name,
            "direction": plan.direction,
        }
    return records
