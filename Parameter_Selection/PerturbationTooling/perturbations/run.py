"""One run of perturbations: targets in, swept alone and together, held against controls, written."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from Neuron_Selection.AnalysisTooling.measures.clusters import clusters_of
from Neuron_Selection.AnalysisTooling.measures.decisions import noise_floor
from Neuron_Selection.FileFormats.inputs import Inputs
from Neuron_Selection.FileFormats.kept_blocks import KeptBlocks
from Neuron_Selection.FileFormats.provenance import check_outputs, is_up_to_date
from Neuron_Selection.FileFormats.storage.atomic_files import sha256_of
from Neuron_Selection.FileFormats.weights.perturbation_results import (
    load_perturbation_results,
    save_perturbation_results,
    stored_perturbation_results,
)
from Neuron_Selection.PatchingTooling.experiment import OpenedAgent
from Parameter_Selection.PerturbationTooling.perturbations.controls import compare_with_controls, enough_sets
from Parameter_Selection.PerturbationTooling.perturbations.metrics import baseline_of
from Parameter_Selection.PerturbationTooling.perturbations.networks import perturbed_network
from Parameter_Selection.PerturbationTooling.perturbations.sweep import Plan, sweep_alone, sweep_together
from Parameter_Selection.PerturbationTooling.weights.chosen_weights import ChosenWeights
from SaliencyTooling.weight_scores import weight_matrices

_COMPARED_ON_THE_REAL_NETWORK = 2  # of the defaults: zeroed, and the sign flipped


def write_perturbations(
    opened: OpenedAgent,
    inputs: Inputs,
    chosen: ChosenWeights,
    path: Path,
    *,
    mode: str,
    values: Sequence[float],
    control_sets: int | None,
    cluster_by: str,
    seed: int,
    overwrite: bool,
) -> tuple[dict[str, Any], bool]:
    """Run and write ``path`` and the table beside it, unless they are up to date.

    :param path: the JSON file
    :param control_sets: how many random sets; None means as many as can show something. The real network, which runs
        each weight by itself, is then held against them at the first two values only
    :return: the summary, and whether the files were written now
    """
    network = perturbed_network(opened)
    spared = control_sets is None and opened.engine_name != "fast"
    compared = values[:_COMPARED_ON_THE_REAL_NETWORK] if spared else values
    sets = enough_sets(len(compared)) if control_sets is None else control_sets
    run = {
        "task": "perturb_weights",
        "inputs": inputs_in_metadata(inputs),
        **chosen.origin,
        "mode": mode,
        "values": list(values),
        "control_sets": sets,
        "control_values": list(compared),
        "cluster_by": cluster_by,
        "seed": seed,
    }
    command = {"task": "perturb_weights", "agent_path": str(opened.folder.folder), "inputs": inputs.where}
    metadata = opened.metadata(run, command=command)
    check_outputs([path, path.with_suffix(".csv")], [opened.folder.zip_path, Path(inputs.where), *chosen.paths])
    if is_up_to_date(stored_perturbation_results(path), metadata, overwrite=overwrite):
        return load_perturbation_results(path)["summary"], False
    clusters = clusters_of(inputs.ids, inputs.clusters, cluster_by, where=inputs.where)
    baseline = baseline_of(network.q_values(inputs.observations))
    tensors = opened.online_weights
    kept = KeptBlocks(path, metadata)
    plan = Plan(network=network, tensors=tensors, inputs=inputs, baseline=baseline, mode=mode, values=values, kept=kept)
    swept = sweep_alone(plan, chosen.targets)
    together = sweep_together(plan, chosen.targets)
    comparison = compare_with_controls(
        plan,
        chosen.targets,
        swept,
        matrices=weight_matrices(tensors),
        clusters=clusters,
        n_values=len(compared),
        sets=sets,
        seed=seed,
    )
    flipping = {record["target"] for record in swept.records if record["flips"]}
    strongest = max(swept.records, key=lambda record: (record["flips"], record["margin_change_size"]))
    summary = {
        "targets": len(chosen.targets),
        "inputs": len(inputs.ids),
        "near_ties": int(baseline.near_ties.sum()),
        "targets_that_flip": len(flipping),
        "strongest": {name: strongest[name] for name in ("target", "value", "weight_after", "flips")},
        "together": {repr(record["value"]): record["flip_share"] for record in together},
        "computed_by": network.told,
        "noise_floor": noise_floor(baseline.q_values),
        "controls": comparison,
    }
    save_perturbation_results(path, [*swept.records, *together], summary=summary, metadata=metadata)
    kept.remove()
    return summary, True


def inputs_in_metadata(inputs: Inputs) -> dict[str, Any]:
    """Which inputs, for the metadata: the file, and the ids that were taken out of it."""
    ids = sha256_of("\n".join(inputs.ids).encode())
    return {"name": Path(inputs.where).name, "sha256": inputs.sha256, "n": len(inputs.ids), "ids_sha256": ids}


def summary_lines(summary: dict[str, Any], mode: str) -> list[str]:
    """The summary for people."""
    together = ", ".join(f"{value}: {share:.0%}" for value, share in summary["together"].items())
    inputs = f"{summary['inputs']} inputs ({summary['near_ties']} near ties)"
    flipping = f"alone, {summary['targets_that_flip']} of {summary['targets']} flip some action"
    lines = [
        f"{summary['targets']} target{'s' * (summary['targets'] != 1)}, {inputs}; {summary['computed_by']}",
        f"{flipping}; flips of all together by {mode} {together}",
    ]
    controls = summary["controls"]
    if not controls["comparisons"]:
        return [*lines, f"no comparison with chance: {controls['reason']}"]
    lines.append(
        f"against {controls['random_sets']} random sets of the same layers, {controls['clusters']} "
        f"cluster{'s' * (controls['clusters'] != 1)} ({controls['clusters_by']}):"
    )
    lines.append(
        f"{'measure':<20}{mode:>7}{'chosen':>11}{'random':>11}{'least':>11}  {'difference':<24}{'p':>7}{'q':>7}"
    )
    for row in controls["comparisons"]:
        interval = row["difference_interval"]
        told = "" if interval is None else f"[{interval[0]:.3g}, {interval[1]:.3g}]"
        lines.append(
            f"{row['measure']:<20}{row['value']!r:>7}{row['candidates']:>11.4g}{row['random']:>11.4g}"
            f"{row['least_gradient']:>11.4g}  {told:<24}{row['p']:>7.3f}{row['q']:>7.3f}"
            + ("  beats chance" if row["beats_chance"] else "")
        )
    return [*lines, *controls["remarks"]]
