"""Run a patching plan; its records, input by input, as patching results files hold them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from Neuron_Selection.AnalysisTooling.measures.decisions import (
    allowed_scores,
    greedy_actions,
    near_ties,
    noise_floor,
)
from Neuron_Selection.AnalysisTooling.record_analysis import analyse_records
from Neuron_Selection.FileFormats.patch_spec import Neurons, experiment_name, patch_configuration
from Neuron_Selection.FileFormats.scores import scores_in
from Neuron_Selection.PatchingTooling.agent.interventions import replacing
from Neuron_Selection.PatchingTooling.agent.network import Network
from Neuron_Selection.PatchingTooling.opened_agent import OpenedAgent
from Neuron_Selection.PatchingTooling.patching_plan import PatchingPlan
from Neuron_Selection.PatchingTooling.self_checks import checks_after, run_self_checks
from Neuron_Selection.PatchingTooling.sources import AblatedSource, SourceRun, run_source


class PatchingResults(dict[str, Any]):
    """Results by id (or by experiment), as files hold them, with the ``metadata`` of the run."""

    def __init__(self, records: Mapping[str, Any], *, metadata: dict[str, Any]) -> None:
        super().__init__(records)
        self.metadata = metadata

    def experiments(self) -> dict[str, Any]:
        """``{experiment: {patch_configuration, results: {id: record}}}``, also of a single patch."""
        first = next(iter(self.values()))
        if "results" in first:
            return dict(self)
        configuration = first["patch_configuration"]
        name = experiment_name(1, configuration)
        return {name: {"patch_configuration": configuration, "results": dict(self)}}

    def by_input(self) -> dict[str, dict[str, Any]]:
        """``{id: {experiment: {input_id, patch_configuration, results, patch_analysis}}}``, the published form."""
        turned: dict[str, dict[str, Any]] = {}
        scores = scores_in(self.metadata["run"])
        for name, experiment in self.experiments().items():
            analyses = analyse_records(list(experiment["results"].values()), scores=scores)
            for (input_id, record), analysis in zip(experiment["results"].items(), analyses, strict=True):
                turned.setdefault(input_id, {})[name] = {
                    "input_id": input_id,
                    "patch_configuration": experiment["patch_configuration"],
                    "results": record,
                    "patch_analysis": analysis,
                }
        return turned


def run_plan(agent: OpenedAgent, plan: PatchingPlan, *, command: Mapping[str, Any]) -> PatchingResults:
    """Run every patch of the plan, and the run's self-checks.

    :return: ``{id: record}`` for one patch; ``{experiment: {patch_configuration, results: {id: record}}}`` for more
    :raises CheckError: the run failed one of its self-checks
    """
    network, observations = agent.network, plan.target.observations
    weights = network.fingerprint()
    baseline, critic = network.scores(observations), agent.architecture.head.critic_output
    values = network.activations(observations, [critic])[critic][:, 0] if critic else None
    source = run_source(network, plan.source, observations, plan.layers)
    checks = run_self_checks(network, plan, baseline=baseline, source=source)
    by_patch = [
        _patch_records(network, plan, patch, baseline=baseline, values=values, source=source) for patch in plan.patches
    ]
    checks |= checks_after(network, weights)
    described = {
        **agent.metadata(plan.decisive, command=command),
        "noise_floor": noise_floor(baseline),
        "self_checks": checks,
        "summary": [
            {**summary_of(records), "must_match": _must_match(network, patch, source)}
            for patch, records in zip(plan.patches, by_patch, strict=True)
        ],
    }
    if len(by_patch) == 1:
        return PatchingResults(by_patch[0], metadata=described)
    experiments = {
        experiment_name(number, patch): {"patch_configuration": patch_configuration(patch), "results": records}
        for number, (patch, records) in enumerate(zip(plan.patches, by_patch, strict=True), start=1)
    }
    return PatchingResults(experiments, metadata=described)


def _must_match(network: Network, patch: Mapping[str, Neurons], source: SourceRun) -> bool:
    """Whether the patch holds a whole bottleneck layer: the source's decisions then follow by construction."""
    layers = network.layers.layers
    whole = [name for name, indices in patch.items() if indices == "all" or len(indices) == layers[name].width]
    return source.is_of_this_agent and any(layers[name].is_cut for name in whole)


def summary_of(records: Mapping[str, Mapping[str, Any]]) -> dict[str, int | None]:
    """Counts over one patch's records; contrast pairs and matches are None if the source's action is unknown.

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


def _patch_records(
    network: Network,
    plan: PatchingPlan,
    patch: dict[str, Neurons],
    *,
    baseline: np.ndarray,
    values: np.ndarray | None,
    source: SourceRun,
) -> dict[str, Any]:
    """The records of one patch by input.

    :param values: of the critic in the target run, (n,); None without a critic
    """
    run = network.patched(plan.target.observations, replacing(patch, source.values))
    patched, changed = run.scores, run.changed
    masks = plan.target.action_masks
    known = [baseline, patched] if source.scores is None else [baseline, patched, source.scores]
    runs = [allowed_scores(scores, masks) for scores in known]
    actions = [greedy_actions(scores).tolist() for scores in runs]
    ties = np.any([near_ties(scores) for scores in runs], axis=0)
    widths = network.layers.widths
    sites = {name: widths[name] if indices == "all" else len(indices) for name, indices in patch.items()}
    configuration = patch_configuration(patch)
    ablation = {"ablation": str(plan.source.ablation)} if isinstance(plan.source, AblatedSource) else {}
    records: dict[str, Any] = {}
    for row, input_id in enumerate(plan.target.ids):
        source_action = None if source.scores is None else actions[2][row]
        records[input_id] = {
            "baseline_output": [baseline[row].tolist()],
            "baseline_action": actions[0][row],
            "patched_output": [patched[row].tolist()],
            "patched_action": actions[1][row],
            "action_changed": actions[0][row] != actions[1][row],
            "patched_layers": list(patch),
            "patch_configuration": configuration,
            "source_output": None if source.scores is None else [source.scores[row].tolist()],
            "source_action": source_action,
            "matches_source": None if source.scores is None else actions[1][row] == source_action,
            "near_tie": bool(ties[row]),
            **_of_critic(values, run.values, row),
            **({} if masks is None else {"action_mask": masks[row].tolist()}),
            "applied": {name: {"sites": sites[name], "values_changed": int(changed[name][row])} for name in patch},
            "source": Path(plan.source.name).name,
            "target": Path(plan.target.where).name,
            "direction": plan.direction,
            **ablation,
        }
    return records


def _of_critic(baseline: np.ndarray | None, patched: np.ndarray | None, row: int) -> dict[str, float]:
    """The critic's value of one input in both runs; empty without a critic."""
    if baseline is None or patched is None:
        return {}
    return {"baseline_value": float(baseline[row]), "patched_value": float(patched[row])}
