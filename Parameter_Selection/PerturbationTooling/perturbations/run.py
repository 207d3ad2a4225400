"""Perturb weights of an agent, compare them with random weights, and write the results."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import MISSING, asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from Neuron_Selection.AnalysisTooling.measures.clusters import clusters_of
from Neuron_Selection.AnalysisTooling.measures.decisions import noise_floor
from Neuron_Selection.FileFormats.agent_zip.agent_folder import CLEAN, output_folder
from Neuron_Selection.FileFormats.inputs import Inputs
from Neuron_Selection.FileFormats.kept_blocks import KeptBlocks
from Neuron_Selection.FileFormats.provenance import StoredOutput, check_outputs, is_up_to_date
from Neuron_Selection.FileFormats.results.patching_results import results_path
from Neuron_Selection.FileFormats.storage.atomic_files import sha256_of
from Neuron_Selection.FileFormats.weights.perturbation_results import (
    PERTURBATIONS,
    load_perturbation_results,
    save_perturbation_results,
    stored_perturbation_results,
)
from Neuron_Selection.PatchingTooling.opened_agent import OpenedAgent
from Parameter_Selection.PerturbationTooling.perturbations.controls import compare_with_controls, enough_sets
from Parameter_Selection.PerturbationTooling.perturbations.metrics import baseline_of
from Parameter_Selection.PerturbationTooling.perturbations.sweep import Plan, sweep_alone, sweep_together
from Parameter_Selection.PerturbationTooling.weights.targets import choose_weights, chosen_values
from SaliencyTooling.gradient_runs import Progress
from SaliencyTooling.weight_ranking import weight_matrices

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

Summary = TypeVar("Summary", bound="DataclassInstance")
_COMPARED_ON_THE_REAL_NETWORK = 2  # of the default values: zeroed, and the sign flipped


@dataclass(frozen=True, kw_only=True, slots=True)
class PerturbationSummary:
    """Summary of a perturbation run, as its file holds it.

    ``strongest``: the change with the most flips. ``together``: value to the share of inputs whose action all changes
    together flip. ``controls``: the comparison with random weights.
    """

    targets: int
    inputs: int
    near_ties: int
    targets_that_flip: int
    strongest: Mapping[str, Any]
    together: Mapping[str, float]
    computed_by: str
    noise_floor: float
    controls: Mapping[str, Any]


@dataclass(frozen=True, kw_only=True, slots=True)
class Perturbations:
    """Result of ``perturb_weights``. ``written``: False where the files were up to date."""

    files: tuple[Path, Path]
    written: bool
    summary: PerturbationSummary


def perturb_weights(
    agent: OpenedAgent,
    *,
    candidates: str | Path | None = None,
    weights: str | None = None,
    all_weights: Sequence[str] | None = None,
    inputs: Any = CLEAN,
    input_ids: Sequence[str] | None = None,
    mode: str = "scale",
    values: Sequence[float] | None = None,
    control_sets: int | None = None,
    cluster_by: str = "auto",
    seed: int = 0,
    output_dir: str | Path | None = None,
    output_prefix: str = "results",
    overwrite: bool = False,
    progress: Progress | None = None,
) -> Perturbations:
    """Change weights, each alone and all together, and write the effects on the decisions.

    :param candidates: a candidates file; None, without ``weights`` and ``all_weights``, means the agent's own
    :param weights: by hand, ``"q_net.0.weight[61,5]; q_net.2.weight[0,3]"``
    :param all_weights: every weight of these layers
    :param inputs: an inputs file, or arrays as for ``OpenedAgent.inputs``
    :param mode: ``set`` weights to, ``add`` to them, or ``scale`` them by each of ``values``
    :param values: None means 0, -1 and seven more for scale
    :param control_sets: number of random sets to compare with; None means as many as a significant result needs. The
        real network, which runs each weight by itself, is then compared at the first two values only
    :param cluster_by: ``auto``, ``file``, ``id_seed`` or ``input``
    :param output_dir: None means the agent's ``perturbation_results/``
    :param progress: such as ``tqdm.tqdm``; wraps the values, for the targets and again for the controls
    :raises SuiteError: weights or inputs that do not fit the agent, or files of a different run without ``overwrite``
    """
    chosen_scales = chosen_values(mode, values)
    folder = output_folder(None if output_dir is None else str(output_dir), agent.folder.folder / PERTURBATIONS)
    path = results_path(folder, output_prefix)
    chosen = choose_weights(agent, candidates=candidates, weights=weights, all_weights=all_weights)
    selected = agent.inputs(inputs).selected(input_ids)
    reduced = control_sets is None and agent.engine != "numpy"
    compared = chosen_scales[:_COMPARED_ON_THE_REAL_NETWORK] if reduced else chosen_scales
    sets = enough_sets(len(compared)) if control_sets is None else control_sets
    run = {
        "task": "perturb_weights",
        "inputs": inputs_in_metadata(selected),
        **chosen.origin,
        "mode": mode,
        "values": chosen_scales,
        "control_sets": sets,
        "control_values": compared,
        "cluster_by": cluster_by,
        "seed": seed,
    }
    command = {"task": "perturb_weights", "inputs": selected.where}
    metadata = agent.metadata(run, command=command)
    table = path.with_suffix(".csv")
    check_outputs([path, table], [agent.folder.zip_path, Path(selected.where), *chosen.paths])
    stored, stored_summary = with_summary(stored_perturbation_results(path), path, PerturbationSummary)
    if is_up_to_date(stored, metadata, overwrite=overwrite) and stored_summary is not None:
        return Perturbations(files=(path, table), written=False, summary=stored_summary)
    clusters = clusters_of(selected.ids, selected.clusters, cluster_by, where=selected.where)
    baseline = baseline_of(agent.network.scores(selected.observations), selected.action_masks)
    kept = KeptBlocks(path, metadata)
    plan = Plan(
        network=agent.network,
        tensors=agent.online_weights,
        inputs=selected,
        baseline=baseline,
        mode=mode,
        values=chosen_scales,
        kept=kept,
        progress=progress,
    )
    swept = sweep_alone(plan, chosen.targets)
    together = sweep_together(plan, chosen.targets)
    comparison = compare_with_controls(
        plan,
        chosen.targets,
        swept,
        matrices=weight_matrices(plan.tensors),
        clusters=clusters,
        n_values=len(compared),
        sets=sets,
        seed=seed,
    )
    strongest = max(swept.records, key=lambda record: (record["flips"], record["margin_change_size"]))
    summary = PerturbationSummary(
        targets=len(chosen.targets),
        inputs=len(selected.ids),
        near_ties=int(baseline.near_ties.sum()),
        targets_that_flip=len({record["target"] for record in swept.records if record["flips"]}),
        strongest={name: strongest[name] for name in ("target", "value", "weight_after", "flips")},
        together={repr(record["value"]): record["flip_share"] for record in together},
        computed_by=_computed_by(agent),
        noise_floor=noise_floor(baseline.q_values),
        controls=comparison,
    )
    save_perturbation_results(path, [*swept.records, *together], summary=asdict(summary), metadata=metadata)
    kept.remove()
    return Perturbations(files=(path, table), written=True, summary=summary)


def _computed_by(agent: OpenedAgent) -> str:
    """The engine in words."""
    if agent.engine == "numpy":
        return "engine numpy, float64"
    module = agent.architecture.head.module or "policy"
    return f"weights changed on the real {module}, {agent.dtype} (the numpy engine does not apply)"


def with_summary(stored: StoredOutput, path: Path, kind: type[Summary]) -> tuple[StoredOutput, Summary | None]:
    """The stored output and its summary; a file with a damaged summary is not complete.

    :param kind: the record of the summary, with a field for each of its keys; one with a default may be absent
    """
    if stored.complete is None:
        return stored, None
    summary = load_perturbation_results(path)["summary"]
    known = kind.__dataclass_fields__
    required = {name for name, field in known.items() if field.default is MISSING}
    if not required <= set(summary) <= set(known):
        return StoredOutput(files=stored.files, complete=None), None
    return stored, kind(**summary)


def inputs_in_metadata(inputs: Inputs) -> dict[str, Any]:
    """The inputs, for the metadata: their file, and the ids that were selected from it."""
    ids = sha256_of("\n".join(inputs.ids).encode())
    return {**inputs.described, "n": len(inputs.ids), "ids_sha256": ids}
