"""What ``find_minimal_sets.py`` does: opens the agent, searches every layer in every direction, saves, unless done."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

from Neuron_Selection.errors import UsageError
from Neuron_Selection.ExperimentTooling.hidden_layers import hidden_activations
from Neuron_Selection.ExperimentTooling.minimal_sets.documents import (
    LayerExplained,
    curve_rows,
    document_of,
    set_rows,
)
from Neuron_Selection.ExperimentTooling.minimal_sets.exact_families import Family
from Neuron_Selection.ExperimentTooling.minimal_sets.explain import (
    contrast_rows,
    explain_pairs,
    explain_together,
    of_rows,
)
from Neuron_Selection.ExperimentTooling.minimal_sets.goals import Goal, parse_goal
from Neuron_Selection.ExperimentTooling.minimal_sets.mixtures import mixtures_of
from Neuron_Selection.ExperimentTooling.minimal_sets.ranking_curves import ranking_curves
from Neuron_Selection.ExperimentTooling.paired_inputs import paired_inputs
from Neuron_Selection.FileFormats.agent_zip.agent_folder import RESULTS, output_folder
from Neuron_Selection.FileFormats.directions import TARGETS, directions_of
from Neuron_Selection.FileFormats.inputs import Inputs
from Neuron_Selection.FileFormats.kept_blocks import KeptBlocks
from Neuron_Selection.FileFormats.provenance import check_outputs, is_up_to_date
from Neuron_Selection.FileFormats.results.minimal_sets_file import (
    load_minimal_sets,
    paths_of,
    save_minimal_sets,
    stored_minimal_sets,
)
from Neuron_Selection.FileFormats.results.patching_results import results_path
from Neuron_Selection.FileFormats.storage.json_files import json_bytes
from Neuron_Selection.PatchingTooling.experiment import OpenedAgent

Progress = Callable[[Sequence[tuple[str, str]]], Iterable[tuple[str, str]]]


@dataclass(frozen=True, kw_only=True, slots=True)
class MinimalSetRequest:
    """What was asked for; ``layers`` None means the activation behind every hidden layer."""

    clean: str
    corrupted: str
    layers: Sequence[str] | None
    direction: str
    goal: str
    share: float
    budget: int
    random_orders: int
    seed: int
    input_ids: Sequence[str] | None
    output_prefix: str
    output_dir: str | None
    overwrite: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class MinimalSetsDone:
    """The document, where it lies, which engine ran, and whether it had been there already."""

    document: Mapping[str, Any]
    path: Path
    engine: str
    was_up_to_date: bool


def find_minimal_sets(
    agent: OpenedAgent, request: MinimalSetRequest, *, command: Mapping[str, Any], progress: Progress = iter
) -> MinimalSetsDone:
    """Search and write; outputs of the same search are left as they are.

    :param progress: goes over the (direction, layer) pairs
    :raises SuiteError: a goal or share that cannot be, or an output of a different run
    """
    goal = parse_goal(request.goal)
    if not 0 < request.share <= 1:
        raise UsageError(f"share: found {request.share:g}, expected a number above 0, at most 1")
    if goal.kind == "recovery" and request.share < 1:
        raise UsageError(
            f"share: found {request.share:g} with --goal {goal}, expected none: one set for all pairs together is then "
            "judged by their ratio of sums"
        )
    clean, corrupted = paired_inputs(
        agent, clean=request.clean, corrupted=request.corrupted, input_ids=request.input_ids
    )
    layers = hidden_activations(agent) if request.layers is None else agent.layer_table.chosen(request.layers)
    folder = output_folder(request.output_dir, agent.folder.folder / RESULTS)
    path = results_path(folder, request.output_prefix)
    check_outputs([*paths_of(path).values()], [Path(clean.where), Path(corrupted.where), agent.folder.zip_path])
    planned = agent.metadata(_decisive(request, goal, clean, corrupted, layers), command=command)
    done = is_up_to_date(stored_minimal_sets(path), planned, overwrite=request.overwrite)
    if done:
        document = load_minimal_sets(path)
    else:
        runs = {"clean": clean, "corrupted": corrupted}
        sites = [(direction, layer) for direction in directions_of(request.direction) for layer in layers]
        blocks = KeptBlocks(path, planned)
        explained = [
            _explained(agent, direction, layer, runs=runs, goal=goal, request=request, blocks=blocks)
            for direction, layer in progress(sites)
        ]
        document = document_of(explained)
        save_minimal_sets(path, document, [*set_rows(explained)], [*curve_rows(explained)], metadata=planned)
        blocks.remove()
    return MinimalSetsDone(document=document, path=path, engine=agent.engine_name, was_up_to_date=done)


def _explained(
    agent: OpenedAgent,
    direction: str,
    layer: str,
    *,
    runs: Mapping[str, Inputs],
    goal: Goal,
    request: MinimalSetRequest,
    blocks: KeptBlocks,
) -> LayerExplained:
    target, source = (runs[run] for run in TARGETS[direction])
    mixtures = mixtures_of(agent.engine, layer, target, source)
    rows = contrast_rows(mixtures)
    mixtures, has_contrast = of_rows(mixtures, rows), len(rows) > 0
    ids = [target.ids[row] for row in rows]
    together, curves = None, []
    kept = partial(_kept_family, blocks, f"{direction} {layer}", mixtures.layer.width)
    if has_contrast:
        together = explain_together(mixtures, goal, share=request.share, budget=request.budget, kept=kept)
        curves = ranking_curves(mixtures, goal, random_orders=request.random_orders, seed=request.seed)
    return LayerExplained(
        direction=direction,
        layer=layer,
        width=mixtures.layer.width,
        n_pairs=len(target.ids),
        pairs=explain_pairs(mixtures, ids, goal, budget=request.budget, kept=kept) if has_contrast else [],
        together=together,
        curves=curves,
    )


def _kept_family(blocks: KeptBlocks, site: str, width: int, name: str, find: Callable[[], Family]) -> Family:
    """The family of one input of a layer: of an earlier run that was interrupted, or found now."""
    import msgspec

    data = blocks.read(f"{site} {name}")
    if data is not None:
        with suppress(msgspec.MsgspecError):
            family = msgspec.json.decode(data, type=Family)
            if all(0 <= neuron < width for neurons in family.sets for neuron in neurons):
                return family
    family = find()
    blocks.keep(f"{site} {name}", json_bytes(asdict(family), indent=None))
    return family


def _decisive(
    request: MinimalSetRequest, goal: Goal, clean: Inputs, corrupted: Inputs, layers: Sequence[str]
) -> dict[str, Any]:
    return {
        "task": "minimal sets",
        "goal": str(goal),
        "share": request.share,
        "budget": request.budget,
        "random_orders": request.random_orders,
        "seed": request.seed,
        "direction": request.direction,
        "layers": list(layers),
        "input_ids": None if request.input_ids is None else list(clean.ids),
        "clean_sha256": clean.sha256,
        "corrupted_sha256": corrupted.sha256,
    }
